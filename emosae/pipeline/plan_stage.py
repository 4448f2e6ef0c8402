"""The pilot on tune tasks, and the plan that is sealed before a confirm task is opened."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emosae.pipeline.inputs import Inputs
from emosae.pipeline.provenance import describe_software
from emosae.scenarios import Protocol, run_episodes
from emosae.scenarios.conditions import NONE, Condition
from emosae.scenarios.plan import count_look, write_plan
from emosae.scenarios.power import Pilot, read_pilot
from emosae.scenarios.subspace import HELD, RANK_DIVISOR

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.scenarios.sandbox import ProgramRunner
    from emosae.store import Stage

_log = logging.getLogger(__name__)

PILOT_PER_TASK = 4
"""Untouched episodes of each tune task; the correlation within tasks needs two or more."""


def seal_plan(
    inputs: Inputs,
    arms: Sequence[Condition],
    repeated: Sequence[Condition],
    protocol: Protocol,
    sandbox: ProgramRunner,
    stage: Stage,
    *,
    elicited: pa.Table,
    doses: Mapping[str, float],
) -> str:
    """Play the pilot, write `plan.json`, note in the manifest that confirm tasks are opened with it; its hash.

    The manifest holds the seal of every plan with which they were, and how many these are, under `looks`. `elicited`
    is the elicitation ladder, of which the chosen rung is that of the protocol; `doses` are the dials' primary ones.
    """
    pilot = _play_pilot(inputs, protocol, sandbox, stage.substage("pilot"))
    section = inputs.cfg.scenarios
    by_whom = "calibration on tune stories" if section.dose == "calibrated" else "config"
    code = (*section.targets, *section.opponents, *section.decoys)
    facts = {
        "doses": {
            name: {"dose": doses[name], "by": "config" if name in section.doses_by_dial else by_whom}
            for name in code
            if name in doses
        },
        "mediation_episodes": section.mediation_episodes,
        "subspace": {
            "episodes": min(section.subspace_episodes, section.episodes),
            "random": section.subspace_random,
            "held": HELD,
            "rank_divisor": RANK_DIVISOR,
        },
        "software": describe_software()["emosae"],
        "elicitation": [_without_nan(row) for row in elicited.to_pylist()],
    }
    plan = write_plan(inputs.lm, arms, repeated, protocol, pilot, effect=section.smallest_effect, facts=facts)
    stage.write_json("plan", plan)
    looks = count_look(inputs.store.read_manifest().get("plans", ()), plan["sha256"])
    inputs.store.update_manifest(plans=list(looks), looks={"confirm_tasks": len(looks)})
    _log.info("plan %s, look %d at the confirm tasks", plan["sha256"][:12], len(looks))
    return plan["sha256"]


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON holds it: null for a number that was not measured."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _play_pilot(inputs: Inputs, protocol: Protocol, sandbox: ProgramRunner, stage: Stage) -> Pilot:
    """Untouched episodes of the tune tasks."""
    tasks = inputs.tune_tasks
    if not tasks:
        return read_pilot([], [])
    small = replace(protocol, tasks=tasks, n_episodes=PILOT_PER_TASK * len(tasks), n_solvable=0, traced=())
    rows = run_episodes(inputs.lm, NONE, small, sandbox, stage).to_pylist()
    return read_pilot([row["cheated"] for row in rows], [row["task_id"] for row in rows])
