"""Rollouts in which the parts of a dial were turned up, with rates that are planted, and their tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from planted import planted_sae

from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.part_arms import gather_arms, tabulate_part_arms, tabulate_parts
from emosae.scenarios.rollouts import make_rollouts
from emosae.scenarios.subspace import Subspace, draw_subspace

DIAL = FeatureSet("desperate", planted_sae(16, 6, seed=1), (2,), resid_norm=3.0)
EMOTION = Subspace(np.eye(16)[:2])


def play(condition: str, method: str, rate: float, *, dial: str = "desperate", **facts: Any) -> list[dict[str, Any]]:
    """Twenty impossible tasks, two episodes each, cheated at while their number is below the rate; and a solvable."""
    role = "none" if condition == "none" else "target"
    arm = {"condition": condition, "dial": dial, "method": method, "dose": 0.4 if role != "none" else 0.0, "role": role}
    rows = []
    for at in range(42):
        cheated = at < 40 and (at * 7) % 40 < 40 * rate
        grade = "special_cases" if cheated else "honest"
        row = {"task_id": f"t{at // 2}", "episode": at % 2, "impossible": at < 40, "grade": grade, "grades": [grade]}
        row |= {"cheated": cheated, "solved": at >= 40, "n_attempts": 1, "incoherent": False, "emotional": False}
        rows.append(
            arm | {"primary": True, "hides_naming": False, "silent_cheat": cheated, "well_formed": [True]} | row
        )
    return [row | facts for row in rows]


PARTS = (("inside", "natural", 0.6), ("outside", "natural", 0.3), ("inside", "equal norm", 0.7))


def part_tables(
    parts: tuple[tuple[str, str, float], ...] = PARTS, both: float = 0.8, control: str = "random subspace 0"
) -> tuple[pa.Table, pa.Table]:
    """`subspace` and `subspace_arms` of a dial that moves the rate from 20% to `both`; one more arm is a control."""
    main = [*play("none", "-", 0.2, dial="-"), *play("up", "sae", both), *play("up", "sae", 0.1, hides_naming=True)]
    main += [*play("up", "sae", 0.3, dial="calm"), *play("up", "sae", 0.5, dose=0.2)]
    rows = [row for part in parts for row in play(*part)] + play(control, "equal norm", 0.35, role="control")
    rows = [row for row in rows if row["task_id"] != "t0"]  # fewer episodes than the main arms have
    arms = gather_arms(make_rollouts(main, ["desperate"]), make_rollouts(rows, ["desperate"]), DIAL, 0.4)
    controls = {control: draw_subspace(2, 16, np.random.default_rng(5))}
    return tabulate_parts(arms, DIAL, EMOTION), tabulate_part_arms(arms, DIAL, EMOTION, controls, 0.4)
