// Two or more features or emotions side by side. What is compared stands in the address: `?of=emotion:sad,feature:sae/12`.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

/** How an emotion or a feature is written in the address of a comparison. */
emosae.compareKey = (thing) => thing.sae ? `feature:${thing.sae.name}/${thing.feature_idx}` : `emotion:${thing.name}`;

emosae.views.compare = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, percent, pvalue, signed } = emosae.format;
  const { emotionName, featureName, glyph, verdict } = emosae.marks;
  const { figures, nothing, rivalOf } = emosae.tables;
  const MOST = 5;
  const PROFILE = 14;

  async function compare(atlas, _, query) {
    const keys = [...new Set((query.of || "").split(",").filter(Boolean))].slice(0, MOST);
    const items = keys.map((key) => readKey(atlas, key));
    const found = await Promise.all(items.filter((item) => item.thing).map((item) => gather(atlas, item)));
    const unknown = items.filter((item) => !item.thing).map((item) => item.key);
    return el("div", { class: "page" }, el("h1", {}, "Compare"),
      el("p", { class: "deck" }, "Features and emotions side by side, on shared axes. An emotion is shown by its best feature, the one that discover topics chose."),
      adder(atlas, keys),
      unknown.length > 0 && el("p", { class: "note" }, "Not in this atlas: ", unknown.join(", ")),
      found.length === 0 ? [nothing("Nothing is chosen yet. Add an emotion, or a feature as SAE/number; or start from one of these."), suggestions(atlas)]
        : [columns(atlas, found, keys), found.length > 1 && pairSection(atlas, found), profileSection(atlas, found), storySection(found)]);
  }

  function readKey(atlas, key) {
    const [kind, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
    const slash = name.lastIndexOf("/");
    const thing = kind === "emotion" ? atlas.emotion(name) : kind === "feature" ? atlas.feature(name.slice(0, slash), name.slice(slash + 1)) : null;
    return { key, kind, thing };
  }

  /** A column's feature, its ledger row, and what its page would show. */
  async function gather(atlas, { key, kind, thing }) {
    const feature = kind === "emotion" ? thing.best?.feature || null : thing;
    if (!feature) return { key, kind, thing, feature, entry: null, more: null, examples: [] };
    await atlas.details(feature);
    const entry = kind === "emotion" ? thing.best : feature.ledger[0] || null;
    const [more, examples] = await Promise.all([emosae.pages.evidence(feature), atlas.examples(feature)]);
    return { key, kind, thing, feature, entry, more, examples };
  }

  function link(keys) {
    return emosae.href("compare", { of: keys.join(",") });
  }

  function adder(atlas, keys) {
    const names = [...atlas.emotions.map((emotion) => emotion.name),
      ...atlas.emotions.filter((emotion) => emotion.best).map((emotion) => `${emotion.best.feature.sae.name}/${emotion.best.feature.feature_idx}`)];
    const said = el("span", { role: "status", class: "note" });
    const input = el("input", { id: "compare-add", type: "text", list: "compare-names", placeholder: "emotion, or SAE/number", autocomplete: "off", spellcheck: "false" });
    const add = (event) => {
      event.preventDefault();
      const name = input.value.trim();
      const kind = atlas.emotion(name) ? "emotion" : "feature";
      if (!readKey(atlas, `${kind}:${name}`).thing) {
        emosae.dom.replace(said, name ? `There is no emotion or feature \u201c${name}\u201d.` : "");
      } else if (keys.length >= MOST) {
        emosae.dom.replace(said, `At most ${MOST}: take one away first.`);
      } else {
        location.hash = link([...keys, `${kind}:${name}`]);
      }
    };
    return el("form", { class: "adder", on: { submit: add } }, el("label", { for: "compare-add" }, "Add"), input,
      el("datalist", { id: "compare-names" }, [...new Set(names)].map((name) => el("option", { value: name }))),
      el("button", { type: "submit" }, "Add"), said);
  }

  function suggestions(atlas) {
    const measured = atlas.overlap.cosine || [];
    const pairs = measured.flatMap((line, row) => line.slice(row + 1).map((value, place) => [value || 0, row, row + 1 + place]))
      .sort((a, b) => b[0] - a[0]).slice(0, 4);
    const emotionAt = (place) => atlas.emotions[atlas.overlap.emotions[place]];
    return pairs.length > 0 && el("ul", { class: "chips" }, pairs.map(([, a, b]) => el("li", {}, el("a", {
      href: link([emosae.compareKey(emotionAt(a)), emosae.compareKey(emotionAt(b))]) }, `${emotionAt(a).name} and ${emotionAt(b).name}`))));
  }

  /** The table: a column for each, a row for each measure. */
  function columns(atlas, found, keys) {
    const on = emosae.plots.aurocAxis(found.map((one) => one.entry).filter(Boolean));
    const change = emosae.plots.differenceAxis(found.flatMap(({ entry }) => entry ? [entry.delta_lo, entry.delta, entry.delta_hi] : []));
    const plotted = (axis, span, write = fixed) => el("div", { class: "plotted" }, emosae.plots.interval(axis, span), figures(span, write));
    const words = (list) => el("span", { class: "words" }, list.slice(0, 6).map((token) => [el("q", {}, emosae.text.visible(token)), " "]));
    const rows = [
      ["Stands for", ({ kind, thing, feature }) => kind === "emotion" ? feature ? ["by ", featureName(feature)] : "no feature" : emotionName(thing.emotion)],
      ["Verdict", ({ entry }) => verdict(entry ? entry.level : 0, atlas.rungs)],
      ["AUROC on confirm topics", ({ entry }) => plotted(on, emosae.tables.aurocOf(entry)), "auroc_confirm"],
      ["Against its rival", ({ entry }) => el("div", { class: "stack" }, figures(rivalOf(entry)), emotionName(atlas.emotionOf(entry.rival))), "auroc_rival_confirm"],
      ["Fires in its stories / others", ({ entry }) => `${percent(entry.fire_rate_pos)} / ${percent(entry.fire_rate_neg)}`, "fire_rate_pos"],
      ["q on discover", ({ entry }) => pvalue(entry.q_bh), "q_bh"],
      ["AUROC lost without its words", ({ entry }) => figures({ lo: entry.lexical_drop_lo, value: entry.lexical_drop, hi: entry.lexical_drop_hi }, signed), "lexical_drop"],
      ["Correlation with length", ({ entry }) => signed(entry.length_corr), "length_corr"],
      ["Output score", ({ entry }) => figures({ lo: entry.output_score_lo, value: entry.output_score, hi: entry.output_score_hi }, signed), "output_score"],
      ["Change of behaviour", ({ entry }) => plotted(change, { lo: entry.delta_lo, value: entry.delta, hi: entry.delta_hi }, signed), "delta"],
      ["Fires at", ({ feature }) => feature ? words(feature.tokens) : "\u2013"],
      ["Promotes", ({ more }) => more?.tokens ? words(more.tokens.promoted.map(([token]) => token)) : "\u2013"],
      ["Suppresses", ({ more }) => more?.tokens ? words(more.tokens.suppressed.map(([token]) => token)) : "\u2013"],
    ].filter(([, , name]) => !name || found.some(({ entry }) => entry && isNumber(entry[name])));
    const cell = (write, one, name) => name && !isNumber(one.entry?.[name]) ? el("span", { class: "muted" }, "not measured") : write(one);
    return el("div", { class: "scroll-x", tabindex: "0", role: "group", "aria-label": "Comparison" }, el("table", { class: "compare" },
      el("caption", { class: "visually-hidden" }, "Comparison"),
      el("thead", {}, el("tr", {}, el("td", {}), found.map((one) => el("th", { scope: "col" }, heading(one, keys))))),
      el("tbody", {}, rows.map(([title, write, name]) => el("tr", {}, el("th", { scope: "row" }, title), found.map((one) => el("td", {}, cell(write, one, name))))))));
  }

  function heading({ key, kind, thing }, keys) {
    return el("div", { class: "compare-head" }, kind === "emotion"
      ? el("a", { class: "emotion", href: emosae.href("emotion", thing.name) }, glyph(thing.row), el("bdi", {}, thing.name)) : featureName(thing),
    el("a", { class: "remove", href: link(keys.filter((one) => one !== key)), "aria-label": `Take ${key.slice(key.indexOf(":") + 1)} away` }, "\u00d7"));
  }

  /** What is known of every pair: links between features, overlap of emotions. */
  function pairSection(atlas, found) {
    const pairs = found.flatMap((a, place) => found.slice(place + 1).map((b) => [a, b]));
    const name = ({ kind, thing }) => kind === "emotion" ? emotionName(thing) : featureName(thing);
    return el("section", { "aria-labelledby": "pairs" }, el("h2", { id: "pairs" }, "Pair by pair"),
      el("ul", { class: "facts-list" }, pairs.map(([a, b]) => el("li", {}, el("span", { class: "pair" }, name(a), " and ", name(b)), el("span", {}, relation(atlas, a, b))))));
  }

  function relation(atlas, a, b) {
    const said = [];
    const places = [a, b].map(({ kind, thing }) => kind === "emotion" ? atlas.overlap.emotions.indexOf(thing.row) : -1);
    if (places.every((place) => place >= 0) && atlas.overlap.cosine) said.push(`profiles of the emotions: cosine ${fixed(atlas.overlap.cosine[places[0]][places[1]])}`);
    const joined = a.feature && b.feature && a.feature !== b.feature && a.feature.links.find((one) => one.other === b.feature);
    if (joined) {
      said.push([`${joined.relation} of features`, isNumber(joined.cosine) && `decoder cosine ${fixed(joined.cosine)}`,
        isNumber(joined.correlation) && `activation correlation ${fixed(joined.correlation)}`].filter(Boolean).join(", "));
    }
    if (a.feature && b.feature && a.feature !== b.feature) {
      const alike = cosine(a.feature.profile, b.feature.profile);
      if (isNumber(alike)) said.push(`profiles of the features: cosine ${fixed(alike)}`);
      if (!joined) said.push(a.feature.sae === b.feature.sae ? "same SAE" : "not matched");
    }
    if (a.feature && a.feature === b.feature) said.push("the same feature");
    if (a.feature?.concept && a.feature.concept === b.feature?.concept) said.push(`both in the concept \u201c${a.feature.concept.name}\u201d`);
    return said.join("; ") || "no link is known";
  }

  /** Cosine of two profiles around 0.5. */
  function cosine(one, other) {
    if (!one || !other) return NaN;
    const pairs = one.map((value, place) => [value - 0.5, other[place] - 0.5]).filter(([a, b]) => isNumber(a) && isNumber(b));
    const dot = (at, to) => pairs.reduce((sum, pair) => sum + pair[at] * pair[to], 0);
    return dot(0, 1) / Math.sqrt(dot(0, 0) * dot(1, 1));
  }

  /** Profiles on one axis: a row per emotion, a mark per column. */
  function profileSection(atlas, found) {
    const drawn = found.filter(({ feature }) => feature?.profile);
    if (!drawn.length) return null;
    const on = emosae.plots.axis([0, 1], 0.5, [0, 0.5, 1], (value) => fixed(value, 1));
    const rows = atlas.emotions.map((emotion) => ({ emotion, values: drawn.map(({ feature }) => feature.profile[emotion.row]) }))
      .filter(({ values }) => values.some(isNumber)).sort((a, b) => Math.max(...b.values) - Math.max(...a.values)).slice(0, PROFILE);
    return el("section", { "aria-labelledby": "profiles" }, el("h2", { id: "profiles" }, "Profiles"),
      el("p", { class: "note" }, `AUROC of each emotion against the rest on discover and tune topics; the ${PROFILE} emotions that any of them tells best.`),
      el("ul", { class: "key" }, drawn.map((one, place) => el("li", {}, el("i", { class: `mark-${place}` }), name(one)))),
      el("ol", { class: "profile wide" }, rows.map(({ emotion, values }) => el("li", {}, emotionName(emotion), emosae.plots.dots(on, values),
        el("span", { class: "number" }, values.map((value) => fixed(value)).join(" / "))))));
  }

  function name({ kind, thing }) {
    return kind === "emotion" ? thing.name : `${thing.sae.name}/${thing.feature_idx}`;
  }

  function storySection(found) {
    const shown = found.filter(({ examples }) => examples.length);
    if (!shown.length) return null;
    return el("section", { "aria-labelledby": "stories" }, el("h2", { id: "stories" }, "Strongest story of each"),
      el("div", { class: "stories" }, shown.map((one) => {
        const best = one.examples.find((example) => example.split === "confirm") || one.examples[0];
        return emosae.text.storyCard(best, best.peak, { heading: el("span", { class: "split" }, `by ${name(one)}, ${best.split}`) });
      })));
  }

  return compare;
})();
