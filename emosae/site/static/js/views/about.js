// What the atlas is, what it is not, how to read it, and where its numbers come from.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.about = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, percent } = emosae.format;
  const PAGES = [
    ["overview", "Overview", "every emotion with its best feature, and what turning it does"],
    ["map", "Map", "all features, each near the emotions that it tells"],
    ["emotions", "Emotions", "which emotions the same features stand for, as a tree, a heatmap and axes"],
    ["concepts", "Concepts", "features that match across SAEs"],
    ["scenarios", "Scenarios", "episodes and conversations, to be replayed turn by turn"],
    ["compare", "Compare", "features or emotions side by side"],
  ];
  const WORDS = [
    ["Feature", "a direction that a sparse autoencoder (SAE) found in the activations of the model; its activation is never negative, and mostly 0."],
    ["Emotion", "a human category: the emotion that a story was written to show."],
    ["AUROC", "the chance that a story of the emotion makes the feature fire more than a story of another; 0.5 is chance, 1 is perfect."],
    ["Discover, tune, confirm", "topics that are kept apart: features are found on the first, choices are made on the second, and the third is read once."],
    ["Rival", "the emotion that the feature was told from worst before confirm topics were read."],
    ["Dose", "the length of what is added to the stream, over the mean length of the stream."],
    ["Turned up, down, off", "the feature is kept above a floor; its direction is subtracted with the same length; it is held at 0."],
    ["Decoy, control", "another emotion\u2019s feature, random features or directions, turned in the same way: what any push would do."],
  ];

  function about(atlas) {
    return el("div", { class: "page narrow" }, el("h1", {}, "What this is and is not"),
      atlas.synthetic && el("p", { class: "caution" }, el("b", {}, "The model is synthetic. "),
        "It is a small transformer that was trained from scratch on generated text, so that the truth about its emotions is known and the tools can be checked against it. Nothing here describes an assistant that people use."),
      el("section", {}, el("h2", {}, "It is"), el("ul", { class: "prose" },
        el("li", {}, "a map of features: directions in the model\u2019s activations, found by sparse autoencoders, that fire when it reads a story about one emotion and not when it reads about others;"),
        el("li", {}, "a record of how sure that is, on topics the features were not chosen on, against the emotion that is hardest to tell apart;"),
        el("li", {}, "where scenarios were run, a record of what changes when such a feature is turned up, down or off, beside controls."))),
      el("section", {}, el("h2", {}, "It is not"), el("ul", { class: "prose" },
        el("li", {}, el("b", {}, "evidence of feelings. "), "A functional emotion feature is a mechanism. It shows neither experience nor its absence."),
        el("li", {}, el("b", {}, "a portrait of an assistant. "), "The model is not the character it writes: a feature may fire for anyone in a text."),
        el("li", {}, el("b", {}, "proof by example. "), "Stories and episodes illustrate; what counts are the intervals, and the controls beside them."),
        el("li", {}, el("b", {}, "complete. "), "Features that stood out for no emotion are not shown, and a sparse autoencoder misses part of what the model does."))),
      el("section", {}, el("h2", {}, "How to read a verdict"), el("dl", { class: "rungs" }, atlas.rungs.map(({ name, meaning }, place) =>
        [el("dt", {}, emosae.marks.verdict(place + 1, atlas.rungs)), el("dd", {}, meaning)]))),
      el("section", {}, el("h2", {}, "Words"), el("dl", { class: "rungs" }, WORDS.map(([word, meaning]) => [el("dt", {}, el("b", {}, word)), el("dd", {}, meaning)]))),
      el("section", {}, el("h2", {}, "Pages"), el("dl", { class: "rungs" }, PAGES.map(([view, name, what]) =>
        [el("dt", {}, el("a", { href: emosae.href(view) }, name)), el("dd", {}, what)])),
      el("p", { class: "note" }, "Every page has its own address, so it can be linked; the back button works. Search with ", el("kbd", {}, "/"),
        ". An emotion keeps its colour and shape everywhere; colours are chosen to stay apart for colour-blind readers and are repeated with other shapes when there are more emotions than colours.")),
      provenance(atlas));
  }

  function provenance(atlas) {
    return el("section", {}, el("h2", {}, "Where it comes from"),
      el("dl", { class: "facts" }, atlas.facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))])),
      atlas.saes.length > 0 && emosae.tables.table("Sparse autoencoders", [
        { title: "SAE", cell: (sae) => el("bdi", {}, sae.name) }, { title: "Reads at", cell: (sae) => el("code", {}, sae.hook_name) },
        { title: "Features", className: "number", cell: (sae) => isNumber(sae.d_sae) ? sae.d_sae.toLocaleString("en") : "\u2013" },
        { title: "Firing per token (l0)", className: "number", cell: (sae) => fixed(sae.l0, 1) },
        { title: "Unexplained variance (fvu)", className: "number", cell: (sae) => fixed(sae.fvu, 3) },
        { title: "Dead", className: "number", cell: (sae) => percent(sae.dead_fraction) },
      ], atlas.saes),
      atlas.notes.length > 0 && [el("h3", {}, "Notes of the run"), el("ul", { class: "prose" }, atlas.notes.map((note) => el("li", {}, note)))]);
  }

  return about;
})();
