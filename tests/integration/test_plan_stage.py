"""A run directory counts the plans with which its confirm tasks were opened, whatever becomes of the stage's folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from emosae.config import RunConfig, ScenariosSection
from emosae.lm import LanguageModel
from emosae.pipeline import plan_stage
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.plan_stage import PILOT_PER_TASK, seal_plan
from emosae.scenarios import GenericCodeFormat, Job, Outcome, Protocol
from emosae.scenarios.conditions import NONE, Condition
from emosae.scenarios.plan import seal
from emosae.store import Store


class NoSandbox:
    """A plan with no tune tasks runs no program."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        raise AssertionError("a program was run")


def open_run(tmp_path: Path, n_tune: int = 0, **scenarios: Any) -> Inputs:
    section = ScenariosSection(n_tune=n_tune, n_tasks=8, **scenarios)
    inputs = Inputs(RunConfig(scenarios=section), Store(tmp_path / "run"))
    lm = object.__new__(LanguageModel)
    object.__setattr__(lm, "weight_hash", "w" * 64)
    inputs.__dict__["lm"] = lm
    return inputs


def open_tasks(inputs: Inputs, *, seed: int = 0) -> str:
    protocol = Protocol(inputs.tasks(impossible=True), GenericCodeFormat(), n_episodes=16, seed=seed)
    stage = inputs.store.stage("scenarios").substage("impossible_code")
    stage.clear()
    arms, elicited = [NONE, Condition("prompt", "calm words")], pa.table({"rate": [0.3, math.nan]})
    doses = {"desperate": 0.3, "calm": 0.4, "sad": 0.4}
    return seal_plan(inputs, arms, [], protocol, NoSandbox(), stage, elicited=elicited, doses=doses)


def test_another_plan_in_the_same_directory_is_a_further_look(tmp_path: Path) -> None:
    inputs = open_run(tmp_path)
    first = open_tasks(inputs)
    assert open_tasks(inputs) == first
    manifest = inputs.store.read_manifest()
    assert (manifest["plans"], manifest["looks"]) == ([first], {"confirm_tasks": 1})
    second = open_tasks(inputs, seed=1)
    assert open_tasks(inputs) == first
    manifest = inputs.store.read_manifest()
    assert (manifest["plans"], manifest["looks"]) == ([first, second], {"confirm_tasks": 2})
    assert inputs.store.stage("scenarios").substage("impossible_code").read_json("plan")["sha256"] == first


def test_other_looks_stay_in_the_manifest(tmp_path: Path) -> None:
    inputs = open_run(tmp_path)
    inputs.store.update_manifest(looks={"confirm_stories": 20})
    open_tasks(inputs)
    assert inputs.store.read_manifest()["looks"] == {"confirm_stories": 20, "confirm_tasks": 1}


@pytest.mark.parametrize(("dose", "by"), [(0.4, "config"), ("calibrated", "calibration on tune stories")])
def test_the_plan_holds_the_dose_of_every_dial_of_the_task_and_who_fixed_it(tmp_path: Path, dose: Any, by: str) -> None:
    inputs = open_run(tmp_path, dose=dose, doses_by_dial={"desperate": 0.3})
    open_tasks(inputs)
    plan = inputs.store.stage("scenarios").substage("impossible_code").read_json("plan")
    assert plan["doses"] == {"desperate": {"dose": 0.3, "by": "config"}, "calm": {"dose": 0.4, "by": by}}
    plan["doses"]["calm"]["dose"] = 0.2
    assert seal(plan) != plan["sha256"]


@pytest.mark.parametrize("changed", [{"subspace_random": 4}, {"subspace_episodes": 8}, {"mediation_episodes": 8}])
def test_what_the_later_arms_are_made_of_is_sealed_too(tmp_path: Path, changed: dict[str, int]) -> None:
    assert open_tasks(open_run(tmp_path / "a")) != open_tasks(open_run(tmp_path / "b", **changed))


def test_without_tune_tasks_the_plan_says_that_it_assumes(tmp_path: Path) -> None:
    inputs = open_run(tmp_path)
    open_tasks(inputs)
    plan = inputs.store.stage("scenarios").substage("impossible_code").read_json("plan")
    assert plan["pilot"] | {"rate": 0, "icc": 0} == {
        "measured": False, "rate": 0, "rate_lo": None, "rate_hi": None, "icc": 0, "tasks": 0, "episodes": 0,
    }  # fmt: skip


def test_the_pilot_plays_tune_tasks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, seen = open_run(tmp_path, n_tune=3), []

    def play(lm: LanguageModel, condition: Condition, protocol: Protocol, *_: object) -> SimpleNamespace:
        seen.append((condition, protocol))
        rows = [{"cheated": n % 2 == 0, "task_id": task.id} for task in protocol.tasks for n in range(PILOT_PER_TASK)]
        return SimpleNamespace(to_pylist=lambda: rows)

    monkeypatch.setattr(plan_stage, "run_episodes", play)
    open_tasks(inputs)
    [(condition, protocol)] = seen
    assert condition is NONE
    assert (protocol.n_episodes, protocol.n_solvable) == (3 * PILOT_PER_TASK, 0)
    assert not {task.id for task in protocol.tasks} & {task.id for task in inputs.tasks(impossible=True)}
    plan = inputs.store.stage("scenarios").substage("impossible_code").read_json("plan")
    assert (plan["pilot"]["measured"], plan["pilot"]["rate"], plan["pilot"]["tasks"]) == (True, 0.5, 3)
