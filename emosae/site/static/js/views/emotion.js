// One emotion: its features with their evidence, what is next to it, what turning it does, stories.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.emotion = (() => {
  const { el } = emosae.dom;
  const { count, fixed, isNumber, percent, pvalue } = emosae.format;
  const { emotionName, featureName, glyph, verdict } = emosae.marks;
  const { aurocColumn, figures, nothing, rivalColumn, table, verdictColumn } = emosae.tables;
  const STORIES = 4;
  const BASELINES = {
    bag_of_words: "Words alone", difference_of_means: "Difference of means", linear_probe: "Linear probe",
    sparse_probe: "Probe on 8 features", best_dimension: "Best dimension", pca: "Best component",
    random_features: "Random features", random_model: "Random model", random_model_vector: "Random model\u2019s vector",
  };

  async function emotion(atlas, [name]) {
    const found = atlas.emotion(name);
    if (!found) return emosae.notFound(`This atlas has no emotion called \u201c${name ?? ""}\u201d.`);
    return el("div", { class: "page" },
      el("p", { class: "eyebrow" }, el("a", { href: emosae.href("overview") }, "Emotions")),
      el("div", { class: "title" }, el("h1", {}, glyph(found.row), el("bdi", {}, found.name)),
        verdict(found.furthest ? found.furthest.level : 0, atlas.rungs),
        found.features.length > 0 && el("a", { class: "button", href: emosae.href("map", { emotion: found.name }) }, "Show on the map")),
      keyFigures(found),
      found.planted && el("p", { class: "caution" }, el("b", {}, "Planted: "), found.planted),
      found.note && el("p", { class: "note" }, found.note),
      featureSection(atlas, found),
      el("div", { class: "columns" }, overlapSection(atlas, found), conceptSection(atlas, found)),
      emosae.causal.section(atlas, atlas.scenarios.filter((row) => row.dial === found.name), {
        empty: "No scenario turned a dial of this emotion." }),
      await storySection(atlas, found));
  }

  function keyFigures(found) {
    const { best } = found;
    const cell = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value, note && el("span", { class: "note" }, note)));
    const counted = cell("Candidates", count(found.features.length, "feature"), isNumber(found.n_discovered) && `${found.n_discovered} discovered`);
    const baselines = found.baselines.map(([name, value, lo, hi]) => cell(BASELINES[name] || name, figures({ lo, value, hi })));
    if (!best) return el("dl", { class: "key-figures" }, counted, baselines);
    return el("dl", { class: "key-figures" },
      cell("Best feature", featureName(best.feature)),
      cell("AUROC on confirm topics", figures({ lo: best.auroc_confirm_lo, value: best.auroc_confirm, hi: best.auroc_confirm_hi })),
      baselines, cell("Fires in", percent(best.fire_rate_pos), `of its stories, ${percent(best.fire_rate_neg)} of others`), counted);
  }

  function featureSection(atlas, found) {
    const rows = found.ledger;
    return el("section", { "aria-labelledby": "features" }, el("h2", { id: "features" }, "Features"),
      rows.length === 0 ? nothing("No feature stood out for this emotion on the discover topics.")
        : table(`Features of ${found.name}`, [
          { title: "Feature", cell: (entry) => featureName(entry.feature) },
          aurocColumn(rows), rivalColumn(atlas),
          { title: "Fires in its stories / others", className: "number", cell: (entry) => `${percent(entry.fire_rate_pos)} / ${percent(entry.fire_rate_neg)}` },
          { title: "q", className: "number", cell: (entry) => pvalue(entry.q_bh) },
          verdictColumn(atlas),
        ], rows, { page: 12 }));
  }

  function overlapSection(atlas, found) {
    const { emotions, cosine, jaccard } = atlas.overlap;
    const place = emotions.indexOf(found.row);
    const others = place < 0 || !cosine ? [] : emotions
      .map((row, column) => ({ emotion: atlas.emotions[row], value: cosine[place][column], shared: jaccard?.[place][column] }))
      .filter(({ emotion }) => emotion !== found).sort((a, b) => b.value - a.value);
    const top = Math.max(0.01, ...others.map(({ value }) => value || 0));
    return el("section", { "aria-labelledby": "near" }, el("h2", { id: "near" }, "Closest emotions"),
      others.length === 0 ? nothing("No overlap was computed.")
        : [el("p", { class: "note" }, "Cosine of AUROC profiles on confirm topics."),
          el("ol", { class: "pairs single" }, others.slice(0, 6).map(({ emotion, value }) => el("li", {},
            emotionName(emotion), emosae.plots.bar(value, top), el("span", { class: "number" }, fixed(value)))))]);
  }

  function conceptSection(atlas, found) {
    const own = atlas.concepts.filter((concept) => concept.emotions.includes(found));
    const shared = own.filter((concept) => concept.features.length > 1);
    const alone = own.length - shared.length;
    return el("section", { "aria-labelledby": "concepts" }, el("h2", { id: "concepts" }, "Concepts"),
      shared.length === 0 ? nothing("None of its features was matched across SAEs.")
        : el("ul", { class: "plain-list" }, shared.slice(0, 8).map((concept) => el("li", {},
          el("a", { href: emosae.href("concept", concept.concept) }, el("bdi", {}, concept.name)),
          el("span", { class: "muted" }, count(concept.features.length, "feature"))))),
      alone > 0 && el("p", { class: "note" }, `${count(alone, "more confirmed feature")} ${alone === 1 ? "is" : "are"} in one SAE alone.`));
  }

  /** Stories of this emotion as its best feature reads them, confirm before discover. */
  async function storySection(atlas, found) {
    const heading = el("h2", { id: "stories" }, "Example stories");
    const examples = found.best ? await atlas.examples(found.best.feature) : [];
    const own = examples.filter((example) => example.emotion === found);
    const scale = Math.max(0, ...examples.map((example) => example.peak));
    const sorted = [...own].sort((a, b) => (b.split === "confirm") - (a.split === "confirm") || b.peak - a.peak);
    return el("section", { "aria-labelledby": "stories" }, heading, own.length === 0
      ? nothing(found.best ? "Its best feature has no stored story of this emotion." : "No feature, so no stories were stored.")
      : [el("p", { class: "note" }, "Shaded by ", featureName(found.best.feature), ". Hover, tap, or use the arrow keys to read a token\u2019s activation."),
        el("div", { class: "stories" }, sorted.slice(0, STORIES).map((example) => emosae.text.storyCard(example, scale, {
          heading: el("span", { class: "split" }, example.split) })))]);
  }

  return emotion;
})();
