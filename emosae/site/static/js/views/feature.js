// One feature: top stories, selectivity, matches, causal evidence, verdict ladder, and how to load it.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.feature = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, percent, pvalue, range } = emosae.format;
  const { emotionName, featureAddress, featureName, verdict } = emosae.marks;
  const { aurocColumn, figures, nothing, rivalColumn, table, verdictColumn } = emosae.tables;
  // A link from a to b is read from either end: what splits for one end merges for the other.
  const FROM_END = { split: "merge", merge: "split", absorbed: "absorbs" };
  const RELATIONS = [["match", "Matches"], ["split", "Splits into"], ["merge", "Is a part of"], ["absorbed", "Absorbed by"], ["absorbs", "Absorbs"]];
  const SPLITS = [["confirm", "On confirm topics", "It was not chosen on these."], ["tune", "On tune topics", ""], ["discover", "On discover topics", "It was chosen on these."]];

  async function feature(atlas, [sae, index]) {
    const found = atlas.feature(sae, index);
    if (!found) return emosae.notFound(`This atlas has no feature ${sae ?? ""}/${index ?? ""}. Only features that stood out for an emotion are stored.`);
    const entry = found.ledger[0] || null;
    const more = await emosae.pages.evidence(found);
    return el("div", { class: "page" },
      el("p", { class: "eyebrow" }, "Feature of ", el("bdi", {}, found.sae.name), el("span", { class: "muted" }, " ", el("bdi", {}, found.sae.hook_name))),
      el("div", { class: "title" }, el("h1", {}, "Feature ", found.feature_idx), emotionName(found.emotion), verdict(found.level, atlas.rungs),
        actions(found, more)),
      entry && keyFigures(entry),
      el("div", { class: "with-aside" },
        el("div", {}, await storySection(atlas, found), emosae.evidence.histogramSection(atlas, found, more), emosae.evidence.tokenSection(more),
          selectivitySection(atlas, found), emosae.evidence.checkSection(atlas, entry), emosae.evidence.baselineSection(atlas, found, more),
          emosae.causal.section(atlas, dialRows(atlas, found), {
            empty: "No scenario turned this feature; scenarios turn few features of an emotion, chosen before they run." }),
          emosae.evidence.connectionSection(atlas, more), profileSection(atlas, found), entry && measuresSection(entry)),
        el("aside", {}, emosae.ladder(atlas, entry), matchSection(atlas, found, more), snippetSection(found, entry))));
  }

  function actions(found, { neuronpedia }) {
    return el("div", { class: "actions" },
      el("a", { class: "button", href: emosae.href("map", { at: found.row }) }, "Show on the map"),
      el("a", { class: "button", href: emosae.href("compare", { of: emosae.compareKey(found) }) }, "Compare"),
      neuronpedia && el("a", { class: "button", href: neuronpedia, rel: "noreferrer" }, "Neuronpedia"));
  }

  /** Arms in which this feature was the dial: its ledger row then holds their change. Arms of other runs turned theirs. */
  function dialRows(atlas, found) {
    const dials = new Set(found.ledger.filter((entry) => isNumber(entry.delta)).map((entry) => entry.emotion.name));
    const isOwn = (row) => !found.sae.run || emosae.causal.readScenario(row.scenario).run === found.sae.run;
    return atlas.scenarios.filter((row) => dials.has(row.dial) && row.method !== "vector" && isOwn(row));
  }

  function keyFigures(entry) {
    const cell = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value, note && el("span", { class: "note" }, note)));
    return el("dl", { class: "key-figures" },
      cell("AUROC on confirm topics", figures({ lo: entry.auroc_confirm_lo, value: entry.auroc_confirm, hi: entry.auroc_confirm_hi })),
      entry.rival && cell("Against its rival", figures({ lo: entry.auroc_rival_confirm_lo, value: entry.auroc_rival_confirm, hi: entry.auroc_rival_confirm_hi }),
        el("bdi", {}, entry.rival)),
      cell("Fires in", percent(entry.fire_rate_pos), `of its stories, ${percent(entry.fire_rate_neg)} of others`),
      cell("q on discover", pvalue(entry.q_bh)));
  }

  async function storySection(atlas, found) {
    const examples = await atlas.examples(found);
    const scale = Math.max(0, ...examples.map((example) => example.peak));
    const groups = SPLITS.map(([split, title, note]) => [title, note, examples.filter((example) => example.split === split)])
      .concat([["Other text", "", examples.filter((example) => !SPLITS.some(([split]) => split === example.split))]]);
    return el("section", { "aria-labelledby": "stories" }, el("h2", { id: "stories" }, "Where it fires most"),
      examples.length === 0 ? nothing("No story was stored for this feature.")
        : [el("p", { class: "note" }, "Hover, tap, or use the arrow keys to read a token\u2019s activation. ",
          el("span", { class: "scale" }, "0", el("i", {}), emosae.format.activation(scale))),
        groups.filter(([, , some]) => some.length).map(([title, note, some]) => [
          el("h3", {}, title, note && el("span", { class: "note" }, ` ${note}`)),
          emosae.text.spanList(some, scale),
          el("div", { class: "stories" }, some.map((example) => emosae.text.storyCard(example, scale))),
        ])]);
  }

  function selectivitySection(atlas, found) {
    return el("section", { "aria-labelledby": "selectivity" }, el("h2", { id: "selectivity" }, "Selectivity"),
      found.ledger.length === 0 ? nothing("It was a candidate for no emotion.")
        : [el("p", { class: "note" }, "The rival is the emotion it was told from worst on discover and tune topics; it stays fixed on confirm."),
          table("Emotions this feature was a candidate for", [
            { title: "Emotion", cell: (entry) => emotionName(entry.emotion) },
            aurocColumn(found.ledger), rivalColumn(atlas),
            { title: "q", className: "number", cell: (entry) => pvalue(entry.q_bh) },
            verdictColumn(atlas),
          ], found.ledger)]);
  }

  /** How well it tells every emotion from the rest, on the stories it was chosen with. */
  function profileSection(atlas, found) {
    const known = (found.profile || []).map((value, row) => ({ emotion: atlas.emotions[row], value }))
      .filter(({ emotion, value }) => emotion && isNumber(value)).sort((a, b) => b.value - a.value);
    if (known.length === 0) return null;
    const axis = emosae.plots.axis([0, 1], 0.5, [0, 0.5, 1], (value) => fixed(value, 1));
    return el("section", { "aria-labelledby": "profile" }, el("h2", { id: "profile" }, "Profile over all emotions"),
      el("p", { class: "note" }, "AUROC of each emotion against the rest on discover and tune topics, right of the line where its stories make the feature fire more."),
      el("ol", { class: "profile" }, known.map(({ emotion, value }) => el("li", {}, emotionName(emotion),
        emosae.plots.interval(axis, { lo: Math.min(0.5, value), value, hi: Math.max(0.5, value), className: "lollipop" }),
        el("span", { class: "number" }, fixed(value))))));
  }

  /** Every other number that the ledger holds on this feature and its first emotion. */
  function measuresSection(entry) {
    const shown = entry.measures || [];
    return el("details", { class: "measures" }, el("summary", {}, `All ${shown.length} columns of its ledger row`),
      el("dl", {}, shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("bdi", {}, write(value)))))));
  }

  function write(value) {
    if (value === null || value === undefined) return "\u2013";
    return isNumber(value) && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);
  }

  function matchSection(atlas, found, more) {
    const near = nearest(atlas, found, 5);
    const score = (link) => [["cosine", link.cosine], ["correlation", link.correlation]].filter(([, value]) => isNumber(value))
      .map(([name, value]) => `${name} ${fixed(value)}`).join(", ");
    return el("section", { class: "card", "aria-labelledby": "matches" }, el("h2", { id: "matches" }, "Matches in other SAEs"),
      found.links.length === 0 ? nothing(atlas.saes.length > 1 ? "No feature of another SAE matches it." : "The atlas has one SAE only.")
        : RELATIONS.map(([relation, title]) => [title, found.links.filter((link) => relationOf(link, found) === relation)])
          .filter(([, some]) => some.length).map(([title, some]) => [el("h3", {}, title),
            el("ul", { class: "plain-list" }, some.map((link) => el("li", {},
              featureName(link.other), emotionName(link.other.emotion), el("span", { class: "note" }, score(link)))))]),
      emosae.evidence.replicationNote(atlas, found, more),
      found.concept && el("p", {}, "Part of ", el("a", { href: emosae.href("concept", found.concept.concept) }, el("bdi", {}, found.concept.name))),
      near.length > 0 && [el("h3", {}, "Next to it on the map"),
        el("ul", { class: "plain-list" }, near.map((other) => el("li", {}, featureName(other), emotionName(other.emotion))))]);
  }

  function relationOf(link, found) {
    return link.a === found ? link.relation : FROM_END[link.relation] || link.relation;
  }

  function nearest(atlas, found, n) {
    const linked = new Set([found, ...found.links.map((link) => link.other)]);
    const distance = (other) => (other.x - found.x) ** 2 + (other.y - found.y) ** 2;
    return atlas.features.filter((other) => !linked.has(other)).sort((a, b) => distance(a) - distance(b)).slice(0, n);
  }

  function snippetSection(found, entry) {
    const code = found.sae.snippet.replaceAll("{feature_idx}", found.feature_idx).replaceAll("{value}", write(found.peak ?? 1));
    const copied = el("span", { role: "status", class: "note" });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(code);
        emosae.dom.replace(copied, "copied");
      } catch {
        emosae.dom.replace(copied, "select it and copy by hand");
      }
    };
    return el("section", { class: "card", "aria-labelledby": "load" }, el("h2", { id: "load" }, "Load and clamp it"),
      el("pre", { tabindex: "0" }, el("code", {}, code)), el("p", {}, el("button", { type: "button", on: { click: copy } }, "Copy"), " ", copied));
  }

  feature.needs = (atlas, [sae, index]) => {
    const found = atlas.feature(sae, index);
    return Promise.all([atlas.ready(), found && atlas.details(found)]);
  };
  return feature;
})();

/** The verdict ladder: every rung with what it says and the file it rests on. */
emosae.ladder = (atlas, entry) => {
  const { el } = emosae.dom;
  const keyOf = (rung, { feature, emotion }) => rung.key.replace("{sae}", () => feature.sae.name)
    .replace("{feature_idx}", () => feature.feature_idx).replace("{emotion}", () => emotion.name);
  const words = { passed: "reached", failed: "not reached", open: "not tested" };
  return el("section", { class: "card", "aria-labelledby": "ladder" }, el("h2", { id: "ladder" }, "Verdict"),
    el("ol", { class: "ladder" }, atlas.rungs.map((rung, place) => {
      const [state, why] = entry ? entry.rungs[place] : ["open", ""];
      return el("li", { class: state }, el("div", {}, el("b", {}, rung.name), el("span", { class: "state" }, words[state])),
        el("p", { class: "note" }, why || rung.meaning),
        entry && state !== "open" && el("p", { class: "source" }, el("code", {}, rung.table), " ", el("bdi", {}, keyOf(rung, entry))));
    })));
};
