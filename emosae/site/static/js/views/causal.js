// What dials did in the scenarios: the rate with a feature turned up, down or off, beside the controls of the same run.
"use strict";

window.emosae = window.emosae || {};

emosae.causal = (() => {
  const { el, svg } = emosae.dom;
  const { fixed, isNumber, percent, pvalue } = emosae.format;
  const { changeTable, nothing } = emosae.tables;
  const NAMES = {
    none: "unsteered", up: "turned up", down: "turned down", off: "switched off",
    random: "random features", direction: "random direction", prompt: "prompt",
  };
  const MEASURED = [
    { title: "Rate", className: "number", cell: (row) => percent(row.rate) },
    { title: "Coherent", className: "number", cell: (row) => percent(row.coherence) },
    { title: "p", className: "number", cell: (row) => pvalue(row.p_holm ?? row.p) },
  ];

  /** Whether an arm is a decoy emotion or a control; such arms are drawn hollow. */
  function isControl(row) {
    return row.role ? row.role === "decoy" || row.role === "control" : ["random", "direction", "prompt"].includes(row.condition);
  }

  function isEmotionArm(row) {
    return ["up", "down", "off"].includes(row.condition);
  }

  /** Arms that can be compared with the unsteered one: at the pre-set dose, thoughts left as they were. */
  function isMain(row) {
    return row.primary !== false && !row.hides_naming;
  }

  function armName(row) {
    const more = [row.method === "vector" && "vector", row.hides_naming && "naming sentences removed", row.silent && isControl(row) && "shown silent"]
      .filter(Boolean).join(", ");
    const name = NAMES[row.condition] || row.condition;
    const dial = row.dial && row.dial !== "-" && row.dial !== name && el("bdi", {}, row.dial);
    return el("span", {}, isEmotionArm(row) ? [dial, " ", name] : [name, " ", el("span", { class: "muted" }, dial)],
      more && el("span", { class: "muted" }, ` (${more})`));
  }

  /** For the first page: every dial turned up at its pre-set dose, the targets first, then decoys and controls. */
  function summary(atlas) {
    const told = scenariosOf(atlas.scenarios).map((scenario) => [scenario, turnedUp(atlas, scenario)]).filter(([, rows]) => rows.length);
    if (!told.length) return null;
    const dial = (row) => row.condition === "up"
      ? el("span", {}, emosae.marks.emotionName(atlas.emotionOf(row.dial)), row.silent && isControl(row) && el("span", { class: "muted" }, " (shown silent)"))
      : armName(row);
    return el("section", { "aria-labelledby": "moves" }, el("h2", { id: "moves" }, "What turning an emotion\u2019s feature up does"),
      told.map(([scenario, rows]) => el("div", { class: "scenario" }, heading(scenario), baseline(atlas, scenario),
        changeTable(`Changes in ${scenario}`, rows, [{ title: "Turned up", cell: dial }, ...MEASURED]))));
  }

  function turnedUp(atlas, scenario) {
    const rows = atlas.scenarios.filter((row) => row.scenario === scenario && isMain(row) && isNumber(row.delta) && row.method !== "vector"
      && (row.condition === "up" || !isEmotionArm(row)));
    const order = (row) => [isControl(row), row.condition !== "up", -Math.abs(row.delta)].map(Number);
    return rows.map((row) => ({ ...row, hollow: isControl(row) }))
      .sort((a, b) => order(a).map((value, place) => value - order(b)[place]).find((difference) => difference !== 0) || 0);
  }

  /** A section with one table per scenario that has some of these arms. */
  function section(atlas, rows, { empty }) {
    const scenarios = scenariosOf(rows);
    return el("section", { "aria-labelledby": "causal" }, el("h2", { id: "causal" }, "What turning it does"),
      scenarios.length === 0 ? nothing(empty) : scenarios.map((scenario) => oneScenario(atlas, scenario, rows.filter((row) => row.scenario === scenario))));
  }

  function oneScenario(atlas, scenario, rows) {
    const main = rows.filter(isMain);
    const others = atlas.scenarios.filter((row) => row.scenario === scenario && isMain(row) && isNumber(row.delta) && !isEmotionArm(row));
    const hiding = rows.filter((row) => row.hides_naming && row.primary !== false);
    const shown = [...(main.length ? main : rows), ...hiding, ...others].map((row) => ({ ...row, hollow: isControl(row) }));
    return el("div", { class: "scenario" }, heading(scenario), baseline(atlas, scenario),
      changeTable(`Changes in ${scenario}`, shown, [{ title: "Arm", cell: armName }, ...MEASURED]), doseResponse(atlas, scenario, rows));
  }

  function scenariosOf(rows) {
    return [...new Set(rows.map((row) => row.scenario))];
  }

  function heading(scenario) {
    const name = scenario.replaceAll("_", " ");
    return el("h3", {}, el("bdi", {}, name.charAt(0).toUpperCase() + name.slice(1)));
  }

  function unsteered(atlas, scenario) {
    return atlas.scenarios.find((row) => row.scenario === scenario && row.condition === "none" && !row.hides_naming);
  }

  function baseline(atlas, scenario) {
    const none = unsteered(atlas, scenario);
    return el("p", { class: "note" }, none && `Unsteered: ${percent(none.rate)} of ${none.n} episodes (${percent(none.lo)} to ${percent(none.hi)}). `,
      "Changes are paired with the unsteered episodes, with 95% intervals; hollow dots are decoy emotions and controls.");
  }

  /** Rate against dose, for a dial that was turned up to three doses or more. */
  function doseResponse(atlas, scenario, rows) {
    const up = rows.filter((row) => row.condition === "up" && row.method !== "vector" && !row.hides_naming && isNumber(row.dose));
    if (up.length < 3) return null;
    const none = unsteered(atlas, scenario);
    const arms = [...(none ? [{ ...none, dose: 0 }] : []), ...up].sort((a, b) => a.dose - b.dose);
    const [width, height, left, bottom] = [440, 190, 44, 44];
    const x = (dose) => left + 8 + (dose / arms.at(-1).dose) * (width - left - 28);
    const y = (rate) => 10 + (1 - rate) * (height - bottom - 10);
    const described = arms.map((row) => `at ${fixed(row.dose)}: ${percent(row.rate)}`).join(", ");
    return el("figure", { class: "dose" }, svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Rate by dose, ${described}` },
      [0, 0.5, 1].map((rate) => [svg("line", { class: "grid", x1: left, x2: width - 12, y1: y(rate), y2: y(rate) }),
        svg("text", { x: left - 8, y: y(rate) + 4, "text-anchor": "end" }, percent(rate))]),
      svg("polyline", { class: "curve", points: arms.map((row) => `${x(row.dose)},${y(row.rate)}`).join(" ") }),
      arms.map((row) => [svg("text", { x: x(row.dose), y: height - 26, "text-anchor": "middle" }, fixed(row.dose, 1)),
        svg("line", { class: "whisker", x1: x(row.dose), x2: x(row.dose), y1: y(row.lo), y2: y(row.hi) }),
        svg("circle", { class: "dot", cx: x(row.dose), cy: y(row.rate), r: 4.5 })]),
      svg("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, "dose: added norm over the mean residual norm")));
  }

  return { section, summary };
})();
