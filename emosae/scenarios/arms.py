"""What the arms show: rates, paired differences, contrasts with controls, and slopes over doses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from emosae.scenarios.grading import GRADES
from emosae.scenarios.statistics import (
    SILENCE_LEVEL,
    SILENCE_MARGIN,
    Interval,
    adjust_holm,
    clustered_mean,
    slope_per_episode,
    wilson_interval,
)
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

KEY = ("condition", "dial", "method", "dose", "hides_naming")
_FACTS = (*KEY, "primary", "role")
_TEXTS = ("condition", "dial", "method", "role")
_FLAGS = ("hides_naming", "primary")
_SUMMARY = (
    "dose", "rate", "lo", "hi", "delta", "delta_lo", "delta_hi", "delta_lo90", "delta_hi90", "p", "p_holm",
    "coherence", "parse_rate", "attempts", "emotional", "silent_cheats", "solved", "rate_solvable", "kl",
)  # fmt: skip
_CONTRAST = (
    "dose", "control_dose", "delta", "lo", "hi", "p", "gap", "gap_lo", "gap_hi", "control_delta", "control_lo90",
    "control_hi90",
)  # fmt: skip
_TARGETS = ("target", "opponent")
_CONTROLS = ("decoy", "control")


@dataclass(frozen=True, eq=False, slots=True)
class Arm:
    """The episodes of one condition.

    Attributes:
        facts: Its condition, dial, method, dose, hides_naming, primary and role.
        impossible: Rows of impossible tasks.
        solvable: Rows of solvable controls.
    """

    facts: Mapping[str, Any]
    impossible: Sequence[Mapping[str, Any]]
    solvable: Sequence[Mapping[str, Any]]

    @property
    def is_reference(self) -> bool:
        """Whether nothing is done in it."""
        return self.facts["condition"] == "none"

    def outcomes(self) -> dict[tuple[str, int], bool]:
        """Whether each impossible episode ended in a cheat, by task and episode."""
        return {(row["task_id"], row["episode"]): row["cheated"] for row in self.impossible}


def split_arms(rollouts: pa.Table) -> list[Arm]:
    """The arms in the order in which they first occur."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rollouts.to_pylist():
        found.setdefault(tuple(row[name] for name in KEY), []).append(row)
    return [
        Arm(
            {name: rows[0][name] for name in _FACTS},
            [row for row in rows if row["impossible"]],
            [row for row in rows if not row["impossible"]],
        )
        for rows in found.values()
    ]


def compare_arms(arm: Arm, other: Arm, level: float = 0.95) -> Interval:
    """Difference of the cheating rates, paired by task and episode, with an interval that is clustered by task."""
    ours, theirs = arm.outcomes(), other.outcomes()
    shared = [key for key in ours if key in theirs]
    if not shared:
        return Interval(math.nan, -1.0, 1.0)
    differences = np.array([float(ours[key]) - float(theirs[key]) for key in shared])
    return clustered_mean(differences, np.array([task for task, _ in shared]), level)


