"""Verdicts are pure functions of the columns: every column carries its rung, and only its rung and those above."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import make_candidates

from emosae.ledger import LADDER, VERDICTS, judge
from emosae.ledger.build import COUNTS, NUMBERS, TEXTS

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
LOWERING: dict[str, Any] = {
    **PERFECT,
    **{"delta": -0.4, "delta_lo": -0.5, "delta_hi": -0.3},
    **{"dose_slope": -1.2, "dose_slope_lo": -1.6, "dose_slope_hi": -0.8},
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
    "delta": ([None, math.nan, -0.4, 0.0], "steers text"),
    "delta_lo": ([None, math.nan, 0.0, -0.1], "steers text"),
    "dose_slope": ([None, math.nan, -1.2], "steers text"),
    "dose_slope_lo": ([None, math.nan, 0.0, -0.2], "steers text"),
    "control_gap_lo": ([None, math.nan, 0.0, -0.1], "moves behaviour"),
    "second_seed_gap_lo": ([None, math.nan, 0.0, -0.1], "moves behaviour"),
}
# the same for a dial that lowers the behaviour, whose intervals must end below 0
SPOILED_LOWERING = SPOILED | {
    "delta": ([None, math.nan, 0.4, 0.0], "steers text"),
    "delta_hi": ([None, math.nan, 0.0, 0.1], "steers text"),
    "dose_slope": ([None, math.nan, 1.2], "steers text"),
    "dose_slope_hi": ([None, math.nan, 0.0, 0.2], "steers text"),
}
for _unread in ("delta_lo", "dose_slope_lo"):
    SPOILED_LOWERING.pop(_unread)
FALLS = [
    (base, column, value, left)
    for base, spoiled in ((PERFECT, SPOILED), (LOWERING, SPOILED_LOWERING))
    for column, (values, left) in spoiled.items()
    for value in values
]


class Witness(dict[str, Any]):
    """A row that remembers which of its columns were read."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def get(self, column: str, default: Any = None) -> Any:
        self.read.add(column)
        return super().get(column, default)

    def __getitem__(self, column: str) -> Any:
        self.read.add(column)
        return super().__getitem__(column)

    def __contains__(self, column: object) -> bool:
        self.read.add(str(column))
        return super().__contains__(column)


def columns_read(row: dict[str, Any]) -> set[str]:
    """The columns that the requirements of all rungs look at in a row."""
    witness = Witness(row)
    for rung in LADDER:
        for requirement in rung.requirements:
            requirement.holds(witness)
    return witness.read


def test_a_row_with_all_evidence_reaches_the_top() -> None:
    verdict = judge(PERFECT)
    assert verdict.name == VERDICTS[-1] == "survives controls"
    assert verdict.held_back_by == ""


@pytest.mark.parametrize(("base", "column", "value", "left"), FALLS)
def test_a_spoiled_column_fells_its_rung_and_all_above(
    base: dict[str, Any], column: str, value: object, left: str
) -> None:
    verdict = judge({**base, column: value})
    assert verdict.name == left
    assert VERDICTS[VERDICTS.index(left) + 1] in verdict.held_back_by


def test_an_absent_column_earns_nothing() -> None:
    for column, (_, left) in SPOILED.items():
        assert judge({name: value for name, value in PERFECT.items() if name != column}).name == left


def test_a_lowering_dial_is_judged_by_the_same_ladder() -> None:
    assert judge(LOWERING).name == "survives controls"
    falling = {name: value for name, value in LOWERING.items() if name.startswith("delta")}
    assert judge({**PERFECT, **falling}).name == "steers text"


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


@pytest.mark.parametrize(("base", "spoiled"), [(PERFECT, SPOILED), (LOWERING, SPOILED_LOWERING)])
def test_every_column_that_a_verdict_reads_is_flipped_above(
    base: dict[str, Any], spoiled: dict[str, tuple[list[Any], str]]
) -> None:
    """A new requirement, or another column in an old one, fails here until it has its flip."""
    flipped_alone = {"delta_lo", "delta_hi", "dose_slope_lo", "dose_slope_hi"}
    assert columns_read(base) - flipped_alone == set(spoiled) - flipped_alone
    assert columns_read(PERFECT) | columns_read(LOWERING) == set(SPOILED) | set(SPOILED_LOWERING)


def test_no_column_is_read_only_where_another_one_fails() -> None:
    """A way round a requirement (this column or that one) would be read on spoiled rows alone."""
    for base, column, value, _ in FALLS:
        assert columns_read({**base, column: value}) <= set(SPOILED) | set(SPOILED_LOWERING), column
    missing = [{name: value for name, value in PERFECT.items() if name != column} for column in SPOILED]
    for row in ({}, *missing):
        assert columns_read(row) <= set(SPOILED) | set(SPOILED_LOWERING)


def test_every_column_that_a_verdict_reads_is_one_of_the_ledger() -> None:
    known = {*NUMBERS, *COUNTS, *TEXTS, *make_candidates(np.random.default_rng(0)).column_names}
    assert columns_read(PERFECT) | columns_read(LOWERING) <= known
