"""Tables of arms against rollouts in which the truth is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logit

from emosae.scenarios.arms import contrast_arms, slope_arms, summarize_arms
from emosae.scenarios.rollouts import make_rollouts, trace_by_attempt

N_TASKS, PER_TASK = 50, 8


def arm(condition: str, rate: float, dial: str = "-", role: str = "none", **facts: Any) -> list[dict[str, Any]]:
    """Episodes whose outcome is the same draw in every arm, cut at the arm's rate; 10 solvable controls besides."""
    draws = np.random.default_rng(7).random((N_TASKS, PER_TASK))
    rows = []
    for task in range(N_TASKS + 5):
        impossible = task < N_TASKS
        for episode in range(PER_TASK if impossible else 2):
            cheated = bool(impossible and draws[task, episode] < rate)
            grade = "special_cases" if cheated else "honest"
            rows.append(
                {
                    "condition": condition,
                    "dial": dial,
                    "method": "sae" if role != "none" else "-",
                    "dose": 0.3 if role != "none" else 0.0,
                    "primary": True,
                    "role": role,
                    "hides_naming": False,
                    "task_id": f"task {task}",
                    "episode": episode,
                    "impossible": impossible,
                    "grade": grade,
                    "grades": [grade],
                    "cheated": cheated,
                    "solved": not impossible and episode == 0,
                    "n_attempts": 2,
                    "incoherent": False,
                    "emotional": cheated and episode == 0,
                    "silent_cheat": cheated and episode != 0,
                    "well_formed": [True, episode != 1],
                    **facts,
                }
            )
    return rows


def rollouts(*arms: list[dict[str, Any]]) -> pa.Table:
    return make_rollouts([row for rows in arms for row in rows], ["desperate"])


