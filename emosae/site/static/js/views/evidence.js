// The sections of a feature's page that rest on more than its ledger row: where it fires, what it says to the vocabulary,
// what could explain it away, and what turns it on.
"use strict";

window.emosae = window.emosae || {};

emosae.evidence = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, percent, range, signed } = emosae.format;
  const { emotionName, featureName } = emosae.marks;
  const { axisLabels, axis, interval } = emosae.plots;
  const { figures, nothing, table } = emosae.tables;
  const auroc = axis([0, 1.02], 0.5, [0, 0.5, 1], (value) => fixed(value, 1));
  const change = axis([-1.04, 1.04], 0, [-1, 0, 1], (value) => fixed(value, 0));

  /** What each check asks, where its numbers stand in the ledger, and the axis on which it is drawn. */
  const CHECKS = [
    { group: "Confounds", title: "Its predictive words masked", asks: "AUROC lost on confirm topics when the words that a bag of words finds most predictive are masked", name: "lexical_drop", on: change, write: signed },
    { group: "Confounds", title: "Story length", asks: "Rank correlation of its mean activation with the number of tokens", name: "length_corr", on: change, write: signed },
    { group: "Confounds", title: "Position in the story", asks: "How much more often it fires late in a story than early: \u22121 only at starts, 1 only at ends", name: "position_corr", on: change, write: signed },
    { group: "Confounds", title: "One token", asks: "Share of all its activation that falls on a single token of the vocabulary", name: "top_token_share", on: axis([0, 1.02], 0, [0, 0.5, 1], percent), write: percent, note: (entry) => entry.top_token && el("q", {}, emosae.text.visible(entry.top_token)) },
    { group: "Confounds", title: "Among emotions of the same valence", asks: "AUROC on confirm topics against stories whose emotion is as pleasant or as unpleasant", name: "auroc_same_valence", on: auroc, write: fixed },
    { group: "Confounds", title: "Among stories of the same perspective", asks: "AUROC on confirm topics against stories told in the same person", name: "auroc_same_perspective", on: auroc, write: fixed },
    { group: "Controls", title: "Against neutral text", asks: "AUROC against neutral text, which has no emotion", name: "auroc_neutral", on: auroc, write: fixed },
    { group: "Controls", title: "Features that fire as often", asks: "95th percentile of the AUROC of 30 other features on discover and tune topics; the feature should lie above", name: "auroc_control", on: auroc, write: fixed },
    { group: "Controls", title: "Says it in words", asks: "Output score: how far turning it up makes the model write the tokens it promotes", name: "output_score", on: change, write: signed },
    { group: "Controls", title: "Beyond every matched control", asks: "Change of behaviour beyond that of the nearest control", name: "control_gap", on: change, write: signed, note: (entry) => entry.nearest_control && String(entry.nearest_control) },
    { group: "Controls", title: "In a second SAE", asks: "The same gap with the dial of an SAE trained from another seed", name: "second_seed_gap", on: change, write: signed },
  ];

  function histogramSection(atlas, found, { histogram }) {
    const own = new Set([found.ledger[0]?.emotion.name, found.emotion?.name]);
    return el("section", { "aria-labelledby": "histogram" }, el("h2", { id: "histogram" }, "How strongly it fires, by emotion"),
      !histogram ? nothing("No histogram was stored for this feature.")
        : [el("p", { class: "note" }, "Every story of the corpus by the strongest activation in it; stories in which the feature is silent are not drawn. Emotions are sorted by the mean."),
          emosae.charts.histogram(histogram, { own, nameOf: (name) => emotionName(atlas.emotionOf(name)) })]);
  }

  function tokenSection({ tokens, about }) {
    const heading = el("h2", { id: "vocabulary" }, "What it promotes and suppresses");
    if (!tokens) {
      return el("section", { "aria-labelledby": "vocabulary" }, heading, nothing(about.has.tokens
        ? "No token was stored for this feature." : "The run did not read its features through the unembedding; build the atlas again."));
    }
    const top = Math.max(...[...tokens.promoted, ...tokens.suppressed].map(([, value]) => Math.abs(value)));
    return el("section", { "aria-labelledby": "vocabulary" }, heading,
      el("p", { class: "note" }, "Logits of its decoder direction d through the final norm N and the unembedding W", el("sub", {}, "U"), ": ",
        el("code", {}, "W", el("sub", {}, "U"), " (N(d) \u2212 N(0))"), ", less their mean over the vocabulary. It is what the direction says by itself; later blocks may turn it into something else."),
      el("div", { class: "token-columns" },
        el("div", {}, el("h3", {}, "Promoted"), emosae.charts.wordBars(tokens.promoted, top)),
        el("div", {}, el("h3", {}, "Suppressed"), emosae.charts.wordBars(tokens.suppressed, top, { falling: true }))));
  }

  function checkSection(atlas, entry) {
    if (!entry) return null;
    const known = CHECKS.filter(({ name }) => isNumber(entry[name]));
    const rows = known.map((check) => ({ ...check, value: entry[check.name], lo: entry[`${check.name}_lo`], hi: entry[`${check.name}_hi`] }));
    const columns = [
      { title: "Check", className: "check", cell: (row) => el("div", { class: "stack" }, el("span", {}, row.title), el("span", { class: "note" }, row.asks)) },
      { title: "Measured", className: "plot", cell: (row) => el("div", { class: "measured" }, interval(row.on, row), el("span", {}, figures(row, row.write), row.note && el("span", { class: "small muted" }, " ", row.note(entry)))) },
    ];
    return el("section", { "aria-labelledby": "checks" }, el("h2", { id: "checks" }, "Confounds and controls"),
      rows.length === 0 ? nothing("This run measured none.")
        : [el("p", { class: "note" }, "For ", emotionName(entry.emotion), ". The dashed line is where a feature without that trait, or no better than chance, would lie."),
          ["Confounds", "Controls"].map((group) => rows.some((row) => row.group === group)
            && [el("h3", {}, group), table(group, columns, rows.filter((row) => row.group === group))])]);
  }

  /** The difference of AUROC to every baseline, where this is the emotion's best feature. */
  function baselineSection(atlas, found, { about }) {
    const rows = emosae.data.rowsOf(about.comparisons).filter((row) => row.sae === found.sae.name && row.feature_idx === found.feature_idx);
    if (!rows.length) return null;
    const reach = Math.max(0.1, ...rows.flatMap((row) => [row.difference_lo, row.difference_hi]).filter(isNumber).map(Math.abs));
    const end = Math.ceil(reach * 10) / 10;
    const on = axis([-end * 1.04, end * 1.04], 0, [-end, 0, end], (value) => signed(value, 1));
    return el("section", { "aria-labelledby": "baselines" }, el("h2", { id: "baselines" }, "Against simpler methods"),
      el("p", { class: "note" }, "AUROC of this feature minus that of the baseline, on the same confirm stories; right of the line the feature does better."),
      table("Difference to baselines", [
        { title: "Baseline", cell: (row) => emosae.baselineName(row.baseline) },
        { title: "For", cell: (row) => emotionName(atlas.emotionOf(row.emotion)) },
        { title: "Difference", className: "plot", head: [el("span", {}, "Difference of AUROC"), axisLabels(on)],
          cell: (row) => el("div", { class: "measured" }, interval(on, { lo: row.difference_lo, value: row.difference, hi: row.difference_hi }),
            figures({ lo: row.difference_lo, value: row.difference, hi: row.difference_hi }, signed)) },
        { title: "Outcome", cell: (row) => row.outcome || "\u2013" },
      ], rows));
  }

  /** Tokens and earlier features that turn it on; absent where the run did not look. */
  function connectionSection(atlas, { connections, about }) {
    if (!connections) {
      return about.has.connections ? el("section", { "aria-labelledby": "connections" }, el("h2", { id: "connections" }, "What turns it on"),
        nothing("Connections were traced for the best features of each emotion and for dials, and this is none of them.")) : null;
    }
    const name = (row) => {
      const [sae, index] = splitAddress(row.source);
      const other = row.kind === "feature" && atlas.feature(sae, index);
      return other ? el("span", { class: "stack" }, featureName(other), emotionName(other.emotion))
        : row.kind === "feature" ? el("code", {}, row.source) : el("q", {}, emosae.text.visible(String(row.source)));
    };
    const reach = Math.max(0.01, ...connections.flatMap((row) => [row.drop_lo, row.drop, row.drop_hi, row.control_drop]).filter(isNumber).map(Math.abs));
    const on = axis([-reach * 1.04, reach * 1.04], 0, [-reach, 0, reach], percent);
    const block = (kind, title) => {
      const rows = connections.filter((row) => row.kind === kind).sort((a, b) => Number(b.is_confirmed) - Number(a.is_confirmed) || (b.drop || 0) - (a.drop || 0));
      return rows.length > 0 && [el("h3", {}, title), table(title, [
        { title: kind === "token" ? "Token" : "Feature", cell: name },
        { title: "Attribution", className: "number", cell: (row) => percent(row.attribution) },
        { title: "Lost when it is removed", className: "plot", head: [el("span", {}, "Activation lost when it is removed"), axisLabels(on)],
          cell: (row) => el("div", { class: "measured" }, interval(on, { lo: row.drop_lo, value: row.drop, hi: row.drop_hi, hollow: row.is_confirmed === false }),
            figures({ lo: row.drop_lo, value: row.drop, hi: row.drop_hi }, percent)) },
        { title: "Control", className: "number", cell: (row) => percent(row.control_drop) },
        { title: "Stories", className: "number", cell: (row) => row.n_stories ?? "\u2013" },
      ], rows)];
    };
    return el("section", { "aria-labelledby": "connections" }, el("h2", { id: "connections" }, "What turns it on"),
      el("p", { class: "note" }, "Attribution is the share of its activation that gradient times activation ascribes to a source. Each source was then removed: the share of the activation that is lost, with a 95% interval over stories, beside what is lost when matched controls are removed. Hollow dots are not confirmed: the interval holds 0, or the control does as much."),
      block("feature", "Earlier features"), block("token", "Tokens"));
  }

  function splitAddress(source) {
    const place = String(source).lastIndexOf("/");
    return [String(source).slice(0, place), String(source).slice(place + 1)];
  }

  /** The same feature in another SAE and how it does there, for the card of matches. */
  function replicationNote(atlas, found, { replication }) {
    const known = replication.filter((one) => one.matched_sae);
    const row = known.find((one) => one.emotion === found.ledger[0]?.emotion.name) || known[0] || null;
    const other = row && atlas.feature(row.matched_sae, row.matched_feature_idx);
    return row && el("p", { class: "note" }, "Its match ", other ? featureName(other) : el("code", {}, `${row.matched_sae}/${row.matched_feature_idx}`),
      " tells ", emotionName(atlas.emotionOf(row.emotion)), " with AUROC ", el("b", {}, fixed(row.matched_auroc_confirm)),
      ` (${range(row.matched_auroc_confirm_lo, row.matched_auroc_confirm_hi)}) on the same confirm topics.`);
  }

  return { baselineSection, checkSection, connectionSection, histogramSection, replicationNote, tokenSection };
})();