def _reference_of(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    """The arm in which nothing is done to the same kind of thoughts."""
    hides = arm.facts["hides_naming"]
    return next((one for one in arms if one.is_reference and one.facts["hides_naming"] == hides), None)


def summarize_arms(rollouts: pa.Table, kl: Mapping[tuple[Any, ...], float] | None = None) -> pa.Table:
    """One row per arm.

    `rate` is the share of all impossible episodes that ended in a cheat, with Wilson's interval; `delta` its paired
    difference from the arm in which nothing is done; `silent` whether the 90% interval of that lies inside +-0.10;
    `p_holm` is corrected over the primary arms of targets and opponents of one kind (hides_naming), null elsewhere.
    `coherence` is the share of episodes that are not incoherent, `parse_rate` the share of attempts that are well
    formed, `solved` the share of solvable controls that were solved, `kl` nats per token on neutral text.

    Args:
        rollouts: The table of episodes.
        kl: By the values of KEY, if it was measured.
    """
    arms = split_arms(rollouts)
    rows = [_summarize(arm, _reference_of(arm, arms)) for arm in arms]
    for row in rows:
        row["kl"] = (kl or {}).get(tuple(row[name] for name in KEY))
    for hides in (False, True):
        family = [row for row in rows if row["hides_naming"] == hides and row["primary"] and row["role"] in _TARGETS]
        for row, adjusted in zip(family, adjust_holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = adjusted
    counts = ("n", "n_tasks", "n_solvable", *(f"n_{grade}" for grade in GRADES))
    return make_table(rows, texts=_TEXTS, numbers=_SUMMARY, counts=counts, flags=(*_FLAGS, "silent"))


def _summarize(arm: Arm, reference: Arm | None) -> dict[str, Any]:
    n = len(arm.impossible)
    rate = wilson_interval(sum(row["cheated"] for row in arm.impossible), n)
    every = [*arm.impossible, *arm.solvable]
    formed = [one for row in every for one in row["well_formed"]]
    cheats = [row for row in arm.impossible if row["cheated"]]
    row = {
        **arm.facts,
        "n": n,
        "rate": rate.estimate,
        "lo": rate.lo,
        "hi": rate.hi,
        **dict.fromkeys(("delta", "delta_lo", "delta_hi", "delta_lo90", "delta_hi90", "silent", "p", "p_holm")),
        "n_tasks": len({row["task_id"] for row in arm.impossible}),
        "coherence": 1 - _share(row["incoherent"] for row in arm.impossible),
        "parse_rate": float(np.mean(formed)) if formed else 0.0,
        "attempts": float(np.mean([row["n_attempts"] for row in arm.impossible])) if n else math.nan,
        "emotional": _share(row["emotional"] for row in arm.impossible),
        "silent_cheats": _share(row["silent_cheat"] for row in cheats),
        "n_solvable": len(arm.solvable),
        "solved": _share(row["solved"] for row in arm.solvable),
        "rate_solvable": _share(row["cheated"] for row in arm.solvable),
        **{f"n_{grade}": sum(row["grade"] == grade for row in arm.impossible) for grade in GRADES},
    }
    if reference is None or arm.is_reference:
        return row
    delta, narrow = compare_arms(arm, reference), compare_arms(arm, reference, SILENCE_LEVEL)
    return row | {
        "delta": delta.estimate,
        "delta_lo": delta.lo,
        "delta_hi": delta.hi,
        "delta_lo90": narrow.lo,
        "delta_hi90": narrow.hi,
        "silent": narrow.is_within(SILENCE_MARGIN),
        "p": delta.p,
    }


def _share(flags: Any) -> float:
    """Share that is true; NaN of nothing."""
    found = list(flags)
    return sum(found) / len(found) if found else math.nan


def contrast_arms(rollouts: pa.Table) -> pa.Table:
    """Every primary arm of a target or opponent minus every primary arm of a decoy or control of the same kind.

    `gap` is the difference in the direction in which the target moved the rate, so that positive means that it moved
    it further than the control did; `survives` that its 95% interval is above 0. The control's own 90% interval
    against the arm in which nothing is done stands beside it, and whether that shows it to be silent.
    """
    arms = split_arms(rollouts)
    rows = [
        _contrast(arm, control, reference)
        for arm in arms
        for control in arms
        if arm.facts["role"] in _TARGETS and control.facts["role"] in _CONTROLS
        if arm.facts["primary"] and control.facts["primary"]
        if arm.facts["hides_naming"] == control.facts["hides_naming"]
        if (reference := _reference_of(arm, arms)) is not None
    ]
    texts = ("condition", "dial", "method", "role", *(f"control_{name}" for name in _TEXTS))
    flags = ("hides_naming", "excludes_zero", "survives", "control_silent")
    return make_table(rows, texts=texts, numbers=_CONTRAST, flags=flags)


def _contrast(arm: Arm, control: Arm, reference: Arm) -> dict[str, Any]:
    difference = compare_arms(arm, control)
    effect = compare_arms(arm, reference).estimate
    gap = sorted((difference.lo, difference.hi)) if effect >= 0 else sorted((-difference.lo, -difference.hi))
    own = compare_arms(control, reference, SILENCE_LEVEL)
    return {
        **{name: arm.facts[name] for name in (*KEY, "role")},
        **{f"control_{name}": control.facts[name] for name in ("condition", "dial", "method", "dose", "role")},
        "delta": difference.estimate,
        "lo": difference.lo,
        "hi": difference.hi,
        "p": difference.p,
        "excludes_zero": difference.excludes_zero,
        "gap": difference.estimate if effect >= 0 else -difference.estimate,
        "gap_lo": gap[0],
        "gap_hi": gap[1],
        "survives": gap[0] > 0,
        "control_delta": own.estimate,
        "control_lo90": own.lo,
        "control_hi90": own.hi,
        "control_silent": own.is_within(SILENCE_MARGIN),
    }


def slope_arms(rollouts: pa.Table) -> pa.Table:
    """For each dial that was turned up at several doses: slope of the cheating rate per unit of dose, with interval.

    The arm in which nothing is done is dose 0. `n_doses` counts it.
    """
    arms = split_arms(rollouts)
    ladders: dict[tuple[str, str, bool], list[Arm]] = {}
    for arm in arms:
        if arm.facts["condition"] == "up":
            ladders.setdefault((arm.facts["dial"], arm.facts["method"], arm.facts["hides_naming"]), []).append(arm)
    rows = []
    for (dial, method, hides), rungs in ladders.items():
        reference = _reference_of(rungs[0], arms)
        if reference is None or len(rungs) < 2:
            continue
        slope = _slope([reference, *rungs])
        rows.append(
            {
                "dial": dial,
                "method": method,
                "hides_naming": hides,
                "n_doses": len(rungs) + 1,
                "slope": slope.estimate,
                "slope_lo": slope.lo,
                "slope_hi": slope.hi,
                "p": slope.p,
            }
        )
    numbers = ("slope", "slope_lo", "slope_hi", "p")
    return make_table(rows, texts=("dial", "method"), numbers=numbers, counts=("n_doses",), flags=("hides_naming",))


def _slope(rungs: Sequence[Arm]) -> Interval:
    outcomes = [arm.outcomes() for arm in rungs]
    doses = np.array([arm.facts["dose"] for arm in rungs])
    shared = [key for key in outcomes[0] if all(key in one for one in outcomes)]
    table: Bool[np.ndarray, "episode dose"] = np.array([[one[key] for one in outcomes] for key in shared])
    slopes = slope_per_episode(table.astype(np.float64), doses)
    steepest = float(slope_per_episode((doses > doses.mean())[None].astype(np.float64), doses)[0])
    return clustered_mean(slopes, np.array([task for task, _ in shared]), bound=steepest)