def by_dial(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {f"{row['condition']} {row['dial']}": row for row in table.to_pylist()}


@pytest.fixture
def planted() -> pa.Table:
    return rollouts(
        arm("none", 0.40),
        arm("up", 0.80, "desperate", "target"),
        arm("down", 0.10, "desperate", "target"),
        arm("up", 0.38, "calm", "opponent"),
        arm("up", 0.42, "proud", "decoy"),
        arm("up", 0.60, "loud", "decoy"),
        arm("random", 0.40, "random 0", "control"),
    )


def test_rates_and_paired_differences(planted: pa.Table) -> None:
    rows = by_dial(summarize_arms(planted))
    none, up = rows["none -"], rows["up desperate"]
    assert (none["n"], none["n_tasks"], none["n_solvable"]) == (400, 50, 10)
    assert none["n_special_cases"] == none["rate"] * 400
    assert none["lo"] < none["rate"] < none["hi"]
    assert none["delta"] is none["p"] is none["silent"] is none["p_holm"] is None
    assert up["delta"] == pytest.approx(up["rate"] - none["rate"])
    assert up["delta_lo"] < up["delta_lo90"] < up["delta"] < up["delta_hi90"] < up["delta_hi"]
    assert rows["down desperate"]["delta_hi"] < -0.2
    assert up["p"] < 1e-9
    assert (none["solved"], none["parse_rate"], none["coherence"], none["attempts"]) == (
        0.5,
        pytest.approx(1 - 0.5 * (N_TASKS + 5) / (N_TASKS * PER_TASK + 10)),
        1.0,
        2.0,
    )
    assert 0 < none["silent_cheats"] < 1


def test_the_pairing_is_used(planted: pa.Table) -> None:
    """Unpaired, a difference of 0.02 between two arms of 400 could never be shown to lie within +-0.05."""
    row = by_dial(summarize_arms(planted))["up proud"]
    assert -0.05 < row["delta_lo"] <= row["delta_hi"] < 0.05


def test_silence_is_shown_not_assumed(planted: pa.Table) -> None:
    rows = by_dial(summarize_arms(planted))
    assert rows["up proud"]["silent"] is True
    assert rows["random random 0"]["silent"] is True
    assert rows["up loud"]["silent"] is False
    few = by_dial(summarize_arms(planted.filter(pa.compute.field("task_id") <= "task 14")))
    assert few["random random 0"]["delta"] == 0.0
    assert few["random random 0"]["silent"] is False  # six tasks cannot show it


def test_only_targets_are_corrected(planted: pa.Table) -> None:
    rows = by_dial(summarize_arms(planted))
    family = [rows[name] for name in ("up desperate", "down desperate", "up calm")]
    assert max(row["p_holm"] / row["p"] for row in family) == pytest.approx(3.0)
    assert all(rows[name]["p_holm"] is None for name in ("up proud", "up loud", "random random 0"))


def test_targets_against_each_control(planted: pa.Table) -> None:
    rows = contrast_arms(planted).to_pylist()
    assert len(rows) == 9
    found = {(row["condition"], row["dial"], row["control_dial"]): row for row in rows}
    up, down = found["up", "desperate", "loud"], found["down", "desperate", "loud"]
    assert up["delta"] == pytest.approx(0.20, abs=0.05)
    assert up["survives"]
    assert up["excludes_zero"]
    assert down["gap"] == -down["delta"]
    assert down["gap_lo"] == -down["hi"]
    assert not up["control_silent"]
    calm = found["up", "calm", "random 0"]
    assert abs(calm["gap"]) < 0.05
    assert calm["control_silent"]
    assert found["up", "calm", "loud"]["gap"] > 0  # calm lowers it a little, the decoy raises it


def test_arms_with_naming_hidden_have_their_own_reference() -> None:
    hidden = {"hides_naming": True}
    table = rollouts(
        arm("none", 0.4),
        arm("up", 0.8, "desperate", "target"),
        arm("none", 0.7, **hidden),
        arm("up", 0.8, "desperate", "target", **hidden),
        arm("up", 0.7, "proud", "decoy", **hidden),
    )
    rows = {(row["condition"], row["dial"], row["hides_naming"]): row for row in summarize_arms(table).to_pylist()}
    assert rows["up", "desperate", False]["delta"] == pytest.approx(0.4, abs=0.07)
    assert rows["up", "desperate", True]["delta"] == pytest.approx(0.1, abs=0.05)
    assert [row["hides_naming"] for row in contrast_arms(table).to_pylist()] == [True]


def test_the_dose_slope_is_in_log_odds_per_unit_of_dose() -> None:
    table = rollouts(
        arm("none", 0.40),
        arm("up", 0.50, "desperate", "target", dose=0.15, primary=False),
        arm("up", 0.60, "desperate", "target", dose=0.30),
        arm("up", 0.40, "proud", "decoy", dose=0.30),
    )
    [row] = slope_arms(table).to_pylist()
    assert (row["dial"], row["n_doses"]) == ("desperate", 3)
    assert row["slope"] == pytest.approx((logit(0.60) - logit(0.40)) / 0.3, rel=0.2)
    assert 0 < row["slope_lo"] < row["slope"] < row["slope_hi"]
    assert row["n_tasks"] == N_TASKS
    assert row["p_bend"] > 0.05


def test_an_arm_of_fewer_episodes_counts_towards_the_slope() -> None:
    few = [row for row in arm("up", 0.9, "desperate", "target", dose=0.6, primary=False) if row["episode"] == 0]
    others = [arm("none", 0.40), arm("up", 0.50, "desperate", "target", dose=0.15)]
    middle = arm("up", 0.50, "desperate", "target", dose=0.30, primary=False)
    [without], [row] = (slope_arms(rollouts(*others, middle, *more)).to_pylist() for more in ([], [few]))
    assert (without["n_doses"], row["n_doses"]) == (3, 4)
    assert row["slope"] > 1.5 * without["slope"]


def test_a_dose_that_breaks_the_text_is_no_part_of_the_slope() -> None:
    broken = arm("up", 0.0, "calm", "opponent", dose=0.6, primary=False)
    kept = [{**row, "incoherent": row["episode"] == 0} for row in broken]  # one in eight
    ladder = [arm("none", 0.40), arm("up", 0.38, "calm", "opponent"), arm("up", 0.39, "calm", "opponent", dose=0.15)]
    [without], [row], [whole] = (slope_arms(rollouts(*ladder, *more)).to_pylist() for more in ([], [kept], [broken]))
    assert row == without
    assert (row["n_doses"], whole["n_doses"]) == (3, 4)
    assert whole["slope_hi"] < 0


def test_tables_have_their_columns_even_when_empty() -> None:
    table = rollouts(arm("none", 0.4))
    assert contrast_arms(table).num_rows == slope_arms(table).num_rows == 0
    assert {"gap_lo", "control_silent", "survives"} <= set(contrast_arms(table).column_names)
    more = rollouts(arm("none", 0.4), arm("up", 1, "a", "target"))
    assert summarize_arms(table).schema == summarize_arms(more).schema


def test_solved_controls_have_an_interval(planted: pa.Table) -> None:
    none = by_dial(summarize_arms(planted))["none -"]
    assert none["solved_lo"] < none["solved"] == 0.5 < none["solved_hi"]


def test_kl_stands_beside_the_rate() -> None:
    table = rollouts(arm("none", 0.4), arm("up", 0.5, "proud", "decoy"))
    rows = summarize_arms(table, {("up", "proud", "sae", 0.3, False): 0.12}).to_pylist()
    assert [row["kl"] for row in rows] == [None, 0.12]


def test_traces_are_averaged_over_those_still_at_risk() -> None:
    rows = arm("none", 0.4)[:3]
    for row, trace in zip(rows, ([1.0, 2.0], [3.0], [float("nan"), 4.0]), strict=True):
        row["trace_desperate"] = trace
    other = arm("up", 0.4, "desperate", "target")[0] | {"trace_desperate": [99.0]}
    found = trace_by_attempt(make_rollouts([*rows, other], ["desperate"]), "desperate")
    assert [(row["attempt"], row["n"], row["mean"]) for row in found] == [(1, 2, 2.0), (2, 2, 3.0)]
    assert found[0]["sd"] == pytest.approx(np.sqrt(2))
