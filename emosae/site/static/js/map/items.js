// What the map shows, features or concepts, as columns: where each stands, its emotion and verdict, what a click opens.
"use strict";

window.emosae = window.emosae || {};

emosae.mapItems = (() => {
  const { el } = emosae.dom;
  const { count, fixed, isNumber, range } = emosae.format;
  const marks = emosae.marks;
  const kept = new WeakMap();

  /** Columns of the features or of the concepts of an atlas, made once. */
  function mapItems(atlas, kind) {
    if (!kept.has(atlas)) kept.set(atlas, new Map());
    const made = kept.get(atlas);
    if (!made.has(kind)) made.set(kind, kind === "concepts" ? conceptItems(atlas) : featureItems(atlas));
    return made.get(kind);
  }

  function featureItems(atlas) {
    return {
      noun: "feature", n: atlas.features.length, emotion: atlas.column("emotion"), level: atlas.column("level"), sae: atlas.column("sae"),
      size: null,
      place: (plane) => [atlas.column(plane ? `${plane.key}_x` : "x"), atlas.column(plane ? `${plane.key}_y` : "y")],
      href: (row) => emosae.href("feature", atlas.features[row].sae.name, atlas.features[row].feature_idx),
      spoken: (row) => `${marks.featureAddress(atlas.features[row])}, ${atlas.features[row].emotion?.name || "no emotion"}`,
      note: (row) => featureNote(atlas, atlas.features[row]),
      neighbours: (row) => atlas.features[row].links.map((link) => [link.other.row, link.relation !== "match"]),
      passes: (shown) => shown,
    };
  }

  function conceptItems(atlas) {
    const concepts = atlas.concepts;
    const [levels, saes] = [atlas.column("level"), atlas.column("sae")];
    const members = concepts.map((concept) => concept.features.map((feature) => feature.row));
    const average = (values) => Float64Array.from(members, (rows) => rows.reduce((sum, row) => sum + values[row], 0) / rows.length);
    const { place } = mapItems(atlas, "features");
    return {
      noun: "concept", n: concepts.length,
      emotion: Float64Array.from(concepts, (concept) => concept.emotions[0]?.row ?? NaN),
      level: Uint8Array.from(members, (rows) => rows.reduce((most, row) => Math.max(most, levels[row]), 0)),
      sae: Float64Array.from(members, (rows) => (rows.length ? saes[rows[0]] : NaN)),
      size: Float32Array.from(members, (rows) => Math.min(9, 3.4 + 1.6 * Math.sqrt(rows.length))),
      place: (plane) => place(plane).map(average),
      href: (row) => emosae.href("concept", concepts[row].concept),
      spoken: (row) => `concept ${concepts[row].name}, ${count(members[row].length, "feature")}`,
      note: (row) => conceptNote(atlas, concepts[row], members[row]),
      neighbours: () => [],
      passes: (shown) => Uint8Array.from(members, (rows) => (rows.some((row) => shown[row]) ? 1 : 0)),
    };
  }

  function tokensNote(tokens) {
    return tokens.length > 0 && el("div", { class: "muted" }, "fires on ", tokens.slice(0, 4).map((token) => [el("q", {}, emosae.text.visible(token)), " "]));
  }

  function featureNote(atlas, feature) {
    const entry = atlas.isReady ? feature.ledger[0] : null;
    return el("div", { class: "map-note" },
      el("div", {}, marks.emotionName(feature.emotion, { link: false }), el("b", {}, marks.featureAddress(feature))),
      entry && isNumber(entry.auroc_confirm) && el("div", {}, `AUROC ${fixed(entry.auroc_confirm)} (${range(entry.auroc_confirm_lo, entry.auroc_confirm_hi)})`),
      el("div", {}, marks.verdict(feature.level, atlas.rungs)), atlas.isReady && tokensNote(feature.tokens));
  }

  function conceptNote(atlas, concept, rows) {
    const tokens = atlas.isReady ? [...new Set(rows.flatMap((row) => atlas.features[row].tokens.slice(0, 2)))] : [];
    const saes = new Set(rows.map((row) => atlas.features[row].sae));
    return el("div", { class: "map-note" },
      el("div", {}, el("b", {}, marks.glyph(concept.emotions[0]?.row ?? null), " ", el("bdi", {}, concept.name))),
      el("div", {}, `${count(rows.length, "feature")} in ${count(saes.size, "SAE")}`,
        isNumber(concept.corr) && `, correlation ${fixed(concept.corr)}`), tokensNote(tokens));
  }

  return mapItems;
})();
