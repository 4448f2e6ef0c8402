// One conversation, sentence by sentence, with the features read over each, and what turned dials made of the reply.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.talk = (() => {
  const { el, svg } = emosae.dom;
  const { activation, fixed, isNumber } = emosae.format;
  const { emotionName } = emosae.marks;
  const { nothing } = emosae.tables;
  const PARTS = { user: "User", opening: "Opens its turn", reply: "Reply" };

  async function talk(atlas, [id], query) {
    const { talks } = await emosae.pages.talks();
    const entry = talks.find((one) => one.conversation_id === id);
    if (!entry) return emosae.notFound(`No conversation ${id ?? ""} was stored.`);
    const found = await emosae.pages.talk(entry);
    const dials = dialsOf(found);
    const dial = dials.includes(query.dial) ? query.dial : dials.includes(entry.expected) ? entry.expected : dials[0];
    return el("div", { class: "page" },
      el("p", { class: "eyebrow" }, el("a", { href: emosae.href("scenarios", { kind: entry.kind }) }, "Scenarios"), " / Conversations / ", el("bdi", {}, entry.kind.replaceAll("_", " "))),
      el("div", { class: "title" }, el("h1", {}, "Conversation ", el("bdi", {}, id)),
        el("span", { class: "note" }, "expected: "), emotionName(atlas.emotionOf(entry.expected)), isNumber(entry.dose) && el("span", { class: "note" }, `dose ${fixed(entry.dose, 0)}`), steps(talks, entry)),
      el("div", { class: "with-aside" },
        el("div", {}, transcript(atlas, found, dial, dials, { id, query }), traceSection(atlas, found, dials, dial)),
        el("aside", {}, readCard(atlas, found, entry))),
      turnedSection(atlas, found));
  }

  function dialsOf(found) {
    return [...new Set([...found.sentences.flatMap(({ acts }) => Object.keys(acts)), ...Object.keys(found.reads)])];
  }

  function steps(talks, entry) {
    const own = talks.filter((one) => one.kind === entry.kind);
    const place = own.indexOf(entry);
    const step = (by, title) => own[place + by] && el("a", { class: "button", href: emosae.href("talk", own[place + by].conversation_id) }, title);
    return el("div", { class: "actions" }, step(-1, "Previous"), step(1, "Next"));
  }

  /** The messages, every sentence shaded by the chosen dial. */
  function transcript(atlas, found, dial, dials, { id, query }) {
    const top = Math.max(0, ...found.sentences.map(({ acts }) => acts[dial] || 0));
    const select = el("select", { id: "dial", on: { change: () => { location.hash = emosae.href("talk", id, { ...query, dial: select.value }); } } },
      dials.map((name) => el("option", { value: name, selected: name === dial }, name)));
    const turns = found.sentences.length ? groupTurns(found.sentences) : [["user", [{ part: "user", text: found.text, acts: {} }]], ["reply", [{ part: "reply", text: found.reply, acts: {} }]]];
    return el("section", { "aria-labelledby": "transcript" }, el("h2", { id: "transcript" }, "Turn by turn"),
      found.sentences.length > 0 ? el("div", { class: "filters" }, el("label", { for: "dial" }, "Shaded by", select))
        : el("p", { class: "note" }, "This conversation was not read sentence by sentence."),
      el("ol", { class: "messages" }, turns.map(([part, sentences]) => el("li", { class: `message ${part}` }, el("h3", {}, PARTS[part] || part),
        el("p", { dir: "auto", class: "shaded" }, sentences.map((sentence) => [shadedSentence(sentence, dial, top), " "]))))));
  }

  function groupTurns(sentences) {
    const turns = [];
    for (const sentence of sentences) {
      if (turns.at(-1)?.[0] === sentence.part) turns.at(-1)[1].push(sentence);
      else turns.push([sentence.part, [sentence]]);
    }
    return turns;
  }

  function shadedSentence({ text, acts }, dial, top) {
    const value = acts[dial];
    const heat = value > 0 && top > 0 ? Math.max(0.1, value / top) : 0;
    const node = el("span", { class: heat ? "token hot" : "token", tabindex: isNumber(value) ? "0" : null, css: heat ? { "--heat": heat.toFixed(3) } : {} }, text,
      isNumber(value) && emosae.dom.hidden(` (${dial} ${activation(value)})`));
    const show = () => isNumber(value) && emosae.tip.show([el("b", {}, activation(value)), " ", el("span", { class: "muted" }, dial)], node.getClientRects()[0]);
    for (const event of ["pointerenter", "focus"]) node.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) node.addEventListener(event, emosae.tip.hide);
    return node;
  }

  /** All dials by sentence, each row shaded by its own strongest. */
  function traceSection(atlas, found, dials, chosen) {
    if (!found.sentences.length) return null;
    const rows = [...dials].filter((dial) => found.sentences.some(({ acts }) => acts[dial] > 0))
      .sort((a, b) => Number(b === chosen) - Number(a === chosen) || strongest(found, b) - strongest(found, a));
    if (!rows.length) return null;
    const [cell, margin] = [Math.max(14, Math.min(34, 460 / found.sentences.length)), 92];
    const top = Math.max(...rows.map((dial) => strongest(found, dial)));
    const width = margin + cell * found.sentences.length;
    const first = found.sentences.findIndex(({ part }) => part !== "user");
    const figure = svg("svg", { class: "heatmap traces-map", viewBox: `0 0 ${width} ${rows.length * 22 + 26}`, width, height: rows.length * 22 + 26, role: "img",
      "aria-label": `Activation of ${rows.length} dials over ${found.sentences.length} sentences` },
    rows.map((dial, row) => [svg("text", { x: margin - 8, y: row * 22 + 15, "text-anchor": "end", class: dial === chosen ? "chosen" : "" }, dial),
      found.sentences.map(({ acts }, place) => svg("rect", { class: "cell", x: margin + place * cell, y: row * 22 + 1, width: cell - 1.5, height: 19, rx: 2,
        "data-row": row, "data-column": place, css: { "--heat": Math.min(1, (acts[dial] || 0) / top).toFixed(3) } }))]),
    first > 0 && svg("line", { class: "reference", x1: margin + first * cell - 1, x2: margin + first * cell - 1, y1: 0, y2: rows.length * 22 }),
    svg("text", { x: margin, y: rows.length * 22 + 18 }, "user"), first > 0 && svg("text", { x: margin + first * cell + 4, y: rows.length * 22 + 18 }, "the model\u2019s turn"));
    figure.addEventListener("pointermove", (event) => {
      const { row, column } = event.target.dataset;
      if (row === undefined) return emosae.tip.hide();
      const { acts, text } = found.sentences[column];
      return emosae.tip.show([el("b", {}, activation(acts[rows[row]] || 0)), ` ${rows[row]}: `, el("q", {}, text.slice(0, 70))], event.target.getBoundingClientRect());
    });
    figure.addEventListener("pointerleave", emosae.tip.hide);
    return el("section", { "aria-labelledby": "trace" }, el("h2", { id: "trace" }, "All dials, sentence by sentence"),
      el("p", { class: "note" }, "Mean activation over each sentence, on one scale. The dashed line is where the model\u2019s turn begins."),
      el("div", { class: "scroll-x", tabindex: "0", role: "group", "aria-label": "Trace of all dials" }, figure));
  }

  function strongest(found, dial) {
    return Math.max(0, ...found.sentences.map(({ acts }) => acts[dial] || 0));
  }

  function readCard(atlas, found, entry) {
    const rows = Object.entries(found.reads).sort((a, b) => b[1][0] - a[1][0]);
    const top = Math.max(0.01, ...rows.map(([, [open]]) => open || 0));
    return el("section", { class: "card", "aria-labelledby": "reads" }, el("h2", { id: "reads" }, "As its turn opens"),
      rows.length === 0 ? nothing("Nothing was read.")
        : [el("p", { class: "note" }, "Activation at the token that opens the model\u2019s turn; the expected emotion is bold."),
          el("ol", { class: "pairs single" }, rows.map(([name, [open]]) => el("li", { class: name === entry.expected ? "expected" : "" },
            emotionName(atlas.emotionOf(name)), emosae.plots.bar(open, top), el("span", { class: "number" }, activation(open)))))]);
  }

  function turnedSection(atlas, found) {
    if (!found.turned.length) return null;
    return el("section", { "aria-labelledby": "turned" }, el("h2", { id: "turned" }, "With a dial turned"),
      el("p", { class: "note" }, "The same message, with a feature turned while the model writes."),
      el("div", { class: "stories" }, found.turned.map((row) => el("article", { class: "story" },
        el("header", {}, emosae.causal.armName(row), row.warned && el("span", { class: "ending fine" }, "warns"), row.tone && el("span", { class: "split" }, `tone: ${row.tone}`)),
        el("p", { class: "shaded", dir: "auto" }, row.reply)))));
  }

  return talk;
})();
