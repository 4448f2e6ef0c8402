// The first page: what was found for each emotion and how sure that is, which emotions overlap, what changes behaviour.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.overview = (() => {
  const { el } = emosae.dom;
  const { count, fixed, isNumber } = emosae.format;
  const { emotionName, featureName, verdict } = emosae.marks;
  const { aurocColumn, nothing, rivalColumn, table } = emosae.tables;
  const SORTS = {
    verdict: ["by verdict", (a, b) => level(b) - level(a) || confirm(b) - confirm(a)],
    auroc: ["by AUROC", (a, b) => confirm(b) - confirm(a)],
    name: ["by name", (a, b) => a.name.localeCompare(b.name)],
  };
  const MEASURES = [
    ["cosine", "Profiles", "Cosine of the two emotions\u2019 AUROC profiles over all features found, on confirm topics; 1 is the same profile."],
    ["jaccard", "Shared features", "Features discovered for both emotions, over those discovered for either."],
  ];

  function overview(atlas, _, query) {
    return el("div", { class: "page" },
      el("section", { class: "lead" }, el("h1", {}, "What does ", el("bdi", { class: "model" }, atlas.model), " have for each emotion?"),
        el("p", {}, summary(atlas)), figures(atlas)),
      emotionSection(atlas, SORTS[query.sort] ? query.sort : "verdict"),
      emosae.causal.summary(atlas),
      overlapSection(atlas, query.overlap === "jaccard" ? "jaccard" : "cosine", query));
  }

  function level(emotion) {
    return emotion.furthest ? emotion.furthest.level : 0;
  }

  function confirm(emotion) {
    return emotion.best && isNumber(emotion.best.auroc_confirm) ? emotion.best.auroc_confirm : 0;
  }

  function summary(atlas) {
    const specific = atlas.emotions.filter((emotion) => level(emotion) >= 2).length;
    const moving = atlas.emotions.filter((emotion) => emotion.ledger.some((entry) => entry.level >= 4)).length;
    return [
      `Stories of ${count(atlas.emotions.length, "emotion")} were read through ${count(atlas.saes.length, "sparse autoencoder")}. `,
      `For ${specific} of them, a feature was found that tells the emotion from its hardest rival on topics it was not chosen on`,
      moving ? `; for ${moving}, turning such a feature up changes what the model does.` : ".",
    ];
  }

  function figures(atlas) {
    const cell = (value, name) => el("div", {}, el("dt", {}, name), el("dd", {}, value.toLocaleString("en")));
    return el("dl", { class: "key-figures" },
      cell(atlas.emotions.length, "emotions"), cell(atlas.features.length, "features on the map"),
      cell(atlas.concepts.length, "concepts"), cell(atlas.links.length, "links between SAEs"),
      cell(atlas.n_shown_stories, "stories shown"));
  }

  function emotionSection(atlas, sort) {
    const rows = [...atlas.emotions].sort(SORTS[sort][1]);
    const columns = [
      { title: "Emotion", cell: (emotion) => emotionName(emotion) },
      { title: "Best feature", cell: (emotion) => emotion.best ? featureName(emotion.best.feature) : "\u2013" },
      ofBest(aurocColumn(rows.map((emotion) => emotion.best))),
      ofBest(rivalColumn(atlas)),
      { title: "Discovered", className: "number", cell: (emotion) => emotion.n_discovered ?? emotion.features.length },
      { title: "Furthest verdict", className: "verdict-cell", cell: (emotion) => furthest(atlas, emotion) },
    ];
    return el("section", { "aria-labelledby": "emotions" },
      el("div", { class: "section-head" }, el("h2", { id: "emotions" }, "Emotions"), choices("Order", Object.entries(SORTS).map(
        ([key, [title]]) => ({ title, href: emosae.href("overview", { sort: key === "verdict" ? "" : key }), current: key === sort })))),
      el("p", { class: "note" }, "AUROC is the chance that a story of the emotion makes the feature fire more than another story; 0.5 is chance. ",
        "The feature was chosen on discover topics; dot and 95% interval are from confirm topics, read once."),
      rows.length ? table("Emotions with their best feature", columns, rows) : nothing("No emotion was studied."));
  }

  /** The emotion's furthest verdict, and the feature that earned it where that is not the best one. */
  function furthest(atlas, { best, furthest: entry }) {
    return el("div", { class: "stack" }, verdict(entry ? entry.level : 0, atlas.rungs),
      entry && entry.level > (best?.level || 0) && el("span", { class: "small muted" }, "by ", featureName(entry.feature)));
  }

  function ofBest(column) {
    return { ...column, cell: (emotion) => column.cell(emotion.best) };
  }

  /** A row of links of which one is current. */
  function choices(label, options) {
    return el("div", { class: "choices", role: "group", "aria-label": label }, options.map(({ title, href, current }) =>
      el("a", { id: `${label}-${title}`.toLowerCase().replaceAll(" ", "-"), href, "aria-current": current ? "true" : null }, title)));
  }

  function overlapSection(atlas, measure, query) {
    const heading = el("h2", { id: "overlap" }, "Which emotions overlap");
    const measures = MEASURES.filter(([key]) => atlas.overlap[key]);
    if (!measures.length || atlas.overlap.emotions.length < 2) {
      return el("section", { "aria-labelledby": "overlap" }, heading, nothing("No overlap was computed for this run."));
    }
    const [key, , note] = measures.find(([name]) => name === measure) || measures[0];
    const { emotions, values } = ordered(atlas, key);
    const pairs = pairsOf(emotions, values);
    const top = Math.max(0.01, ...pairs.map((pair) => pair.value || 0));
    const open = (row) => emosae.go(emosae.href("emotion", emotions[row].name));
    const describe = (row, column) => [el("bdi", {}, emotions[row].name), " and ", el("bdi", {}, emotions[column].name), ": ", el("b", {}, fixed(values[row][column]))];
    const map = emosae.plots.heatmap({ names: emotions.map((emotion) => emotion.name), values, top, open, describe });
    return el("section", { "aria-labelledby": "overlap" },
      el("div", { class: "section-head" }, heading, choices("Measure", measures.map(([name, title]) => ({
        title, current: name === key, href: emosae.href("overview", { sort: query.sort, overlap: name === "cosine" ? "" : name }),
      })))),
      el("p", { class: "note" }, note, " Emotions are ordered so that similar ones stand together."),
      el("div", { class: "beside" }, map, el("div", {}, el("h3", {}, "Strongest pairs"), el("ol", { class: "pairs" },
        pairs.slice(0, 8).map(({ a, b, value }) => el("li", {}, emotionName(a), emotionName(b), emosae.plots.bar(value, top),
          el("span", { class: "number" }, fixed(value))))))));
  }

  /** Emotions and their overlaps in the order of the clustering, where the atlas has one. */
  function ordered(atlas, key) {
    const places = atlas.overlap.emotions.map((row, place) => ({ emotion: atlas.emotions[row], place }));
    places.sort((a, b) => (a.emotion.order ?? a.place) - (b.emotion.order ?? b.place));
    return {
      emotions: places.map(({ emotion }) => emotion),
      values: places.map((row) => places.map((column) => atlas.overlap[key][row.place][column.place])),
    };
  }

  function pairsOf(emotions, values) {
    const pairs = [];
    for (let row = 0; row < emotions.length; row += 1) {
      for (let column = row + 1; column < emotions.length; column += 1) {
        pairs.push({ a: emotions[row], b: emotions[column], value: values[row][column] });
      }
    }
    return pairs.sort((x, y) => (y.value || 0) - (x.value || 0));
  }

  emosae.choices = choices;
  return overview;
})();
