"""Verdicts are pure functions of the columns: every column carries its rung, and only its rung and those above."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.ledger import LADDER, VERDICTS, judge

PERFECT: dict[str, Any] = {
    "sae": "resid3",
    "feature_idx": 7,
    "emotion": "desperate",
    "q_bh": 1e-6,
    "verdict_cap": None,
    "auroc_rival_confirm": 0.97,
    "auroc_rival_confirm_lo": 0.9,
    "auroc_confirm": 0.99,
    "auroc_confirm_lo": 0.95,
    "auroc_control": 0.6,
    "output_score": 0.2,
    "output_score_lo": 0.1,
    "coherence": 0.97,
    "delta": 0.4,
    "delta_lo": 0.3,
    "delta_hi": 0.5,
    "dose_slope": 1.2,
    "dose_slope_lo": 0.8,
    "dose_slope_hi": 1.6,
    "control_gap_lo": 0.2,
    "second_seed_gap_lo": 0.1,
}
# column -> values that must not do, and the verdict that is left
SPOILED = {
    "q_bh": ([None, math.nan, 0.05, 0.4], "none"),
    "verdict_cap": (["detected"], "detected"),
    "auroc_rival_confirm_lo": ([None, math.nan, 0.5, 0.2], "detected"),
    "auroc_confirm_lo": ([None, math.nan, 0.6, 0.3], "detected"),
    "auroc_control": ([None, math.nan, 0.95, 0.99], "detected"),
    "output_score_lo": ([None, math.nan, 0.0, -0.1], "specific"),
    "coherence": ([None, math.nan, 0.89], "specific"),
    "delta_lo": ([None, math.nan, 0.0, -0.1], "steers text"),
    "dose_slope": ([None, math.nan, -1.2], "steers text"),
    "dose_slope_lo": ([None, math.nan, 0.0, -0.2], "steers text"),
    "control_gap_lo": ([None, math.nan, 0.0, -0.1], "moves behaviour"),
    "second_seed_gap_lo": ([None, math.nan, 0.0, -0.1], "moves behaviour"),
}
FALLS = [(column, value, left) for column, (values, left) in SPOILED.items() for value in values]


def test_a_row_with_all_evidence_reaches_the_top() -> None:
    verdict = judge(PERFECT)
    assert verdict.name == VERDICTS[-1] == "survives controls"
    assert verdict.held_back_by == ""


@pytest.mark.parametrize(("column", "value", "left"), FALLS)
def test_a_spoiled_column_fells_its_rung_and_all_above(column: str, value: object, left: str) -> None:
    verdict = judge({**PERFECT, column: value})
    assert verdict.name == left
    assert VERDICTS[VERDICTS.index(left) + 1] in verdict.held_back_by


def test_an_absent_column_earns_nothing() -> None:
    for column, (_, left) in SPOILED.items():
        assert judge({name: value for name, value in PERFECT.items() if name != column}).name == left


def test_a_lowering_dial_is_judged_by_the_same_ladder() -> None:
    lowering = {"delta": -0.4, "delta_lo": -0.5, "delta_hi": -0.3}
    slope = {"dose_slope": -1.2, "dose_slope_lo": -1.6, "dose_slope_hi": -0.8}
    assert judge({**PERFECT, **lowering, **slope}).name == "survives controls"
    assert judge({**PERFECT, **lowering}).name == "steers text"


@given(st.sets(st.sampled_from(sorted(SPOILED))))
def test_the_lowest_failure_decides(broken: set[str]) -> None:
    row = {**PERFECT, **{column: SPOILED[column][0][0] for column in broken}}
    lowest = min((VERDICTS.index(SPOILED[column][1]) for column in broken), default=len(VERDICTS) - 1)
    assert judge(row).name == VERDICTS[lowest]


def test_a_verdict_names_the_table_the_row_and_the_numbers() -> None:
    assert judge({}).earned_by == ""
    detected = judge({**PERFECT, "verdict_cap": "detected"}).earned_by
    assert detected == "selectivity/candidates.parquet [sae=resid3, feature_idx=7, emotion=desperate]: q_bh = 1e-06"
    moved = judge({**PERFECT, "control_gap_lo": None})
    assert moved.earned_by == (
        "scenarios/impossible_code/summary.parquet [condition=up, dial=desperate, method=sae, primary=true]: "
        "delta = 0.4 [0.3, 0.5]; dose_slope = 1.2 [0.8, 1.6]"
    )
    assert moved.held_back_by.endswith("control_gap_lo is empty")


def test_every_requirement_is_flipped_above() -> None:
    asked = {requirement.column for rung in LADDER for requirement in rung.requirements}
    assert asked <= {column.removesuffix("_lo") for column in SPOILED} | set(SPOILED)
