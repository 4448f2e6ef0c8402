// The map: every feature at its stored place, filtered and coloured; the same features as a list below.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.map = (() => {
  const { el, replace } = emosae.dom;
  const { count, fixed, range } = emosae.format;
  const marks = emosae.marks;
  const { aurocColumn, nothing, table, verdictColumn } = emosae.tables;
  const STRENGTHS = [0.4, 0.55, 0.95, 1, 1, 1]; // how solid a mark is by verdict, so that what is sure stands out
  const COLOURS = { emotion: "Emotion", sae: "SAE", verdict: "Verdict" };

  function map(atlas, _, query) {
    const colour = COLOURS[query.colour] ? query.colour : "emotion";
    const shown = atlas.features.filter(passes(query));
    const go = (change) => emosae.go(emosae.href("map", { ...query, at: "", ...change }));
    return el("div", { class: "page wide" },
      el("div", { class: "section-head" }, el("h1", {}, "Map"),
        el("p", { class: "note", role: "status" }, shown.length === atlas.features.length
          ? count(shown.length, "feature") : `${shown.length} of ${count(atlas.features.length, "feature")}`)),
      filters(atlas, query, colour, go),
      shown.length ? drawing(atlas, shown, colour, query) : nothing("No feature passes these filters. ",
        atlas.features.length > 0 && el("a", { href: emosae.href("map") }, "Show all features")),
      shown.length > 0 && listing(atlas, shown));
  }

  function passes(query) {
    return (feature) => (!query.emotion || feature.emotion?.name === query.emotion || feature.ledger.some((entry) => entry.emotion.name === query.emotion))
      && (!query.sae || feature.sae.name === query.sae)
      && (!query.layer || String(feature.sae.layer) === query.layer)
      && (!query.verdict || feature.level >= Number(query.verdict));
  }

  function filters(atlas, query, colour, go) {
    const layers = [...new Set(atlas.saes.map((sae) => sae.layer).filter((layer) => layer !== null))].sort((a, b) => a - b);
    return el("div", { class: "filters", role: "group", "aria-label": "Filters" },
      choose("Emotion", "emotion", query.emotion, [["", "all"], ...atlas.emotions.map(({ name }) => [name, name])], go),
      choose("SAE", "sae", query.sae, [["", "all"], ...atlas.saes.map(({ name }) => [name, name])], go),
      layers.length > 1 && choose("Layer", "layer", query.layer, [["", "all"], ...layers.map((layer) => [String(layer), String(layer)])], go),
      choose("Verdict", "verdict", query.verdict, [["", "any"], ...atlas.rungs.map(({ name }, place) => [String(place + 1), place + 1 < atlas.rungs.length ? `${name} or further` : name])], go),
      choose("Colour", "colour", colour, Object.entries(COLOURS).map(([key, title]) => [key, title.toLowerCase()]), go));
  }

  function choose(title, key, current, options, go) {
    const select = el("select", { id: `filter-${key}`, on: { change: (event) => go({ [key]: event.target.value }) } },
      options.map(([value, name]) => el("option", { value, selected: value === (current || "") }, name)));
    return el("label", {}, title, select);
  }

  /** How features look under each colouring: category, hue and shape. */
  function looks(atlas, colour) {
    if (colour === "verdict") return (feature) => ({ key: feature.level, hue: `rung-${feature.level}`, shape: 0 });
    const place = colour === "sae" ? (feature) => feature.sae.row : (feature) => (feature.emotion ? feature.emotion.row : null);
    return (feature) => ({ key: place(feature), hue: marks.hueClass(place(feature)), shape: marks.shapeOf(place(feature)) });
  }

  function drawing(atlas, shown, colour, query) {
    const look = looks(atlas, colour);
    const points = atlas.features.map((feature) => ({ ...look(feature), row: feature.row, x: feature.x, y: feature.y, item: feature,
      size: 4.6 + 0.8 * feature.level, strength: STRENGTHS[feature.level] }));
    const status = el("p", { class: "visually-hidden", role: "status" });
    const kept = new Set(shown.map((feature) => feature.row));
    const plane = new emosae.Plane({
      points,
      links: atlas.links.map((link) => ({ a: link.a.row, b: link.b.row, dashed: link.relation !== "match" })),
      labels: colour === "emotion" ? labels(shown) : [],
      label: "Map of features. Arrow keys go from feature to feature, Enter opens one, plus and minus zoom.",
      onOpen: ({ item }) => emosae.go(emosae.href("feature", item.sae.name, item.feature_idx)),
      onHover: (point, box) => {
        replace(status, point ? spoken(point.item) : "");
        if (point) emosae.tip.show(note(atlas, point.item), box);
      },
    });
    plane.filter((point) => kept.has(point.row));
    if (query.at && points[query.at]) plane.pin(points[query.at]);
    emosae.redraw = () => plane.draw();
    return el("figure", { class: "map" }, plane.canvas, controls(plane), status,
      el("figcaption", {}, legend(atlas, shown, colour, query),
        el("p", { class: "note" }, "Places come from the features\u2019 emotion profiles; only nearness means something. Large, solid marks have the furthest verdicts; lines link features that match across SAEs.")));
  }

  function labels(shown) {
    const groups = new Map();
    for (const feature of shown) {
      if (feature.emotion) groups.set(feature.emotion, [...(groups.get(feature.emotion) || []), feature.row]);
    }
    return [...groups].map(([emotion, rows]) => ({ text: emotion.name, rows })).sort((a, b) => b.rows.length - a.rows.length);
  }

  function controls(plane) {
    const button = (text, label, click) => el("button", { type: "button", "aria-label": label, title: label, on: { click } }, text);
    return el("div", { class: "zoom" }, button("+", "Zoom in", () => plane.zoom(1.5)), button("\u2212", "Zoom out", () => plane.zoom(1 / 1.5)),
      button("\u2922", "Show everything", () => plane.reset()));
  }

  function spoken(feature) {
    return `${marks.featureAddress(feature)}, ${feature.emotion?.name || "no emotion"}`;
  }

  function note(atlas, feature) {
    const entry = feature.ledger[0];
    return el("div", { class: "map-note" }, el("div", {}, marks.emotionName(feature.emotion, { link: false }), el("b", {}, marks.featureAddress(feature))),
      entry && el("div", {}, `AUROC ${fixed(entry.auroc_confirm)} (${range(entry.auroc_confirm_lo, entry.auroc_confirm_hi)})`),
      el("div", {}, marks.verdict(feature.level, atlas.rungs)),
      feature.tokens.length > 0 && el("div", { class: "muted" }, "fires on ", feature.tokens.slice(0, 4).map((token) => [el("q", {}, emosae.text.visible(token)), " "])));
  }

  function legend(atlas, shown, colour, query) {
    const look = looks(atlas, colour);
    const present = new Map();
    for (const feature of shown) present.set(look(feature).key, (present.get(look(feature).key) || 0) + 1);
    const item = (key, mark, name, change) => present.has(key) && el("li", {},
      el("a", { href: emosae.href("map", { ...query, at: "", ...change }) }, mark, el("bdi", {}, name), el("span", { class: "muted" }, present.get(key))));
    const items = {
      emotion: () => [...atlas.emotions.map((emotion) => item(emotion.row, marks.glyph(emotion.row), emotion.name, { emotion: emotion.name })),
        item(null, marks.glyph(null), "no emotion", {})],
      sae: () => atlas.saes.map((sae) => item(sae.row, marks.glyph(sae.row), sae.name, { sae: sae.name })),
      verdict: () => [item(0, el("i", { class: "swatch rung-0" }), "not detected", {}), ...atlas.rungs.map(({ name }, place) =>
        item(place + 1, el("i", { class: `swatch rung-${place + 1}` }), name, { verdict: place + 1 }))],
    };
    return el("ul", { class: "legend", "aria-label": `Legend: ${COLOURS[colour]}` }, items[colour]());
  }

  function listing(atlas, shown) {
    const sorted = [...shown].sort((a, b) => b.level - a.level || (b.ledger[0]?.auroc || 0) - (a.ledger[0]?.auroc || 0));
    const auroc = aurocColumn(sorted.map((feature) => feature.ledger[0]));
    const verdicts = verdictColumn(atlas);
    return el("section", { "aria-labelledby": "listing" }, el("h2", { id: "listing" }, "The same features as a list"),
      table("Features on the map", [
        { title: "Feature", cell: marks.featureName },
        { title: "Emotion", cell: (feature) => marks.emotionName(feature.emotion) },
        { ...auroc, cell: (feature) => auroc.cell(feature.ledger[0]) },
        { title: "Fires most on", className: "tokens", cell: (feature) => feature.tokens.slice(0, 4).map((token) => [el("q", {}, emosae.text.visible(token)), " "]) },
        { ...verdicts, cell: (feature) => marks.verdict(feature.level, atlas.rungs) },
      ], sorted));
  }

  return map;
})();
