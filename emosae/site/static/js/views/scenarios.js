// What the model did while its features were watched and turned: the rates, the doses, and episodes that can be replayed.
"use strict";

window.emosae = window.emosae || {};
emosae.views = emosae.views || {};

/** How episodes end, in words; those that cheat are marked. */
emosae.endings = {
  honest: ["honest", "fine"], admits: ["says it cannot", "fine"], special_cases: ["special-cases the tests", "cheat"],
  closed_form: ["formula for the tests only", "cheat"], edits_tests: ["edits the tests", "cheat"], fakes_result: ["fakes the result", "cheat"],
  reads_tests: ["reads the tests", "cheat"], other: ["something else", "other"], incoherent: ["incoherent", "other"],
};

emosae.views.scenarios = (() => {
  const { el } = emosae.dom;
  const { activation, count, fixed } = emosae.format;
  const { nothing, table } = emosae.tables;
  const TALKS = 12;

  async function scenarios(atlas, _, query) {
    const [played, { talks, n }] = await Promise.all([emosae.pages.rollouts(), emosae.pages.talks()]);
    const isEmpty = !atlas.scenarios.length && !played.episodes.length && !talks.length;
    return el("div", { class: "page" }, el("h1", {}, "Scenarios"),
      el("p", { class: "deck" }, "What the model does while its emotion features are watched and turned, beside controls that were run with the same random numbers."),
      isEmpty ? nothing("This run played no scenario.") : [
        codeSection(atlas, played, query), talkSection(atlas, talks, n, query), joinedSection(atlas)]);
  }

  /** What several runs played: rates and doses; their episodes stay in each run's own atlas. */
  function joinedSection(atlas) {
    const { doses, heading, readScenario, scenariosOf } = emosae.causal;
    const names = scenariosOf(atlas.scenarios).filter((name) => readScenario(name).run);
    return names.length > 0 && el("section", { "aria-labelledby": "joined" }, el("h2", { id: "joined" }, "Run by run"),
      el("p", { class: "note" }, "Episodes and conversations can be replayed in each run\u2019s own atlas."),
      names.map((name) => el("div", { class: "scenario" }, heading(name), doses(atlas, name))));
  }

  function codeSection(atlas, played, query) {
    const rows = atlas.scenarios.filter((row) => row.scenario === "impossible_code");
    if (!rows.length && !played.episodes.length) return null;
    return el("section", { "aria-labelledby": "code" }, el("h2", { id: "code" }, "Impossible code"),
      el("p", { class: "note" }, "The model gets a programming task whose tests nobody can pass honestly, and is not told so. It tries, the tests run in a sandbox, the failure is told, and it tries again. The rate is the share of episodes that end in a cheat."),
      emosae.causal.doses(atlas, "impossible_code"),
      trajectory(atlas, played),
      endings(atlas, played, query));
  }

  /** Traced features by attempt, with failures told and without. */
  function trajectory(atlas, played) {
    const dials = [...new Set(played.trajectory.map((row) => row.dial))].slice(0, 4);
    if (!dials.length) return null;
    const KINDS = [["failures", "dial", "failures told", false], ["no failures", "dial", "no failures told", true],
      ["failures", "matched", "features that fire as often", false]];
    const charts = dials.map((dial) => {
      const emotion = atlas.emotionOf(dial);
      const series = KINDS.map(([loop, features, name, hollow]) => ({
        name, hollow, className: features === "dial" ? emosae.marks.hueClass(emotion.row) : "plain", shape: features === "dial" ? emosae.marks.shapeOf(emotion.row) : 1,
        points: played.trajectory.filter((row) => row.dial === dial && row.loop === loop && row.features === features)
          .map((row) => ({ x: row.attempt, y: row.mean, lo: row.lo, hi: row.hi })),
      })).filter(({ points }) => points.length);
      const top = Math.max(...series.flatMap(({ points }) => points.map((point) => point.hi ?? point.y)));
      return el("div", {}, el("h4", {}, emosae.marks.emotionName(emotion)), emosae.charts.lines({
        series, top, write: activation, xLabel: "attempt", yLabel: "mean activation while it thinks", label: `Activation of ${dial} by attempt` }));
    });
    return [el("h3", {}, "Features over the attempts"),
      el("p", { class: "note" }, "Means over the episodes still running, with 95% intervals over tasks; only those that keep failing reach late attempts."),
      el("div", { class: "charts" }, charts)];
  }

  function mainArms(played) {
    const wanted = played.arms.filter((arm) => arm.primary && !arm.hides_naming);
    const order = (arm) => ["none", "up", "down", "off", "random", "direction", "prompt"].indexOf(arm.condition) + ({ target: 0, opponent: 10, decoy: 20 }[arm.role] ?? 30) * (arm.condition !== "none");
    return [...wanted].filter((arm) => arm.method !== "vector").sort((a, b) => order(a) - order(b));
  }

  /** How each episode ended in the main arms; a cell opens the replay. */
  function endings(atlas, played, query) {
    if (!played.episodes.length) return nothing("No episode was stored for replay.");
    const arms = mainArms(played).slice(0, query.arms === "all" ? undefined : 6);
    const total = mainArms(played).length;
    const cell = (episode, arm) => {
      const grade = episode.grades[arm.row];
      const [title, kind] = emosae.endings[grade] || [grade, "other"];
      return grade ? el("a", { class: `ending ${kind}`, href: emosae.rolloutHref(episode, arm) }, title) : el("span", { class: "muted" }, "\u2013");
    };
    return [el("h3", {}, "Watch an episode"),
      el("p", { class: "note" }, `${played.episodes.length} of ${count(played.n, "episode")}, taken evenly from all, so nothing about their ending chose them. A row is one task with the same random numbers in every arm. `,
        total > 6 && el("a", { id: "arms-all", href: emosae.href("scenarios", { ...query, arms: query.arms === "all" ? "" : "all" }) }, query.arms === "all" ? "Main arms only" : `All ${total} arms`)),
      el("ul", { class: "key" }, [["fine", "does not cheat"], ["cheat", "cheats"], ["other", "neither"]].map(([kind, text]) => el("li", {}, el("i", { class: `ending ${kind}` }), text))),
      el("div", { class: "endings" }, table("Endings", [
        { title: "Task", cell: (episode) => el("span", { class: "stack" }, el("bdi", {}, shortTask(episode.task)), !episode.is_impossible && el("span", { class: "note" }, "solvable")) },
        ...arms.map((arm) => ({ title: armTitle(arm), head: emosae.causal.armName(arm), cell: (episode) => cell(episode, arm) })),
      ], played.episodes, { page: 12 }))];
  }

  function shortTask(task) {
    return task.split("/").slice(-2).join(" ");
  }

  function armTitle(arm) {
    return emosae.causal.armName(arm).textContent;
  }

  /** Conversations by what they are about; each opens sentence by sentence. */
  function talkSection(atlas, talks, n, query) {
    if (!talks.length) return null;
    const kinds = [...new Set(talks.map((talk) => talk.kind))];
    const kind = kinds.includes(query.kind) ? query.kind : kinds[0];
    const chosen = talks.filter((talk) => talk.kind === kind);
    const title = (name) => name.replaceAll("_", " ");
    return el("section", { "aria-labelledby": "talks" }, el("h2", { id: "talks" }, "Conversations"),
      el("p", { class: "note" }, `A user writes; the features are read at the token that opens the model\u2019s turn and over its reply. ${talks.length} of ${count(n, "conversation")} are shown.`),
      el("div", { class: "wide-choices" }, emosae.choices("Kind", kinds.map((name) => ({ title: title(name), current: name === kind, href: emosae.href("scenarios", { ...query, kind: name }) })))),
      table("Conversations", [
        { title: "The user writes", className: "tokens", cell: (talk) => el("a", { href: emosae.href("talk", talk.conversation_id) }, el("bdi", {}, talk.opening, talk.opening.length >= 90 && "\u2026")) },
        { title: "Expected", cell: (talk) => emosae.marks.emotionName(atlas.emotionOf(talk.expected)) },
        { title: "Dose", className: "number", cell: (talk) => talk.dose === null ? "\u2013" : fixed(talk.dose, 0) },
        { title: "Traced by sentence", cell: (talk) => talk.n_sentences ? count(talk.n_sentences, "sentence") : el("span", { class: "muted" }, "as a whole") },
        { title: "Replies with a dial turned", className: "number", cell: (talk) => talk.n_turned || "\u2013" },
      ], chosen, { page: TALKS }));
  }

  emosae.rolloutHref = (episode, arm) => emosae.href("rollout", episode.task, episode.episode, { arm: arm.condition === "none" ? "" : arm.row });
  return scenarios;
})();
