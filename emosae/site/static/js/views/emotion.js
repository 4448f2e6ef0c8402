// One emotion: its features with their evidence, the baselines beside them, what is next to it, what turning it does, stories.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.emotion = (() => {
  const { el } = emosae.dom;
  const { count, fixed, isNumber, percent, pvalue } = emosae.format;
  const { emotionName, featureName, glyph, verdict } = emosae.marks;
  const { aurocColumn, figures, nothing, rivalColumn, table, verdictColumn } = emosae.tables;
  const STORIES = 4;
  const NEIGHBOURS = 9;
  const BASELINES = {
    bag_of_words: "Words alone", difference_of_means: "Difference of means", linear_probe: "Linear probe",
    sparse_probe: "Probe on 8 features", best_dimension: "Best dimension", pca: "Best component",
    random_features: "Random features", random_model: "Random model", random_model_vector: "Random model\u2019s vector",
  };
  emosae.baselineName = (name) => BASELINES[name] || String(name).replaceAll("_", " ");

  async function emotion(atlas, [name]) {
    const found = atlas.emotion(name);
    if (!found) return emosae.notFound(`This atlas has no emotion called \u201c${name ?? ""}\u201d.`);
    const [compared, stories, places] = await Promise.all([emosae.pages.comparisons(found), storySection(atlas, found), emosae.pages.geometry()]);
    return el("div", { class: "page" },
      el("p", { class: "eyebrow" }, el("a", { href: emosae.href("emotions") }, "Emotions")),
      el("div", { class: "title" }, el("h1", {}, glyph(found.row), el("bdi", {}, found.name)),
        verdict(found.furthest ? found.furthest.level : 0, atlas.rungs),
        el("div", { class: "actions" }, found.features.length > 0 && el("a", { class: "button", href: emosae.href("map", { emotion: found.name }) }, "Show on the map"),
          el("a", { class: "button", href: emosae.href("compare", { of: emosae.compareKey(found) }) }, "Compare"))),
      keyFigures(found, places),
      found.planted && el("p", { class: "caution" }, el("b", {}, "Planted: "), found.planted),
      found.note && el("p", { class: "note" }, found.note),
      featureSection(atlas, found, compared),
      overlapSection(atlas, found), conceptSection(atlas, found),
      emosae.causal.section(atlas, atlas.scenarios.filter((row) => row.dial === found.name), {
        empty: "No scenario turned a dial of this emotion." }),
      stories);
  }

  function keyFigures(found, { places, axes }) {
    const { best } = found;
    const place = places.find((row) => row.emotion === found.name);
    const source = (key) => axes.find((row) => row.measure === key)?.source || "rating";
    const cell = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value, note && el("span", { class: "note" }, note)));
    const felt = [["Valence", "valence"], ["Arousal", "arousal"]].filter(([, key]) => isNumber(place?.[key])).map(([title, key]) => cell(title, fixed(place[key]), source(key)));
    const counted = cell("Candidates", count(found.features.length, "feature"), isNumber(found.n_discovered) && `${found.n_discovered} discovered`);
    if (!best) return el("dl", { class: "key-figures" }, counted, felt);
    return el("dl", { class: "key-figures" },
      cell("Best feature", featureName(best.feature)),
      cell("AUROC on confirm topics", figures({ lo: best.auroc_confirm_lo, value: best.auroc_confirm, hi: best.auroc_confirm_hi })),
      cell("Fires in", percent(best.fire_rate_pos), `of its stories, ${percent(best.fire_rate_neg)} of others`), counted, felt);
  }

  /** Features and baselines as rows of one table, on one axis. */
  function featureSection(atlas, found, compared) {
    const baselines = found.baselines.map(([name, value, lo, hi]) => ({
      baseline: name, auroc_confirm: value, auroc_confirm_lo: lo, auroc_confirm_hi: hi, hollow: true, against: compared.find((row) => row.baseline === name),
    })).sort((a, b) => (b.auroc_confirm || 0) - (a.auroc_confirm || 0));
    const rows = found.ledger;
    const auroc = () => aurocColumn([...rows, ...baselines]); // a head belongs to one table
    const heading = el("h2", { id: "features" }, "Features");
    return el("section", { "aria-labelledby": "features" }, heading,
      rows.length === 0 ? nothing("No feature stood out for this emotion on the discover topics.")
        : [el("p", { class: "note" }, "Sorted by verdict, then by what discover topics said. Dot and 95% interval are from confirm topics, which chose nothing."),
          table(`Features of ${found.name}`, [
            { title: "Feature", cell: (entry) => featureName(entry.feature) }, auroc(), rivalColumn(atlas),
            { title: "Fires in its stories / others", className: "number", cell: (entry) => `${percent(entry.fire_rate_pos)} / ${percent(entry.fire_rate_neg)}` },
            { title: "q", className: "number", cell: (entry) => pvalue(entry.q_bh) },
            verdictColumn(atlas),
          ], rows, { page: 10 })],
      baselines.length > 0 && [el("h3", {}, "Baselines on the same stories"),
        table(`Baselines for ${found.name}`, [
          { title: "Baseline", cell: (row) => emosae.baselineName(row.baseline) }, auroc(),
          { title: "The best feature", cell: (row) => versus(row.against) },
        ], baselines, { page: 12 })]);
  }

  function versus(row) {
    if (!row || !isNumber(row.difference)) return el("span", { class: "muted" }, "\u2013");
    const words = { beats: "does better", ties: "ties", loses: "does worse" };
    return el("div", { class: "stack" }, words[row.outcome] || row.outcome,
      el("span", { class: "small" }, figures({ lo: row.difference_lo, value: row.difference, hi: row.difference_hi }, emosae.format.signed)));
  }

  /** The closest emotions as bars, and how they overlap with one another as a heatmap in the order of the clustering. */
  function overlapSection(atlas, found) {
    const { emotions, cosine } = atlas.overlap;
    const place = emotions.indexOf(found.row);
    const others = place < 0 || !cosine ? [] : emotions
      .map((row, column) => ({ emotion: atlas.emotions[row], column, value: cosine[place][column] }))
      .filter(({ emotion }) => emotion !== found).sort((a, b) => (b.value || 0) - (a.value || 0));
    const heading = el("h2", { id: "near" }, "Overlap with other emotions");
    if (others.length === 0) return el("section", { "aria-labelledby": "near" }, heading, nothing("No overlap was computed."));
    const top = Math.max(0.01, ...others.map(({ value }) => value || 0));
    const near = [{ emotion: found, column: place }, ...others.slice(0, NEIGHBOURS)].sort((a, b) => (a.emotion.order ?? a.column) - (b.emotion.order ?? b.column));
    const values = near.map((row) => near.map((column) => cosine[row.column][column.column]));
    const highest = Math.max(0.01, ...values.flatMap((line, row) => line.filter((_, column) => column !== row)).filter(isNumber));
    return el("section", { "aria-labelledby": "near" }, heading,
      el("p", { class: "note" }, "Cosine of AUROC profiles over all features found, on confirm topics; the heatmap holds it and its nearest, similar ones together. ",
        el("a", { href: emosae.href("emotions") }, "All emotions")),
      el("div", { class: "beside" },
        emosae.plots.heatmap({
          names: near.map(({ emotion }) => emotion.name), values, top: highest,
          open: (row) => emosae.go(emosae.href("emotion", near[row].emotion.name)),
          describe: (row, column) => [el("bdi", {}, near[row].emotion.name), " and ", el("bdi", {}, near[column].emotion.name), ": ", el("b", {}, fixed(values[row][column]))],
        }),
        el("div", {}, el("h3", {}, "Closest"), el("ol", { class: "pairs single" }, others.slice(0, NEIGHBOURS).map(({ emotion, value }) => el("li", {},
          emotionName(emotion), emosae.plots.bar(value, top), el("span", { class: "number" }, fixed(value))))))));
  }

  function conceptSection(atlas, found) {
    const own = atlas.concepts.filter((concept) => concept.emotions.includes(found));
    const shared = own.map((concept) => [concept, concept.features.length]).filter(([, n]) => n > 1);
    const alone = own.length - shared.length;
    return el("section", { "aria-labelledby": "concepts" }, el("h2", { id: "concepts" }, "Concepts"),
      shared.length === 0 ? nothing("None of its features was matched across SAEs.")
        : el("ul", { class: "chips" }, shared.slice(0, 12).map(([concept, n]) => el("li", {},
          el("a", { href: emosae.href("concept", concept.concept) }, el("bdi", {}, concept.name)), " ",
          el("span", { class: "muted" }, count(n, "feature"))))),
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
