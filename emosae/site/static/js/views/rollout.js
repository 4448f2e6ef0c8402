// One episode, replayed turn by turn: two arms beside each other on the same random numbers, with the features traced.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

emosae.views.rollout = (() => {
  const { el } = emosae.dom;
  const { activation, isNumber } = emosae.format;
  const { emotionName, hueClass, shapeOf } = emosae.marks;

  async function rollout(atlas, [task, number], query) {
    const played = await emosae.pages.rollouts();
    const episode = played.episodes.find((one) => one.task === task && String(one.episode) === number);
    if (!episode) return emosae.notFound(`No episode ${number ?? ""} of task ${task ?? ""} was stored for replay.`);
    const { prompt, played: runs } = await emosae.pages.rollout(episode);
    const lanes = chooseLanes(played, runs, query);
    const longest = Math.max(...lanes.map(({ run }) => run.texts.length));
    const asked = query.turn === "all" ? longest : Number(query.turn) || 1;
    const state = { turn: Math.min(longest, Math.max(1, asked)) };
    const untraced = lanes.filter(({ run }) => !Object.keys(run.traces).length).map(({ arm }) => describeArm(arm));
    const stage = el("div", { class: "lanes" });
    const trace = el("div", { class: "charts" });
    const draw = () => {
      stage.replaceChildren(...lanes.map((lane) => drawLane(atlas, lane, state.turn)));
      trace.replaceChildren(...traceCharts(atlas, played, lanes, state.turn));
      history.replaceState(null, "", emosae.href("rollout", task, number, { ...query, turn: state.turn === 1 ? "" : state.turn }));
    };
    const page = el("div", { class: "page" },
      el("p", { class: "eyebrow" }, el("a", { href: emosae.href("scenarios") }, "Scenarios"), " / Impossible code"),
      el("div", { class: "title" }, el("h1", {}, "Episode ", el("bdi", {}, task.split("/").slice(-2).join(" "))), steps(played, episode)),
      el("section", { "aria-labelledby": "task" }, el("h2", { id: "task" }, "The task"), el("pre", { class: "prompt", tabindex: "0" }, prompt || "not recorded"),
        el("p", { class: "note" }, episode.is_impossible ? "No program can pass these tests honestly; the model is not told." : "A control: this task can be solved.")),
      chooser(played, runs, lanes, { task, number, query }),
      player(state, longest, draw), trace, untraced.length > 0 && el("p", { class: "note" }, `Not traced: ${untraced.join(", ")}.`), stage);
    draw();
    return page;
  }

  /** The two runs that are shown: the unsteered one, and the arm that the address names. */
  function chooseLanes(played, runs, query) {
    const plain = runs.find((run) => isPlain(played.arms[run.arm])) || runs[0];
    const firstUp = runs.find((run) => played.arms[run.arm].condition === "up" && played.arms[run.arm].role === "target" && played.arms[run.arm].primary);
    const find = (name) => runs.find((run) => String(run.arm) === name);
    const left = find(query.beside) || plain;
    const right = find(query.arm) || firstUp || runs.find((run) => run !== left);
    return [left, right].filter(Boolean).filter((run, place, all) => all.indexOf(run) === place).map((run) => ({ run, arm: played.arms[run.arm] }));
  }

  function isPlain(arm) {
    return arm.condition === "none" && !arm.hides_naming;
  }

  function steps(played, episode) {
    const step = (by, title) => {
      const other = played.episodes[episode.row + by];
      return other && el("a", { class: "button", href: emosae.href("rollout", other.task, other.episode) }, title);
    };
    return el("div", { class: "actions" }, step(-1, "Previous episode"), step(1, "Next episode"));
  }

  function chooser(played, runs, lanes, { task, number, query }) {
    const pick = (name, lane, title) => {
      const select = el("select", { id: `lane-${name}`, on: { change: () => emosae.go(emosae.href("rollout", task, number, { ...query, [name]: select.value, turn: "" })) } },
        runs.map((run) => el("option", { value: run.arm, selected: lane && run.arm === lane.run.arm }, describeArm(played.arms[run.arm]))));
      return el("label", { for: `lane-${name}` }, title, select);
    };
    return el("div", { class: "filters arms" }, pick("beside", lanes[0], "Left"), pick("arm", lanes[1] || lanes[0], "Right"));
  }

  function describeArm(arm) {
    return emosae.causal.armName(arm).textContent + (arm.primary === false ? `, dose ${arm.dose}` : "");
  }

  /** Buttons and a slider that move through the turns. */
  function player(state, longest, draw) {
    const said = el("output", { class: "turn", for: "turn" });
    const slider = el("input", { id: "turn", type: "range", min: 1, max: longest, step: 1, value: state.turn, "aria-label": "Turn" });
    const back = el("button", { type: "button", class: "back", on: { click: () => go(state.turn - 1) } }, "\u2190 Back");
    const next = el("button", { type: "button", class: "next", on: { click: () => go(state.turn + 1) } }, "Next turn \u2192");
    const say = () => {
      emosae.dom.replace(said, `Turn ${state.turn} of ${longest}`);
      slider.value = state.turn;
      back.disabled = state.turn <= 1;
      next.disabled = state.turn >= longest;
    };
    const go = (turn) => {
      state.turn = Math.min(longest, Math.max(1, turn));
      say();
      draw();
    };
    slider.addEventListener("input", () => go(Number(slider.value)));
    say();
    return el("div", { class: "player", role: "group", "aria-label": "Replay" }, back, slider, next,
      el("button", { type: "button", class: "quiet", on: { click: () => go(longest) } }, "Show all"), said);
  }

  /** The traced features by attempt, both arms in one figure for each feature. */
  function traceCharts(atlas, played, lanes, turn) {
    const dials = played.dials.filter((dial) => lanes.some(({ run }) => run.traces[dial]?.some(isNumber))).slice(0, 4);
    return dials.map((dial) => {
      const emotion = atlas.emotionOf(dial);
      const series = lanes.filter(({ run }) => run.traces[dial]).map(({ run, arm }, place) => ({
        name: describeArm(arm), hollow: place === 0 && lanes.length > 1, className: hueClass(emotion.row), shape: shapeOf(emotion.row),
        points: run.traces[dial].map((value, attempt) => ({ x: attempt + 1, y: value })),
      }));
      const top = Math.max(0.1, ...series.flatMap(({ points }) => points.map((point) => point.y || 0)));
      return el("div", {}, el("h3", {}, emotionName(emotion)), emosae.charts.lines({
        series, top, write: activation, xLabel: "turn", mark: turn, yLabel: "mean activation while it thinks", label: `Activation of ${dial} by turn` }));
    });
  }

  function drawLane(atlas, { run, arm }, turn) {
    const shown = run.texts.slice(0, turn);
    const grade = run.grades.at(-1);
    const [title, kind] = emosae.endings[grade] || [grade, "other"];
    const isOver = turn >= run.texts.length;
    return el("section", { class: "lane", "aria-label": describeArm(arm) },
      el("header", {}, el("h2", {}, emosae.causal.armName(arm)),
        el("span", { class: isOver ? `ending ${kind}` : "ending pending" }, isOver ? title : "goes on")),
      el("ol", { class: "turns" }, shown.map((text, place) => el("li", { class: place === turn - 1 ? "turn-now" : "" }, drawTurn(atlas, run, text, place)))));
  }

  function drawTurn(atlas, run, text, place) {
    const program = run.programs[place];
    const start = program ? text.indexOf(program) : -1;
    const thought = start < 0 ? text : text.slice(0, start).trimEnd();
    const rest = start < 0 ? "" : text.slice(start + program.length).replace(/^\s*```/, "").trim();
    return [el("h3", {}, `Attempt ${place + 1}`, traces(atlas, run, place)),
      el("p", { class: "thought", dir: "auto" }, thought),
      program && el("pre", { tabindex: "0" }, el("code", {}, program)),
      rest && el("p", { class: "thought", dir: "auto" }, rest),
      el("p", { class: "outcome" }, outcome(run, place))];
  }

  function traces(atlas, run, place) {
    return el("span", { class: "traces" }, Object.entries(run.traces).filter(([, values]) => isNumber(values[place])).map(([dial, values]) =>
      el("span", { class: "trace-value" }, emotionName(atlas.emotionOf(dial), { link: false }), " ", el("b", {}, activation(values[place])))));
  }

  function outcome(run, place) {
    if (!run.programs[place]) return run.errors[place] || "No program was run.";
    const said = [run.visible[place] ? "passes the visible tests" : "fails a visible test"];
    if (run.visible[place]) said.push(run.hidden[place] ? "passes the hidden ones" : "fails the hidden ones");
    if (run.errors[place]) said.push(run.errors[place]);
    return `The program ${said.join(", ")}.`;
  }

  return rollout;
})();
