"""The plan is sealed: what could be bent afterwards changes the seal, and every other seal is a further look."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from planted import planted_sae

from emosae.lm import LanguageModel
from emosae.scenarios.conditions import FeatureSet, build_conditions
from emosae.scenarios.formats import GenericCodeFormat
from emosae.scenarios.impossible_code import Protocol
from emosae.scenarios.plan import count_look, seal, split_tasks, write_plan
from emosae.scenarios.power import Pilot
from emosae.scenarios.statistics import Interval
from emosae.scenarios.tasks import Task

SAE = planted_sae(d_in=8, d_sae=6)


def model(weight_hash: str) -> LanguageModel:
    """A model of which nothing but its weights' hash is known."""
    lm = object.__new__(LanguageModel)
    object.__setattr__(lm, "weight_hash", weight_hash)
    return lm


def task(number: int, why: str | None = "why") -> Task:
    return Task(f"t{number}", "prompt", "f", ("assert f(1) == 1",), ("assert f(1) == 2",), why, None if why else "-")


def features(name: str, *feature_idx: int) -> FeatureSet:
    return FeatureSet(name, SAE, feature_idx, resid_norm=5.0)


def arms(dose: float = 0.3, target: int = 0) -> list:
    return build_conditions(
        dose=dose,
        targets=[features("desperate", target)],
        opponents=[features("calm", 1)],
        decoys=[features("proud", 2)],
        random_sets=[features("random 0", 4)],
        composure_doses=(0.6, dose),
        composure_episodes=20,
    )


PROTOCOL = Protocol([*map(task, range(40)), task(99, None)], GenericCodeFormat(), n_episodes=80, n_solvable=5)
PILOT = Pilot(Interval(0.3, 0.2, 0.4), 0.1, 8, 32)


def plan(conditions: list | None = None, protocol: Protocol = PROTOCOL, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "pilot": PILOT,
        "effect": 0.15,
        "facts": {"software": "1"},
        "lm": model("w" * 64),
    } | changes
    lm, pilot = settings.pop("lm"), settings.pop("pilot")
    return write_plan(lm, conditions or arms(), [], protocol, pilot, **settings)


def test_the_seal_is_of_the_plan_as_it_is_read_back() -> None:
    written = plan()
    assert seal(json.loads(json.dumps(written))) == written["sha256"] == plan()["sha256"]


@pytest.mark.parametrize(
    "changed",
    [
        lambda: plan(arms(dose=0.4)),
        lambda: plan(arms(target=3)),
        lambda: plan(arms()[:-1]),
        lambda: plan(protocol=replace(PROTOCOL, n_episodes=81)),
        lambda: plan(protocol=replace(PROTOCOL, seed=1)),
        lambda: plan(protocol=replace(PROTOCOL, max_attempts=4)),
        lambda: plan(protocol=replace(PROTOCOL, tasks=[replace(task(0), prompt="easier"), *PROTOCOL.tasks[1:]])),
        lambda: plan(effect=0.2),
        lambda: plan(facts={"software": "2"}),
        lambda: plan(lm=model("v" * 64)),
        lambda: plan(pilot=replace(PILOT, icc=0.2)),
    ],
)
def test_whatever_could_be_bent_changes_the_seal(changed: Any) -> None:
    assert changed()["sha256"] != plan()["sha256"]


def test_the_plan_holds_what_it_is_asked_to() -> None:
    written = plan()
    by_arm = {one["arm"]: one for one in written["arms"]}
    assert (by_arm["up_desperate_sae_0.3"]["dose"], by_arm["up_desperate_sae_0.3"]["episodes"]) == (0.3, 80)
    assert (by_arm["up_calm_sae_0.6"]["episodes"], by_arm["up_calm_sae_0.6"]["primary"]) == (20, False)
    assert written["holm_family"] == [
        *("up_desperate_sae_0.3", "down_desperate_sae_0.3", "off_desperate_sae_0", "up_calm_sae_0.3", "off_calm_sae_0")
    ]
    versus = [b for a, b in written["contrasts"] if a == "up_desperate_sae_0.3"]
    assert versus == ["none_-_-_0", "up_proud_sae_0.3", "random_random-0_sae_0.3", "prompt_calm-words_-_0"]
    assert (written["tasks"]["impossible"], written["tasks"]["solvable"]) == (40, 1)
    assert (written["pilot"]["measured"], written["pilot"]["icc"]) == (True, 0.1)
    planned = written["power"]["planned_n"]
    assert planned["rise_family"] > planned["rise_alone"] > planned["fall_alone"] > 50
    assert [row["n"] for row in written["power"]["table"]] == [50, 50, 100, 100, 200, 200, 500, 500]


def test_the_same_plan_again_is_no_further_look_and_another_one_is() -> None:
    looks = count_look((), "a")
    assert looks == count_look(looks, "a") == ("a",)
    assert count_look(looks, "b") == ("a", "b")
    assert count_look(("a", "b"), "a") == ("a", "b")


def test_a_fifth_of_a_long_file_is_for_tune_and_nothing_of_a_short_one() -> None:
    tasks = [task(number) for number in range(50)]
    tune, confirm = split_tasks(tasks, "emosae")
    assert (len(tune), len(confirm)) == (10, 40)
    assert {one.id for one in tune} | {one.id for one in confirm} == {one.id for one in tasks}
    assert split_tasks(tasks[::-1], "emosae")[0] == tune[::-1]
    assert split_tasks(tasks, "other")[0] != tune
    assert split_tasks(tasks[:24], "emosae") == ([], tasks[:24])


def test_added_tasks_move_few_old_ones() -> None:
    before, after = (set(split_tasks([task(n) for n in range(size)], "s")[1]) for size in (100, 110))
    assert len(before - after) <= 6
