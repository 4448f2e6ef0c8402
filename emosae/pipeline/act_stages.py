"""The scenario stage: the model acts while its features are read and turned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from emosae.pipeline.calibration import calibrate_turned
from emosae.pipeline.connection_tables import trace_dials
from emosae.pipeline.dial_stage import Dials, build_arms, find_dials, neutral_beginnings, tabulate_dials
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.loop_stage import run_loops
from emosae.pipeline.plan_stage import seal_plan
from emosae.pipeline.subspace_stage import run_parts
from emosae.pipeline.talk_stage import converse
from emosae.scenarios import (
    Protocol,
    Sandbox,
    SandboxMissing,
    check_references,
    run_episodes,
    run_impossible_code,
)
from emosae.scenarios.arms import contrast_arms
from emosae.scenarios.conditions import Condition, Role, up_arm
from emosae.scenarios.elicitation import Rung, build_ladder, settle_rung

if TYPE_CHECKING:
    from emosae.store import Stage


def play(inputs: Inputs, stage: Stage) -> None:
    """Run the scenarios that the config enables; what cannot run leaves a sentence in ``notes``."""
    section = inputs.cfg.scenarios
    notes: list[str] = []
    dials, uncalibrated = calibrate_turned(inputs, find_dials(inputs), stage)
    notes += uncalibrated
    stage.write_table("dials", tabulate_dials(inputs, dials))
    if not stage.has("connections.parquet"):
        stage.write_table("connections", trace_dials(inputs, dials))
    lacking = [name for name in (*section.targets, *section.opponents, *section.decoys) if name not in dials.chosen]
    if lacking:
        notes.append(f"No feature is fit to be a dial for {', '.join(lacking)}, so nothing was turned for it.")
    if "conversation" in section.enabled:
        notes += converse(inputs, dials, stage.substage("conversation"))
    if "impossible_code" in section.enabled:
        notes += _code(inputs, dials, stage.substage("impossible_code"))
    stage.write_json("notes", notes)


def _code(inputs: Inputs, dials: Dials, stage: Stage) -> list[str]:
    section = inputs.cfg.scenarios
    try:
        sandbox = Sandbox(workers=section.workers, timeout=section.program_seconds, unsafe=section.unsafe_no_sandbox)
        with sandbox:
            rollouts = _run_arms(inputs, dials, sandbox, stage)
    except SandboxMissing as missing:
        return [f"Impossible code was not run: {missing}."]
    if not _has_programs(rollouts):
        return [
            "The model cannot write code: no attempt of the unsteered arm is a program that parses, so nothing can be "
            "concluded from impossible code."
        ]
    return []


def _has_programs(rollouts: pa.Table) -> bool:
    """Whether any attempt of an arm in which nothing is done could be read."""
    return any(one for row in rollouts.to_pylist() if row["condition"] == "none" for one in row["well_formed"])


def _run_arms(inputs: Inputs, dials: Dials, sandbox: Sandbox, stage: Stage) -> pa.Table:
    section = inputs.cfg.scenarios
    tasks = [*inputs.tasks(impossible=True), *inputs.tasks(impossible=False)]
    check_references(tasks, sandbox)
    protocol = Protocol(
        tasks=tasks,
        code_format=inputs.code_format,
        n_episodes=section.episodes,
        n_solvable=section.n_solvable,
        max_attempts=section.max_attempts,
        seed=inputs.cfg.seed,
        emotions=inputs.emotions,
        traced=dials.sets(inputs, (*section.targets, *section.opponents)),
    )
    stage.write_json("prompts", {task.id: inputs.code_format.first_message(task) for task in tasks})
    rung, elicited = _settle_rung(inputs, protocol, sandbox, stage)
    protocol = rung.put(protocol)
    arms, repeated = build_arms(inputs, dials), _second_arms(inputs, dials)
    seal_plan(inputs, arms, repeated, protocol, sandbox, stage, elicited=elicited, doses=dials.doses)
    rollouts = run_impossible_code(
        inputs.lm, arms, protocol, sandbox, stage, neutral_prompts=neutral_beginnings(inputs), progress=True
    )
    _replicate(inputs, repeated, protocol, sandbox, stage, rollouts)
    if _has_programs(rollouts):
        run_loops(inputs, dials, protocol, sandbox, stage)
        run_parts(inputs, dials, protocol, sandbox, stage, rollouts)
    return rollouts


def _settle_rung(inputs: Inputs, protocol: Protocol, sandbox: Sandbox, stage: Stage) -> tuple[Rung, pa.Table]:
    """How the tasks are put, in all arms: as the config says, or chosen on the tune tasks."""
    section = inputs.cfg.scenarios
    rungs = build_ladder(inputs.code_format)
    if section.elicitation != "ladder":
        rungs = [rung for rung in rungs if rung.name == section.elicitation]
    n_episodes = section.elicitation_episodes
    return settle_rung(inputs.lm, rungs, protocol, inputs.tune_tasks, n_episodes, sandbox, stage)


def _second_arms(inputs: Inputs, dials: Dials) -> list[Condition]:
    """The targets' and opponents' dials of a second SAE, turned up."""
    section = inputs.cfg.scenarios
    roles: dict[str, Role] = {name: "target" if name in section.targets else "opponent" for name in dials.second}
    return [
        up_arm(dials.feature_set(inputs, dial), dials.doses[name], roles[name]) for name, dial in dials.second.items()
    ]


def _replicate(
    inputs: Inputs, arms: list[Condition], protocol: Protocol, sandbox: Sandbox, stage: Stage, rollouts: pa.Table
) -> None:
    """Run the arms of a second SAE, against the controls that were already run."""
    second = stage.substage("second_seed")
    tables = [run_episodes(inputs.lm, arm, protocol, sandbox, second) for arm in arms]
    if not tables:
        return
    keep = [row["role"] in ("none", "decoy", "control") for row in rollouts.to_pylist()]
    second.write_table("contrasts", contrast_arms(pa.concat_tables([rollouts.filter(pa.array(keep)), *tables])))
