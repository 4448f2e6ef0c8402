// Concepts: groups of features that match across SAEs, and the page of one.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

(() => {
  const { el } = emosae.dom;
  const { count, fixed, isNumber } = emosae.format;
  const { emotionName, featureName, glyph } = emosae.marks;
  const { aurocColumn, nothing, table, verdictColumn } = emosae.tables;

  const CARDS = 24;

  emosae.views.concepts = (atlas) => {
    const sorted = [...atlas.concepts].sort((a, b) => (b.stability || 0) - (a.stability || 0) || b.features.length - a.features.length);
    const shared = sorted.filter((concept) => concept.features.length > 1);
    const alone = sorted.filter((concept) => concept.features.length <= 1);
    return el("div", { class: "page" }, el("h1", {}, "Concepts"),
      el("p", { class: "deck" }, "A concept is a group of features that match each other across SAEs. One that reappears in every SAE is less likely to be an accident of one training run."),
      el("section", { "aria-labelledby": "shared" }, el("h2", { id: "shared" }, "In several SAEs"), shared.length > 0 ? cards(atlas, shared)
        : nothing(atlas.saes.length > 1 ? "No features matched across SAEs." : "The atlas has one SAE only, so there is nothing to match its features with.")),
      alone.length > 0 && el("section", { "aria-labelledby": "alone" }, el("h2", { id: "alone" }, "In one SAE alone"),
        el("p", { class: "note" }, "Features confirmed for an emotion that match none of another SAE."), cards(atlas, alone)));
  };

  /** Cards in pages, because an atlas may have thousands. */
  function cards(atlas, concepts) {
    const list = el("ul", { class: "cards" });
    const more = el("p", { class: "more" });
    const extend = () => {
      const shown = list.childElementCount;
      for (const concept of concepts.slice(shown, shown + CARDS)) list.append(card(atlas, concept));
      const left = concepts.length - list.childElementCount;
      emosae.dom.replace(more, left > 0 && el("button", { type: "button", on: { click: extend } }, `Show ${Math.min(CARDS, left)} more of ${concepts.length}`));
    };
    extend();
    return [list, more];
  }

  /** The marks of the emotions in its name. */
  function glyphs(concept) {
    return concept.emotions.length ? concept.emotions.slice(0, 3).map((emotion) => glyph(emotion.row)) : glyph(null);
  }

  function card(atlas, concept) {
    const tokens = [...new Set(concept.features.flatMap((feature) => feature.tokens.slice(0, 3)))].slice(0, 5);
    return el("li", { class: "card" },
      el("h2", {}, el("a", { href: emosae.href("concept", concept.concept) },
        glyphs(concept), el("bdi", {}, concept.name))),
      tokens.length > 0 && el("p", { class: "tokens" }, tokens.map((token) => [el("q", {}, emosae.text.visible(token)), " "])),
      presence(atlas, concept));
  }

  /** One box per SAE, filled where the concept has a feature in it. */
  function presence(atlas, concept) {
    const saes = new Set(concept.features.map((feature) => feature.sae));
    return el("p", { class: "presence" }, atlas.saes.map((sae) => el("i", { class: saes.has(sae) ? "on" : "", title: sae.name })),
      el("span", { class: "note" }, `${count(concept.features.length, "feature")} in ${saes.size} of ${count(atlas.saes.length, "SAE")}`,
        isNumber(concept.corr) && `, correlation ${fixed(concept.corr)}`));
  }

  emosae.views.concept = (atlas, [key]) => {
    const concept = atlas.concepts.find((one) => String(one.concept) === key);
    if (!concept) return emosae.notFound(`This atlas has no concept ${key ?? ""}.`);
    const rows = [...concept.features].sort((a, b) => b.level - a.level);
    const own = new Set(concept.features);
    const links = atlas.links.filter((link) => own.has(link.a) && own.has(link.b));
    const auroc = aurocColumn(rows.map((feature) => feature.ledger[0]));
    return el("div", { class: "page" }, el("p", { class: "eyebrow" }, el("a", { href: emosae.href("concepts") }, "Concepts")),
      el("div", { class: "title" }, el("h1", {}, glyphs(concept), el("bdi", {}, concept.name))),
      concept.emotions.length === 0 && el("p", { class: "note" }, "No emotion was confirmed for it."),
      presence(atlas, concept),
      el("section", {}, el("h2", {}, "Features"), table(`Features of ${concept.name}`, [
        { title: "Feature", cell: featureName }, { title: "Emotion", cell: (feature) => emotionName(feature.emotion) },
        { ...auroc, cell: (feature) => auroc.cell(feature.ledger[0]) },
        { ...verdictColumn(atlas), cell: (feature) => emosae.marks.verdict(feature.level, atlas.rungs) },
      ], rows)),
      links.length > 0 && el("section", {}, el("h2", {}, "Links"), table("Links of the concept", [
        { title: "Feature", cell: (link) => featureName(link.a) }, { title: "Feature", cell: (link) => featureName(link.b) },
        { title: "Kind", cell: (link) => link.relation },
        { title: "Decoder cosine", className: "number", cell: (link) => fixed(link.cosine) },
        { title: "Activation correlation", className: "number", cell: (link) => fixed(link.correlation) },
      ], links)));
  };
})();
