// Small figures: intervals on a shared axis, a heatmap of overlaps.
"use strict";

window.emosae = window.emosae || {};

emosae.plots = (() => {
  const { el, svg } = emosae.dom;
  const { fixed, isNumber } = emosae.format;

  /** An axis for `interval`; all values lie in `domain`, `reference` is the value that means nothing. */
  function axis(domain, reference, ticks, write = fixed) {
    const at = (value) => `${Math.min(100, Math.max(0, (100 * (value - domain[0])) / (domain[1] - domain[0]))).toFixed(2)}%`;
    return { at, domain, reference, ticks, write };
  }

  /** The axis for AUROCs: from chance, or from the lowest bound that must be seen. */
  function aurocAxis(entries) {
    const lower = (least, value) => (isNumber(value) ? Math.min(least, value) : least);
    const lowest = entries.reduce((least, entry) => lower(lower(least, entry.auroc_confirm_lo), entry.auroc_confirm), 0.5);
    const from = Math.floor(lowest * 10) / 10;
    const ticks = from >= 0.4 ? [0.5, 0.75, 1] : [from, 0.5, 1];
    return axis([from - 0.02, 1.02], 0.5, ticks, (value) => fixed(value, value === 0.75 ? 2 : 1));
  }

  /** The axis for differences of a rate: symmetric around 0. */
  function differenceAxis(values) {
    const reach = Math.max(0.1, ...values.filter(isNumber).map(Math.abs));
    const end = Math.ceil(reach * 10) / 10;
    return axis([-end * 1.04, end * 1.04], 0, [-end, 0, end], (value) => (value > 0 ? `+${fixed(value, 1)}` : fixed(value, 1)));
  }

  /** The tick labels of an axis, for a table's head. */
  function axisLabels({ at, ticks, write }) {
    return el("span", { class: "axis", "aria-hidden": "true" },
      ticks.map((tick) => el("span", { css: { left: at(tick) } }, write(tick))));
  }

  /** A dot with its interval. `hollow` marks a control; a missing value leaves only the axis. */
  function interval({ at, reference, ticks }, { lo, value, hi, hollow = false, className = "" }) {
    const lines = ticks.filter((tick) => tick !== reference).map((tick) =>
      svg("line", { class: "grid", x1: at(tick), x2: at(tick), y1: 0, y2: "100%" }));
    lines.push(svg("line", { class: "reference", x1: at(reference), x2: at(reference), y1: 0, y2: "100%" }));
    const marks = [];
    if (isNumber(lo) && isNumber(hi)) {
      marks.push(svg("line", { class: "whisker", x1: at(lo), x2: at(hi), y1: "50%", y2: "50%" }));
    }
    if (isNumber(value)) marks.push(svg("circle", { class: hollow ? "dot hollow" : "dot", cx: at(value), cy: "50%", r: 4.5 }));
    return svg("svg", { class: `interval ${className}`, "aria-hidden": "true" }, lines, marks);
  }

  /** Several dots on one axis, each with the mark of its place. */
  function dots({ at, reference, ticks }, values) {
    return svg("svg", { class: "interval", "aria-hidden": "true" },
      ticks.map((tick) => svg("line", { class: tick === reference ? "reference" : "grid", x1: at(tick), x2: at(tick), y1: 0, y2: "100%" })),
      values.map((value, place) => isNumber(value) && svg("circle", { class: `dot mark-${place}`, cx: at(value), cy: `${(100 * (place + 1)) / (values.length + 1)}%`, r: 4.5 })));
  }

  /** A square table of values from 0 to `top`, shaded; a cell leads to the row's emotion. */
  function heatmap({ names, values, top, open, describe }) {
    const cell = names.length > 40 ? 12 : 26;
    const margin = 8 + 7 * Math.max(...names.map((name) => Math.min(14, name.length)));
    const side = names.length * cell;
    const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}\u2026` : name);
    const cells = names.flatMap((rowName, row) => names.map((columnName, column) => {
      const value = values[row][column];
      const isSelf = row === column;
      const box = svg("rect", {
        class: isSelf ? "cell self" : "cell", "data-row": row, "data-column": column,
        x: margin + column * cell, y: margin + row * cell, width: cell - 1.5, height: cell - 1.5, rx: 2,
        css: isSelf || !isNumber(value) ? {} : { "--heat": Math.max(0, Math.min(1, value / top)).toFixed(3) },
      });
      return box;
    }));
    const labels = names.flatMap((name, place) => [
      svg("text", { x: margin - 6, y: margin + place * cell + cell / 2 + 4, "text-anchor": "end" }, short(name)),
      svg("text", { transform: `translate(${margin + place * cell + cell / 2 + 4} ${margin - 6}) rotate(-90)` }, short(name)),
    ]);
    const size = margin + side;
    const figure = svg("svg", {
      class: "heatmap", viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img",
      "aria-label": `Overlap of ${names.length} emotions; the strongest pairs are listed beside it.`,
    }, cells, labels);
    const place = (event) => event.target.dataset?.row === undefined ? null
      : [Number(event.target.dataset.row), Number(event.target.dataset.column)];
    figure.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (at) emosae.tip.show(describe(...at), event.target.getBoundingClientRect());
      else emosae.tip.hide();
    });
    figure.addEventListener("pointerleave", emosae.tip.hide);
    figure.addEventListener("click", (event) => {
      const at = place(event);
      if (at) open(at[0]);
    });
    return el("div", { class: "scroll-x", tabindex: "0", role: "group", "aria-label": "Heatmap of overlaps" }, figure);
  }

  /** A horizontal bar for a share of `top`. */
  function bar(value, top) {
    const share = top > 0 && isNumber(value) ? Math.max(0, Math.min(1, value / top)) : 0;
    return el("span", { class: "bar", "aria-hidden": "true" }, el("span", { css: { width: `${(100 * share).toFixed(1)}%` } }));
  }

  return { aurocAxis, axis, axisLabels, bar, differenceAxis, dots, heatmap, interval };
})();
