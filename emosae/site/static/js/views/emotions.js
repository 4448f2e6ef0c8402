// How the emotions lie to each other: their tree beside the overlaps, the axes of their vectors, and what an earlier
// experiment saw.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.emotions = (() => {
  const { el, svg } = emosae.dom;
  const { fixed, isNumber, percent, pvalue, range } = emosae.format;
  const { emotionName, hueClass, outline, shapeOf } = emosae.marks;
  const { figures, nothing, table } = emosae.tables;
  const [ROW, TREE] = [26, 240];
  const MEASURES = [
    ["cosine", "Profiles", "Cosine of the two emotions\u2019 AUROC profiles over all features found, on confirm topics; 1 is the same profile."],
    ["jaccard", "Shared features", "Features discovered for both emotions, over those discovered for either."],
  ];

  async function emotions(atlas, _, query) {
    const found = await emosae.pages.geometry();
    return el("div", { class: "page" }, el("h1", {}, "How the emotions lie to each other"),
      el("p", { class: "deck" }, "Emotions are alike here if the same features tell them from the rest. Nothing but stories and features went into it; no list of which emotions belong together."),
      overlapSection(atlas, found, query), axesSection(atlas, found), statementSection(atlas, found));
  }

  function overlapSection(atlas, found, query) {
    const heading = el("h2", { id: "overlap" }, "Overlap and tree");
    const measures = MEASURES.filter(([key]) => atlas.overlap[key]);
    if (!measures.length || atlas.overlap.emotions.length < 2) {
      return el("section", { "aria-labelledby": "overlap" }, heading, nothing("No overlap was computed for this run."));
    }
    const [key, , note] = measures.find(([name]) => name === query.overlap) || measures[0];
    const order = leafOrder(found, atlas);
    const places = atlas.overlap.emotions.map((row, place) => ({ emotion: atlas.emotions[row], place }))
      .sort((a, b) => order(a.emotion) - order(b.emotion));
    const values = places.map((row) => places.map((column) => atlas.overlap[key][row.place][column.place]));
    const pairs = emosae.pairsOf(places.map(({ emotion }) => emotion), values);
    const top = Math.max(0.01, ...pairs.map((pair) => pair.value || 0));
    const names = places.map(({ emotion }) => emotion.name);
    return el("section", { "aria-labelledby": "overlap" },
      el("div", { class: "section-head" }, heading, emosae.choices("Measure", measures.map(([name, title]) => ({
        title, current: name === key, href: emosae.href("emotions", { overlap: name === "cosine" ? "" : name }) })))),
      el("p", { class: "note" }, note, " Rows are in the order of the tree, so that similar emotions stand together.",
        found.tree.length > 0 && " A number at a fork is the share of resampled topics in whose tree the same emotions stand together."),
      el("div", { class: "beside" },
        el("div", { class: "tree-and-map" }, drawTree(found, names), emosae.plots.heatmap({
          names, values, top, open: (row) => emosae.go(emosae.href("emotion", names[row])),
          describe: (row, column) => [el("bdi", {}, names[row]), " and ", el("bdi", {}, names[column]), ": ", el("b", {}, fixed(values[row][column]))] })),
        el("div", {}, el("h3", {}, "Strongest pairs"), el("ol", { class: "pairs" }, pairs.slice(0, 10).map(({ a, b, value }) => el("li", {},
          emotionName(a), emotionName(b), emosae.plots.bar(value, top), el("span", { class: "number" }, fixed(value))))))));
  }

  /** Order of the leaves: of the tree where there is one, else as the clustering stored it. */
  function leafOrder(found, atlas) {
    if (!found.tree.length) return (emotion) => emotion.order ?? emotion.row;
    const below = found.leaves.map((name) => [name]);
    for (const { left, right } of found.tree) below.push([...below[left], ...below[right]]);
    const listed = new Map(below.at(-1).map((name, place) => [name, place]));
    return (emotion) => listed.get(emotion.name) ?? atlas.emotions.length;
  }

  /** The tree beside the rows of the heatmap; the root is on the left. */
  function drawTree(found, names) {
    const listed = new Map(names.map((name, place) => [name, place]));
    if (!found.tree.length || names.length > 40) return null;
    const margin = 8 + 7 * Math.max(...names.map((name) => Math.min(14, name.length)));
    const highest = Math.max(...found.tree.map(({ height }) => height)) || 1;
    const x = (height) => 10 + (1 - height / highest) * (TREE - 20);
    const ends = found.leaves.map((name) => ({ x: x(0), y: margin + (listed.get(name) ?? 0) * ROW + ROW / 2 - 1 }));
    const forks = found.tree.map(({ left, right, height, support, members }) => {
      const [a, b] = [ends[left], ends[right]];
      const at = x(height);
      ends.push({ x: at, y: (a.y + b.y) / 2 });
      return [svg("path", { class: "branch", d: `M${a.x} ${a.y} H${at} V${b.y} H${b.x}` }),
        isNumber(support) && members.length < names.length && svg("text", { class: support >= 0.7 ? "support firm" : "support", x: at - 3, y: (a.y + b.y) / 2 - 3, "text-anchor": "end" }, percent(support))];
    });
    const size = margin + names.length * ROW;
    return svg("svg", { class: "tree", viewBox: `0 0 ${TREE} ${size}`, width: TREE, height: size, role: "img",
      "aria-label": `Tree of ${names.length} emotions; the closest pair is ${found.tree[0].members.join(" and ")}.` }, forks,
    names.map((name, place) => svg("text", { class: "leaf", x: TREE - 4, y: margin + place * ROW + ROW / 2 + 3 }, name)));
  }

  function axesSection(atlas, found) {
    const rows = found.places.filter((row) => isNumber(row.axis1) && isNumber(row.axis2));
    if (rows.length < 3) return null;
    const share = (axis) => found.axes.find((row) => row.axis === axis)?.variance;
    return el("section", { "aria-labelledby": "axes" }, el("h2", { id: "axes" }, "Axes of the emotion vectors"),
      el("p", { class: "note" }, "The two leading principal axes of the centred emotion vectors. They are not named by the model: the table says what they go with, and whether story length would do as well."),
      el("div", { class: "beside" }, scatter(atlas, rows, share), el("div", { class: "wide" }, axesTable(found))));
  }

  function scatter(atlas, rows, share) {
    const [width, height, margin] = [520, 420, 40];
    const reach = (key) => Math.max(...rows.map((row) => Math.abs(row[key]))) * 1.08 || 1;
    const [rx, ry] = [reach("axis1"), reach("axis2")];
    const x = (value) => margin + ((value / rx + 1) / 2) * (width - margin - 70);
    const y = (value) => 12 + ((1 - value / ry) / 2) * (height - 56);
    const title = (axis) => `axis ${axis}${isNumber(share(axis)) ? `, ${percent(share(axis))} of the variance` : ""}`;
    const labels = placeLabels(rows.map((row) => ({ row, x: x(row.axis1), y: y(row.axis2) })));
    return el("div", { class: "scroll-x" }, svg("svg", { class: "scatter", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Emotions on the two leading axes; the table beside it says what they go with." },
      svg("line", { class: "reference", x1: x(0), x2: x(0), y1: 8, y2: height - 40 }), svg("line", { class: "reference", x1: margin, x2: width - 20, y1: y(0), y2: y(0) }),
      labels.map(({ row, x: cx, y: cy, label }) => {
        const emotion = atlas.emotionOf(row.emotion);
        const corners = outline(shapeOf(emotion.row));
        return [corners ? svg("polygon", { class: `spot ${hueClass(emotion.row)}`, points: corners.map(([dx, dy]) => `${cx + 5 * dx},${cy + 5 * dy}`).join(" ") })
          : svg("circle", { class: `spot ${hueClass(emotion.row)}`, cx, cy, r: 5 }),
        svg("a", { href: emosae.href("emotion", row.emotion) }, svg("text", { x: label.x, y: label.y, "text-anchor": label.anchor }, row.emotion))];
      }),
      svg("text", { class: "title", x: width / 2, y: height - 12, "text-anchor": "middle" }, title(1)),
      svg("text", { class: "title", transform: `translate(14 ${height / 2 - 20}) rotate(-90)`, "text-anchor": "middle" }, title(2))));
  }

  /** A place for each name beside its spot, the first of a few that no other name or spot has taken. */
  function placeLabels(spots) {
    const places = [[9, 4, "start"], [-9, 4, "end"], [0, -9, "middle"], [0, 18, "middle"], [7, -7, "start"], [7, 15, "start"], [-7, -7, "end"], [-7, 15, "end"]];
    const taken = spots.map(({ x, y }) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }));
    const boxOf = ({ row, x, y }, [dx, dy, anchor]) => {
      const width = 6.6 * row.emotion.length;
      const left = x + dx - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
      return { left, right: left + width, top: y + dy - 10, bottom: y + dy + 2 };
    };
    const overlap = (a, b) => Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) * Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
    return spots.map((spot) => {
      const covered = places.map((place) => taken.reduce((sum, other) => sum + overlap(boxOf(spot, place), other), 0));
      const [dx, dy, anchor] = places[covered.indexOf(Math.min(...covered))];
      taken.push(boxOf(spot, [dx, dy, anchor]));
      return { ...spot, label: { x: spot.x + dx, y: spot.y + dy, anchor } };
    });
  }

  function axesTable(found) {
    if (!found.axes.length) return nothing("What the axes go with was not measured.");
    const name = (measure) => measure.replaceAll("_", " ");
    return [el("h3", {}, "What they go with"), table("Axes and measures", [
      { title: "Axis", className: "nowrap", cell: (row) => `axis ${row.axis}` }, { title: "Measure", className: "nowrap", cell: (row) => name(row.measure) },
      { title: "r", className: "number", cell: (row) => el("span", {}, el("b", {}, fixed(row.r)), el("span", { class: "small muted" }, isNumber(row.lo) ? ` ${range(row.lo, row.hi)}` : "")) },
      { title: "p", className: "number", cell: (row) => pvalue(row.p) },
      { title: "Length taken out", className: "number", cell: (row) => isNumber(row.r_partial) ? `${fixed(row.r_partial)} (p ${pvalue(row.p_partial)})` : "\u2013" },
    ], found.axes)];
  }

  function statementSection(atlas, found) {
    if (!found.statements.length) return null;
    const span = emosae.plots.axis([-0.3, 1.02], 0, [0, 0.5, 1], (value) => fixed(value, 1));
    return el("section", { "aria-labelledby": "statements" }, el("h2", { id: "statements" }, "What was seen elsewhere, tested here"),
      el("p", { class: "note" }, "Similarity within each family that earlier work reported, against all sets of as many emotions of this corpus. The hollow dot is their mean, its whisker ends at their 95th percentile."),
      table("Statements", [
        { title: "Statement", className: "check", cell: (row) => el("div", { class: "stack" }, row.statement.charAt(0).toUpperCase() + row.statement.slice(1),
          el("span", { class: "chips small" }, row.members.map((member) => emotionName(atlas.emotionOf(member))))) },
        { title: "Similarity", className: "plot", cell: (row) => el("div", { class: "measured" },
          el("div", {}, emosae.plots.interval(span, { lo: row.overlap_lo, value: row.overlap, hi: row.overlap_hi }),
            emosae.plots.interval(span, { lo: row.null_mean, value: row.null_mean, hi: row.null_hi, hollow: true })),
          figures({ lo: row.overlap_lo, value: row.overlap, hi: row.overlap_hi })) },
        { title: "p", className: "number", cell: (row) => pvalue(row.p) },
        { title: "Here", cell: (row) => el("span", { class: row.is_seen ? "seen" : "muted" }, row.is_seen === true ? "seen" : row.is_seen === false ? "not seen" : "not testable") },
      ], found.statements));
  }

  return emotions;
})();

/** Pairs of emotions with their value, the largest first. */
emosae.pairsOf = (emotions, values) => {
  const pairs = emotions.flatMap((a, row) => emotions.slice(row + 1).map((b, place) => ({ a, b, value: values[row][row + 1 + place] })));
  return pairs.sort((x, y) => (y.value || 0) - (x.value || 0));
};
