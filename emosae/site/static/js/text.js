// A story with every token shaded by a feature's activation. Hover, tap or the arrow keys read the value of one token.
"use strict";

window.emosae = window.emosae || {};

emosae.text = (() => {
  const { el } = emosae.dom;
  const { activation, count } = emosae.format;
  const WHOLE = 160; // tokens that are shown without asking
  const BESIDE = 8; // tokens on each side of the peak of a span
  const AROUND = 45; // tokens on each side of the strongest in an excerpt

  /** A story card. `scale` is the activation that is shaded most, shared by the stories of a page. */
  function storyCard(example, scale, { heading = null } = {}) {
    const readout = el("output", { class: "readout" }, peakNote(example));
    const body = el("div", { class: "story-body" });
    const isLong = example.tokens.length > WHOLE;
    const draw = (whole) => body.replaceChildren(shadedText(example, scale, readout, whole));
    const toggle = isLong && el("button", {
      class: "quiet", type: "button", "aria-expanded": "false",
      on: {
        click: (event) => {
          const whole = event.currentTarget.getAttribute("aria-expanded") !== "true";
          event.currentTarget.setAttribute("aria-expanded", String(whole));
          event.currentTarget.textContent = whole ? "Show less" : `Whole story (${count(example.tokens.length, "token")})`;
          draw(whole);
        },
      },
    }, `Whole story (${count(example.tokens.length, "token")})`);
    draw(!isLong);
    return el("article", { class: "story" },
      el("header", {}, emosae.marks.emotionName(example.emotion), heading,
        el("span", { class: "muted story-id" }, el("bdi", {}, example.id), example.cut && " (cut)")),
      body, el("footer", {}, readout, toggle));
  }

  function peakNote(example) {
    const place = example.values.indexOf(example.peak);
    return example.peak > 0
      ? [`peak ${activation(example.peak)} at `, el("q", {}, visible(example.tokens[place]))]
      : "silent in this story";
  }

  function shadedText(example, scale, readout, whole) {
    const peak = example.values.indexOf(example.peak);
    const start = whole ? 0 : Math.max(0, peak - AROUND);
    const stop = whole ? example.tokens.length : Math.min(example.tokens.length, peak + AROUND + 1);
    const tokens = [];
    for (let place = start; place < stop; place += 1) tokens.push(shadedToken(example, place, scale, place === peak));
    const text = el("p", { class: "shaded", dir: "auto", tabindex: "0", "aria-label": `Story: ${example.tokens.join("")}` },
      start > 0 && "\u2026 ", tokens, stop < example.tokens.length && " \u2026");
    listen(text, tokens, example, start, readout);
    return text;
  }

  function shadedToken(example, place, scale, isPeak) {
    const value = example.values[place];
    const heat = value > 0 && scale > 0 ? Math.max(0.12, Math.min(1, value / scale)) : 0;
    const token = example.tokens[place];
    const start = token.trim() ? token.length - token.trimStart().length : 0; // the space before a word is not shaded
    return el("span", { "data-place": place }, token.slice(0, start), el("span", {
      class: heat ? (isPeak ? "token hot peak" : "token hot") : "token", css: heat ? { "--heat": heat.toFixed(3) } : {},
    }, token.slice(start)));
  }

  function listen(text, tokens, example, start, readout) {
    let current = -1;
    const read = (place) => {
      tokens[current - start]?.lastChild.classList.remove("current");
      current = place;
      const token = tokens[place - start]?.lastChild;
      if (!token) {
        emosae.tip.hide();
        return;
      }
      token.classList.add("current");
      const value = activation(example.values[place]);
      emosae.tip.show([el("b", {}, value), " ", el("span", { class: "muted" }, `token ${place + 1}`)],
        token.getClientRects()[0] || token.getBoundingClientRect());
      emosae.dom.replace(readout, `${value} at `, el("q", {}, visible(example.tokens[place])));
    };
    text.addEventListener("pointerover", (event) => {
      const token = event.target.closest("[data-place]");
      if (token) read(Number(token.dataset.place));
    });
    const leave = () => {
      read(-1);
      emosae.dom.replace(readout, peakNote(example));
    };
    text.addEventListener("pointerleave", leave);
    text.addEventListener("blur", leave);
    text.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const from = current < 0 ? example.values.indexOf(example.peak) - step : current;
      read(Math.min(start + tokens.length - 1, Math.max(start, from + step)));
    });
  }

  /** A token as it stands in a line of text: white space shown, very long ones cut. */
  function visible(token) {
    const shown = token.trim() || token.replaceAll("\n", "\u21b5").replaceAll(" ", "\u2423");
    return shown.length > 40 ? `${shown.slice(0, 40)}\u2026` : shown;
  }

  /** The strongest spans of some stories, one to a line with the peak in the middle. */
  function spanList(examples, scale, most = 6) {
    const peaks = examples.flatMap((example) => example.values.map((value, place) => ({ example, place, value })))
      .filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
    const kept = [];
    for (const peak of peaks) {
      if (kept.length === most) break;
      if (!kept.some((other) => other.example === peak.example && Math.abs(other.place - peak.place) <= BESIDE)) kept.push(peak);
    }
    const part = ({ example }, from, to) => Array.from({ length: Math.max(0, to - from) }, (_, step) => spanToken(example, from + step, scale));
    return el("ol", { class: "spans" }, kept.map((peak) => el("li", {},
      el("span", { class: "before" }, part(peak, Math.max(0, peak.place - BESIDE), peak.place)), spanToken(peak.example, peak.place, scale),
      el("span", { class: "after" }, part(peak, peak.place + 1, Math.min(peak.example.tokens.length, peak.place + BESIDE + 1))),
      el("span", { class: "number" }, activation(peak.value)))));
  }

  function spanToken(example, place, scale) {
    const [token, value] = [example.tokens[place].replaceAll("\n", " "), example.values[place]];
    const heat = value > 0 && scale > 0 ? Math.max(0.12, Math.min(1, value / scale)) : 0;
    const node = el("span", { class: heat ? "token hot" : "token", css: heat ? { "--heat": heat.toFixed(3) } : {} }, token.length > 40 ? visible(token) : token);
    node.addEventListener("pointerenter", () => emosae.tip.show(el("b", {}, activation(value)), node.getBoundingClientRect()));
    node.addEventListener("pointerleave", emosae.tip.hide);
    return node;
  }

  return { spanList, storyCard, visible };
})();
