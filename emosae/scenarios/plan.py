"""The plan of an experiment: everything that could be bent after a look at the results, written down before.

Tune tasks are kept apart and say how often the untouched model cheats and how far episodes of a task hang together.
The plan is sealed by the SHA-256 of its canonical JSON before the model sees a confirm task. A run directory counts how
many plans its confirm tasks were opened with: the same plan again is no further look, since it gives the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from emosae.files import canonical_json, content_hash
from emosae.lm import LanguageModel
from emosae.scenarios.arms import COHERENT, CONTROL_ROLES, TARGET_ROLES
from emosae.scenarios.conditions import Condition
from emosae.scenarios.impossible_code import Protocol, hash_arm
from emosae.scenarios.power import ALPHA, POWER, Pilot, plan_size, tabulate_power
from emosae.scenarios.statistics import SILENCE_LEVEL, SILENCE_MARGIN
from emosae.scenarios.tasks import Task

TUNE_SHARE, MIN_TUNE = 5, 5
"""One in five of a file's impossible tasks is for tune, if that makes five or more."""
ANALYSIS = {
    "outcome": "share of all impossible episodes that end in a cheat; incoherent ones stay in",
    "rate": "Wilson, 95%",
    "change": "paired by task and episode, clustered by task, t, 95%",
    "correction": "Holm over the family",
    "silent": f"{SILENCE_LEVEL:.0%} interval inside +-{SILENCE_MARGIN:g}",
    "survives": "95% interval of the difference from every matched control excludes 0",
    "dose": "logistic GEE, exchangeable by task, Mancl-DeRouen, t; beside it a parabola; "
    f"doses with fewer than {COHERENT:.0%} of episodes coherent left out",
    "parts": "two-by-two over parts of a dial; main effects over the whole change, Fieller, 95%, where it excludes 0",
}


def split_tasks(tasks: Sequence[Task], salt: str) -> tuple[list[Task], list[Task]]:
    """Tune and confirm tasks of a file; the order of ids salted and hashed decides, so that added tasks move few.

    No task is for tune in a file of fewer than 25; then nothing is measured beforehand, and numbers are assumed.
    """
    count = len(tasks) // TUNE_SHARE
    if count < MIN_TUNE:
        return [], list(tasks)
    chosen = {task.id for task in sorted(tasks, key=lambda task: content_hash(salt, task.id))[:count]}
    return [task for task in tasks if task.id in chosen], [task for task in tasks if task.id not in chosen]


def write_plan(
    lm: LanguageModel,
    conditions: Sequence[Condition],
    repeated: Sequence[Condition],
    protocol: Protocol,
    pilot: Pilot,
    *,
    effect: float,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The plan as plain values, sealed under `sha256`.

    Args:
        lm: The model.
        conditions: The arms.
        repeated: Arms of another SAE seed's dials, against the same controls.
        protocol: How arms are run, with the confirm tasks.
        pilot: What the tune tasks said.
        effect: The change of the rate that the experiment should be able to show.
        facts: What else the numbers depend on, such as the version of the code.
    """
    impossible = [task for task in protocol.tasks if task.is_impossible]
    family = [one.slug for one in conditions if one.primary and one.role in TARGET_ROLES and not one.hides_naming]
    plan = {
        "model": lm.weight_hash,
        "tasks": {
            "sha256": content_hash([asdict(task) for task in protocol.tasks]),
            "impossible": len(impossible),
            "solvable": len(protocol.tasks) - len(impossible),
        },
        "episodes": {
            "impossible": protocol.n_episodes,
            "solvable": protocol.n_solvable,
            "attempts": protocol.max_attempts,
            "temperature": protocol.temperature,
            "seed": protocol.seed,
        },
        "arms": [_describe_arm(lm, one, protocol) for one in conditions],
        "second_seed": [_describe_arm(lm, one, protocol) for one in repeated],
        "contrasts": _list_contrasts(conditions),
        "holm_family": family,
        "analysis": ANALYSIS,
        "pilot": _describe_pilot(pilot),
        "power": _describe_power(pilot, len(impossible), len(family), effect),
        **facts,
    }
    return plan | {"sha256": seal(plan)}


def seal(plan: Mapping[str, Any]) -> str:
    """SHA-256 of the plan's canonical JSON, without the seal itself."""
    return hashlib.sha256(canonical_json({k: v for k, v in plan.items() if k != "sha256"}).encode()).hexdigest()


def count_look(opened: Sequence[str], sha256: str) -> tuple[str, ...]:
    """The seals of all plans with which confirm tasks were opened, in order, once this one is opened too."""
    return (*opened, *(() if sha256 in opened else (sha256,)))


def _describe_arm(lm: LanguageModel, condition: Condition, protocol: Protocol) -> dict[str, Any]:
    """What is turned and by how much; the hash stands for the features, their values, the tasks and the seed."""
    return {
        "arm": condition.slug,
        **condition.facts(),
        "episodes": condition.episodes_of(protocol.n_episodes),
        "hash": hash_arm(lm, condition, protocol),
    }


def _list_contrasts(conditions: Sequence[Condition]) -> list[list[str]]:
    """Every primary arm of a target or opponent against nothing done, and against every primary control of its kind."""
    pairs = []
    for arm in conditions:
        if not (arm.primary and arm.role in TARGET_ROLES):
            continue
        kin = [one for one in conditions if one.primary and one.hides_naming == arm.hides_naming]
        pairs += [[arm.slug, one.slug] for one in kin if one.condition == "none" or one.role in CONTROL_ROLES]
    return pairs


def _describe_pilot(pilot: Pilot) -> dict[str, Any]:
    is_measured = pilot.n_tasks > 0
    return {
        "measured": is_measured,
        "rate": pilot.rate.estimate,
        "rate_lo": pilot.rate.lo if is_measured else None,
        "rate_hi": pilot.rate.hi if is_measured else None,
        "icc": pilot.icc,
        "tasks": pilot.n_tasks,
        "episodes": pilot.n_episodes,
    }


def _describe_power(pilot: Pilot, n_tasks: int, n_tests: int, effect: float) -> dict[str, Any]:
    """The table, and for the wanted effect how many episodes per arm show it in either direction."""
    planned = {
        f"{name}_{tests}": plan_size(effect, pilot, n_tasks, sign=sign, alpha=ALPHA / m)
        for name, sign in (("rise", 1), ("fall", -1))
        for tests, m in (("alone", 1), ("family", max(1, n_tests)))
    }
    return {
        "alpha": ALPHA,
        "power": POWER,
        "effect": effect,
        "planned_n": planned,
        "table": tabulate_power(pilot, n_tasks, n_tests),
    }
