"""The scenario stage: the model acts while its features are read and turned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from emosae.pipeline.dial_stage import Dials, build_arms, find_dials, neutral_beginnings, tabulate_dials
from emosae.pipeline.inputs import Inputs
from emosae.scenarios import Protocol, Sandbox, SandboxMissing, read_conversations, run_episodes, run_impossible_code
from emosae.scenarios.arms import contrast_arms
from emosae.scenarios.conditions import Role, up_arm
from emosae.stories import NEUTRAL

if TYPE_CHECKING:
    from emosae.store import Stage


def play(inputs: Inputs, stage: Stage) -> None:
    """Run the scenarios that the config enables; what cannot run leaves a sentence in ``notes``."""
    section = inputs.cfg.scenarios
    notes: list[str] = []
    dials = find_dials(inputs)
    stage.write_table("dials", tabulate_dials(inputs, dials))
    lacking = [name for name in (*section.targets, *section.opponents, *section.decoys) if name not in dials.chosen]
    if lacking:
        notes.append(f"No feature is fit to be a dial for {', '.join(lacking)}, so nothing was turned for it.")
    if "conversation" in section.enabled:
        notes += _converse(inputs, dials, stage.substage("conversation"))
    if "impossible_code" in section.enabled:
        notes += _code(inputs, dials, stage.substage("impossible_code"))
    stage.write_json("notes", notes)


def _emotions(inputs: Inputs) -> list[str]:
    return sorted({story.emotion for story in inputs.stories} - {NEUTRAL})


def _converse(inputs: Inputs, dials: Dials, stage: Stage) -> list[str]:
    if not dials.chosen:
        return ["Conversations were not read: no emotion has a feature that is fit to be a dial."]
    found = read_conversations(
        inputs.lm,
        inputs.conversations,
        dials.sets(inputs, sorted(dials.chosen)),
        seed=inputs.cfg.seed,
        emotions=_emotions(inputs),
        max_new_tokens=min(160, inputs.lm.context // 4),
        progress=True,
    )
    found.save(stage)
    return []


def _code(inputs: Inputs, dials: Dials, stage: Stage) -> list[str]:
    section = inputs.cfg.scenarios
    try:
        sandbox = Sandbox(workers=section.workers, unsafe=section.unsafe_no_sandbox)
        with sandbox:
            rollouts = _run_arms(inputs, dials, sandbox, stage)
    except SandboxMissing as missing:
        return [f"Impossible code was not run: {missing}."]
    formed = [one for row in rollouts.to_pylist() if row["condition"] == "none" for one in row["well_formed"]]
    if not any(formed):
        return [
            "The model cannot write code: no attempt of the unsteered arm is a program that parses, so nothing can be "
            "concluded from impossible code."
        ]
    return []


def _run_arms(inputs: Inputs, dials: Dials, sandbox: Sandbox, stage: Stage) -> pa.Table:
    section = inputs.cfg.scenarios
    tasks = [*inputs.tasks(impossible=True), *inputs.tasks(impossible=False)]
    protocol = Protocol(
        tasks=tasks,
        code_format=inputs.code_format,
        n_episodes=section.episodes,
        n_solvable=section.n_solvable,
        max_attempts=section.max_attempts,
        seed=inputs.cfg.seed,
        emotions=_emotions(inputs),
        traced=dials.sets(inputs, (*section.targets, *section.opponents)),
    )
    stage.write_json("prompts", {task.id: inputs.code_format.first_message(task) for task in tasks})
    arms = build_arms(inputs, dials)
    rollouts = run_impossible_code(
        inputs.lm, arms, protocol, sandbox, stage, neutral_prompts=neutral_beginnings(inputs), progress=True
    )
    _replicate(inputs, dials, protocol, sandbox, stage, rollouts)
    return rollouts


def _replicate(
    inputs: Inputs, dials: Dials, protocol: Protocol, sandbox: Sandbox, stage: Stage, rollouts: pa.Table
) -> None:
    """Turn the targets' and opponents' dials of a second SAE up, against the controls that were already run."""
    section = inputs.cfg.scenarios
    second = stage.substage("second_seed")
    tables = []
    for name, dial in dials.second.items():
        role: Role = "target" if name in section.targets else "opponent"
        arm = up_arm(dials.feature_set(inputs, dial), section.dose, role)
        tables.append(run_episodes(inputs.lm, arm, protocol, sandbox, second))
    if not tables:
        return
    keep = [row["role"] in ("none", "decoy", "control") for row in rollouts.to_pylist()]
    second.write_table("contrasts", contrast_arms(pa.concat_tables([rollouts.filter(pa.array(keep)), *tables])))
