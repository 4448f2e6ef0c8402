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
  const PAIRS = 10;

  function overview(atlas, _, query) {
    return el("div", { class: "page" },
      el("section", { class: "lead" }, el("h1", {}, "What does ", el("bdi", { class: "model" }, atlas.model), " have for each emotion?"),
        el("p", {}, summary(atlas)), figures(atlas)),
      emotionSection(atlas, SORTS[query.sort] ? query.sort : "verdict"),
      emosae.causal.summary(atlas),
      overlapSection(atlas));
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

  /** The pairs that overlap most; the tree and the heatmap of all have their own page. */
  function overlapSection(atlas) {
    const heading = el("h2", { id: "overlap" }, "Which emotions overlap");
    const { emotions, cosine } = atlas.overlap;
    if (!cosine || emotions.length < 2) {
      return el("section", { "aria-labelledby": "overlap" }, heading, nothing("No overlap was computed for this run."));
    }
    const pairs = emosae.pairsOf(emotions.map((row) => atlas.emotions[row]), cosine).slice(0, PAIRS);
    const top = Math.max(0.01, pairs[0].value || 0);
    return el("section", { "aria-labelledby": "overlap" },
      el("div", { class: "section-head" }, heading, el("a", { href: emosae.href("emotions") }, "Tree and heatmap of all")),
      el("p", { class: "note" }, "Cosine of the two emotions\u2019 AUROC profiles over all features found, on confirm topics; 1 is the same profile."),
      el("ol", { class: "pairs two" }, pairs.map(({ a, b, value }) => el("li", {}, emotionName(a), emotionName(b), emosae.plots.bar(value, top),
        el("span", { class: "number" }, fixed(value))))));
  }

  emosae.choices = choices;
  return overview;
})();
