// What dials did in the scenarios: the rate with a feature turned up, down or off, beside the controls of the same run.
"use strict";

window.emosae = window.emosae || {};

emosae.causal = (() => {
  const { el } = emosae.dom;
  const { fixed, isNumber, percent, pvalue } = emosae.format;
  const { changeTable, nothing } = emosae.tables;
  const NAMES = {
    none: "unsteered", up: "turned up", down: "turned down", off: "switched off",
    random: "random features", direction: "random direction", prompt: "prompt",
  };
  const MEASURED = [
    { title: "Rate", className: "number", value: (row) => row.rate, cell: (row) => percent(row.rate) },
    { title: "Coherent", className: "number", value: (row) => row.coherence, cell: (row) => percent(row.coherence) },
    { title: "p", className: "number", value: (row) => row.p_holm ?? row.p, cell: (row) => pvalue(row.p_holm ?? row.p) },
  ];

  /** The columns of figures that some of these arms have. */
  function measured(rows) {
    return MEASURED.filter(({ value }) => rows.some((row) => isNumber(value(row))));
  }

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
        changeTable(`Changes in ${scenario}`, rows, [{ title: "Turned up", cell: dial }, ...measured(rows)]))));
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
      changeTable(`Changes in ${scenario}`, shown, [{ title: "Arm", cell: armName }, ...measured(shown)], { page: 16 }), doseResponse(atlas, scenario, rows),
      scenario === "impossible_code" && el("p", { class: "more" }, el("a", { class: "button", href: emosae.href("scenarios") }, "Watch the episodes")));
  }

  function scenariosOf(rows) {
    return [...new Set(rows.map((row) => row.scenario))];
  }

  /** A scenario's own name, and the run that played it where the atlas joins several: `name (run)`. */
  function readScenario(scenario) {
    const found = /^(.+?) \((.*)\)$/.exec(scenario);
    return { name: found ? found[1] : scenario, run: found ? found[2] : "" };
  }

  /** A scenario's name; conversations say whose messages they are and what the rate counts. */
  function heading(scenario) {
    const { name, run } = readScenario(scenario);
    const [kind, emotion, group] = name.split("_");
    const of = run && [" (", el("bdi", {}, run), ")"];
    if (kind !== "conversation" || !emotion) {
      const title = name.replaceAll("_", " ");
      return el("h3", {}, el("bdi", {}, title.charAt(0).toUpperCase() + title.slice(1)), of,
        name === "impossible_code" && el("span", { class: "note" }, " share of episodes that cheat"));
    }
    const outcome = emotion === "afraid" ? "share of replies that warn" : `share of replies with the tone ${emotion}`;
    return el("h3", {}, group ? "Conversations that only look like it: " : "Conversations that call for it: ", el("bdi", {}, emotion), of, el("span", { class: "note" }, ` ${outcome}`));
  }

  function unsteered(atlas, scenario) {
    return atlas.scenarios.find((row) => row.scenario === scenario && row.condition === "none" && !row.hides_naming);
  }

  function baseline(atlas, scenario) {
    const none = unsteered(atlas, scenario);
    const played = scenario.startsWith("conversation") ? "replies" : "episodes";
    return el("p", { class: "note" }, none && `Unsteered: ${percent(none.rate)} of ${none.n} ${played} (${percent(none.lo)} to ${percent(none.hi)}). `,
      `Changes are paired with the unsteered ${played}, with 95% intervals; hollow dots are decoy emotions and controls.`);
  }

  /** Rate against dose for every dial of these arms that was turned up to two doses or more. */
  function doseResponse(atlas, scenario, rows) {
    const dials = [...new Set(rows.filter((row) => row.condition === "up").map((row) => row.dial))];
    const charts = dials.map((dial) => doseChart(atlas, scenario, dial)).filter(Boolean);
    return charts.length > 0 && [el("h4", {}, "Dose and response"), el("div", { class: "charts" }, charts)];
  }

  function doseChart(atlas, scenario, dial) {
    const all = atlas.scenarios.filter((row) => row.scenario === scenario && !row.hides_naming);
    const up = all.filter((row) => row.condition === "up" && row.dial === dial && row.method !== "vector" && isNumber(row.dose));
    if (up.length < 2) return null;
    const none = unsteered(atlas, scenario);
    const emotion = atlas.emotionOf(dial);
    const points = [...(none ? [{ ...none, dose: 0 }] : []), ...up].sort((a, b) => a.dose - b.dose)
      .map((row) => ({ x: row.dose, y: row.rate, lo: row.lo, hi: row.hi }));
    const random = all.filter((row) => row.condition === "random").map((row) => row.rate);
    const series = [{ name: `${dial} turned up`, points, className: emosae.marks.hueClass(emotion.row), shape: emosae.marks.shapeOf(emotion.row) }];
    return el("div", {}, el("p", { class: "chart-title" }, emosae.marks.emotionName(emotion)), emosae.charts.lines({
      series, top: 1, writeX: (dose) => fixed(dose, 1), xLabel: "dose: added norm over the mean residual norm", yLabel: "rate",
      band: random.length > 1 && { lo: Math.min(...random), hi: Math.max(...random), name: `range of ${random.length} random feature sets` },
      label: `Rate by dose of ${dial}` }));
  }

  /** Dose and response of all dials of a scenario, and its table of arms. */
  function doses(atlas, scenario) {
    const rows = atlas.scenarios.filter((row) => row.scenario === scenario);
    const shown = turnedUp(atlas, scenario);
    return [baseline(atlas, scenario), shown.length > 0 && changeTable(`Changes in ${scenario}`, shown, [{ title: "Turned up", cell: armName }, ...measured(shown)]),
      doseResponse(atlas, scenario, rows)];
  }

  return { armName, doses, heading, readScenario, scenariosOf, section, summary };
})();
