// Tables of evidence that several pages share: a row per feature x emotion, its intervals drawn on one axis.
"use strict";

window.emosae = window.emosae || {};

emosae.tables = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, range, signed } = emosae.format;
  const { aurocAxis, axisLabels, differenceAxis, interval } = emosae.plots;
  const PAGE = 25;

  /** A table that scrolls sideways on a narrow screen. `columns`: {title, cell(row), className?, head?}. */
  function table(caption, columns, rows, { page = PAGE } = {}) {
    const body = el("tbody");
    const shown = el("p", { class: "more" });
    const head = el("tr", {}, columns.map(({ title, head, className }) =>
      el("th", { scope: "col", class: className }, head || title)));
    let count = 0;
    const extend = () => {
      for (const row of rows.slice(count, count + page)) body.append(drawRow(columns, row));
      count = Math.min(rows.length, count + page);
      if (count >= rows.length) shown.remove();
      else emosae.dom.replace(shown, el("button", { type: "button", on: { click: extend } },
        `Show ${Math.min(page, rows.length - count)} more of ${rows.length}`));
    };
    extend();
    return el("div", { class: "table-block" },
      el("div", { class: "scroll-x" }, el("table", {}, el("caption", { class: "visually-hidden" }, caption),
        el("thead", {}, head), body)), shown.hasChildNodes() && shown);
  }

  function drawRow(columns, row) {
    return el("tr", {}, columns.map(({ title, cell, className }, place) => place === 0
      ? el("th", { scope: "row", class: className }, cell(row))
      : el("td", { class: className, "data-title": title }, cell(row))));
  }

  /** The column of confirm AUROCs: drawn with the interval, and in figures. */
  function aurocColumn(entries) {
    const axis = aurocAxis(entries.filter(Boolean));
    return {
      title: "AUROC on confirm topics", className: "plot",
      head: [el("span", {}, "AUROC on confirm topics"), axisLabels(axis)],
      cell: (entry) => entry
        ? el("div", { class: "measured" }, interval(axis, { ...aurocOf(entry), hollow: entry.hollow }), figures(aurocOf(entry)))
        : el("span", { class: "muted" }, "no feature"),
    };
  }

  function aurocOf(entry) {
    return { lo: entry.auroc_confirm_lo, value: entry.auroc_confirm, hi: entry.auroc_confirm_hi };
  }

  /** A value with its interval in words. */
  function figures({ lo, value, hi }, write = fixed) {
    return el("span", { class: "figures" }, el("b", {}, write(value)),
      isNumber(lo) && isNumber(hi) && el("span", { class: "muted" }, ` ${range(lo, hi, write)}`));
  }

  /** The column of the same feature against its hardest rival. */
  function rivalColumn(atlas) {
    return {
      title: "Against its rival", className: "rival",
      cell: (entry) => entry && entry.rival
        ? el("div", { class: "stack" }, figures(rivalOf(entry)),
          el("span", { class: "small" }, emosae.marks.emotionName(atlas.emotionOf(entry.rival))))
        : el("span", { class: "muted" }, "\u2013"),
    };
  }

  function rivalOf(entry) {
    return { lo: entry.auroc_rival_confirm_lo, value: entry.auroc_rival_confirm, hi: entry.auroc_rival_confirm_hi };
  }

  /** The column of verdicts. */
  function verdictColumn(atlas) {
    return { title: "Verdict", className: "verdict-cell", cell: (entry) => emosae.marks.verdict(entry ? entry.level : 0, atlas.rungs) };
  }

  /** Ledger rows with a measured change of behaviour, the change drawn on an axis around 0. */
  function changeTable(caption, rows, columns, options = {}) {
    const axis = differenceAxis(rows.flatMap((row) => [row.delta_lo, row.delta, row.delta_hi]));
    const drawn = {
      title: "Change of the rate", className: "plot",
      head: [el("span", {}, "Change of the rate"), axisLabels(axis)],
      cell: (row) => el("div", { class: "measured" },
        interval(axis, { lo: row.delta_lo, value: row.delta, hi: row.delta_hi, hollow: row.hollow }),
        figures({ lo: row.delta_lo, value: row.delta, hi: row.delta_hi }, signed)),
    };
    return table(caption, [...columns, drawn], rows, options);
  }

  /** What stands where there is nothing to show. */
  function nothing(...message) {
    return el("p", { class: "nothing" }, message);
  }

  return { aurocColumn, aurocOf, changeTable, figures, nothing, rivalColumn, rivalOf, table, verdictColumn };
})();
