// Figures with two axes: lines with intervals, and histograms as rows of bars.
"use strict";

window.emosae = window.emosae || {};

emosae.charts = (() => {
  const { el, svg } = emosae.dom;
  const { activation, count, fixed, isNumber, percent } = emosae.format;
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 230, 46, 16, 12, 46];

  /** Round numbers from 0 that reach `most`. */
  function niceTicks(most, n = 4) {
    const rough = (most || 1) / n;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((one) => one >= rough - 1e-12);
    return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, place) => place * step);
  }

  /** Lines over a shared axis. `series`: {name, points: [{x, y, lo, hi}], className, hollow, shape}; `top` and `write` for
      the vertical axis, `mark` an x that is drawn through, `band` {lo, hi, name} a grey band behind all. */
  function lines({ series, xLabel, yLabel, top = 1, write = percent, writeX = String, mark = null, band = null, label }) {
    const xs = [...new Set(series.flatMap(({ points }) => points.map((point) => point.x)))].sort((a, b) => a - b);
    const ticks = niceTicks(top);
    const reach = ticks.at(-1);
    const [first, last] = [xs[0], xs.at(-1)];
    const x = (value) => LEFT + 16 + (last > first ? (value - first) / (last - first) : 0.5) * (WIDTH - LEFT - RIGHT - 32);
    const y = (value) => TOP + (1 - Math.max(0, Math.min(reach, value)) / reach) * (HEIGHT - TOP - BOTTOM);
    const described = series.map(({ name, points }) => `${name}: ${points.map((point) => `${writeX(point.x)} ${write(point.y)}`).join(", ")}`).join("; ");
    const figure = svg("svg", { class: "lines", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${label}. ${described}` },
      ticks.map((tick) => [svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
        svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, write(tick))]),
      band && svg("rect", { class: "band", x: LEFT, width: WIDTH - LEFT - RIGHT, y: y(band.hi), height: Math.max(1, y(band.lo) - y(band.hi)) }),
      isNumber(mark) && svg("line", { class: "cursor", x1: x(mark), x2: x(mark), y1: TOP, y2: HEIGHT - BOTTOM }),
      xs.map((value) => svg("text", { x: x(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, writeX(value))),
      series.map((one) => drawSeries(one, x, y)),
      svg("text", { class: "title", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel));
    return el("figure", { class: "chart" }, yLabel && el("figcaption", {}, yLabel), figure, legend(series, band));
  }

  function drawSeries({ points, className = "", hollow = false, shape = 0 }, x, y) {
    const known = points.filter((point) => isNumber(point.y));
    return svg("g", { class: `series ${className}${hollow ? " hollow" : ""}` },
      svg("polyline", { class: "curve", points: known.map((point) => `${x(point.x)},${y(point.y)}`).join(" ") }),
      known.filter((point) => isNumber(point.lo) && isNumber(point.hi))
        .map((point) => svg("line", { class: "whisker", x1: x(point.x), x2: x(point.x), y1: y(point.lo), y2: y(point.hi) })),
      known.map((point) => marker(shape, x(point.x), y(point.y))));
  }

  function marker(shape, cx, cy) {
    const corners = emosae.marks.outline(shape);
    return corners
      ? svg("polygon", { class: "marker", points: corners.map(([dx, dy]) => `${cx + 4.4 * dx},${cy + 4.4 * dy}`).join(" ") })
      : svg("circle", { class: "marker", cx, cy, r: 4.4 });
  }

  function legend(series, band) {
    return el("ul", { class: "key" }, series.map(({ name, className = "", hollow = false, shape = 0 }) => el("li", {},
      svg("svg", { class: "sample", viewBox: "0 0 26 12", "aria-hidden": "true" }, svg("g", { class: `series ${className}${hollow ? " hollow" : ""}` },
        svg("line", { class: "curve", x1: 0, x2: 26, y1: 6, y2: 6 }), marker(shape, 13, 6))), name)),
    band && el("li", {}, el("i", { class: "band-sample" }), band.name));
  }

  /** A histogram of stories by their strongest activation: a row of bars per emotion, all on one axis. */
  function histogram({ top, bins, rows }, { own, most = 8, nameOf }) {
    const fired = (row) => row.n - row.silent;
    const sorted = [...rows].sort((a, b) => b.mean - a.mean);
    const first = sorted.filter((row, place) => place < most || own.has(row.emotion) || row.emotion === "neutral");
    const tallest = Math.max(0.05, ...rows.flatMap((row) => row.counts.map((value) => value / row.n)));
    const list = el("ul", { class: "histogram" });
    const draw = (shown) => list.replaceChildren(...shown.map((row) => el("li", { class: own.has(row.emotion) ? "own" : "" },
      nameOf(row.emotion), bars(row, { top, bins, tallest }),
      el("span", { class: "number" }, percent(fired(row) / row.n), emosae.dom.hidden(` of its ${count(row.n, "story", "stories")} make it fire`)))));
    draw(first);
    const more = sorted.length > first.length && el("p", { class: "more" }, el("button", { type: "button", "aria-expanded": "false",
      on: { click: (event) => { draw(sorted); event.currentTarget.parentNode.remove(); } } }, `Show all ${sorted.length}`));
    const ticks = [0, 0.5, 1].map((share) => el("span", { css: { left: `${100 * share}%` } }, share ? activation(share * top) : "0"));
    return el("div", { class: "histogram-block" },
      el("div", { class: "histogram-head", "aria-hidden": "true" }, el("span", {}, "stories of"), el("span", {}, "strongest activation in the story"), el("span", { class: "number" }, "fires in")),
      list, el("div", { class: "histogram-axis", "aria-hidden": "true" }, el("span", {}), el("span", { class: "axis" }, ticks), el("span", {})), more);
  }

  function bars(row, { top, bins, tallest }) {
    const step = 100 / bins;
    const figure = svg("svg", { class: "bars", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      row.counts.map((value, bin) => value > 0 && svg("rect", {
        x: bin * step + 0.35, width: step - 0.7, y: 100 - (96 * value) / row.n / tallest, height: (96 * value) / row.n / tallest, "data-bin": bin })));
    figure.addEventListener("pointermove", (event) => {
      const box = figure.getBoundingClientRect();
      const bin = Math.min(bins - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * bins)));
      emosae.tip.show([el("b", {}, `${row.counts[bin]} of ${row.n}`), ` stories between ${activation((bin * top) / bins)} and ${activation(((bin + 1) * top) / bins)}`],
        { left: event.clientX, right: event.clientX, top: box.top, bottom: box.bottom });
    });
    figure.addEventListener("pointerleave", emosae.tip.hide);
    return figure;
  }

  /** Words with a bar each: tokens and how strongly the direction speaks of them. */
  function wordBars(words, top, { falling = false } = {}) {
    return el("ol", { class: falling ? "word-bars falling" : "word-bars" }, words.map(([word, value]) => el("li", {},
      el("bdi", { class: "word" }, emosae.text.visible(word)), emosae.plots.bar(Math.abs(value), top), el("span", { class: "number" }, fixed(value, 1)))));
  }

  return { histogram, lines, niceTicks, wordBars };
})();
