"""The ladder of verdicts: pure functions of one ledger row's columns, each naming the table and row that earned it.

A column that is null or NaN was not measured and earns nothing; a rung is reached only over all rungs below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ALPHA = 0.05
CHANCE = 0.5
COHERENT = 0.9
"""Share of attempts that must stay coherent at the primary dose; a dial that breaks the text proves nothing."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a rung asks of a row.

    Attributes:
        column: The column that holds the evidence.
        says: What is asked, in words.
        holds: Whether the row has it.
    """

    column: str
    says: str
    holds: Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Rung:
    """A verdict, the table in the run directory whose row earns it, how that row is found, and what it asks."""

    verdict: str
    table: str
    key: str
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a row has earned.

    Attributes:
        name: One of VERDICTS.
        earned_by: Table, row and columns that earned it; empty for `none`.
        held_back_by: What the next rung asks and the row lacks; empty at the top.
    """

    name: str
    earned_by: str
    held_back_by: str


def number(row: Row, column: str) -> float:
    """A cell as a number; NaN, which no comparison accepts, if it was not measured."""
    value = row.get(column)
    return math.nan if value is None else float(value)


def excludes_zero(row: Row, column: str) -> bool:
    """Whether the interval of `column` (`_lo`, `_hi`) lies on one side of 0."""
    return number(row, f"{column}_lo") > 0 or number(row, f"{column}_hi") < 0


def _is_above(column: str, bound: float, says: str) -> Requirement:
    return Requirement(column, says, lambda row: number(row, column) > bound)


def _is_same_way(row: Row) -> bool:
    """Whether more of the dial goes on changing the behaviour the way that the primary dose did."""
    return excludes_zero(row, "dose_slope") and number(row, "dose_slope") * number(row, "delta") > 0


_FEATURE = "sae={sae}, feature_idx={feature_idx}, emotion={emotion}"
_DIAL = "condition=up, dial={emotion}, method=sae, primary=true"

LADDER: tuple[Rung, ...] = (
    Rung(
        "detected",
        "selectivity/candidates.parquet",
        _FEATURE,
        (Requirement("q_bh", f"q below {ALPHA} on discover", lambda row: number(row, "q_bh") < ALPHA),),
    ),
    Rung(
        "specific",
        "selectivity/candidates.parquet",
        _FEATURE,
        (
            Requirement(
                "verdict_cap",
                "enough topics, and a topic for every story",
                lambda row: "verdict_cap" in row and row["verdict_cap"] is None,
            ),
            _is_above(
                "auroc_rival_confirm_lo",
                CHANCE,
                "on confirm, the lower bound against the rival fixed before above 0.5",
            ),
            Requirement(
                "auroc_confirm_lo",
                "on confirm, the lower bound above every control feature matched on firing rate",
                lambda row: number(row, "auroc_confirm_lo") > number(row, "auroc_control"),
            ),
        ),
    ),
    Rung(
        "steers text",
        "scenarios/dials.parquet",
        _FEATURE,
        (
            _is_above("output_score_lo", 0.0, "an output score above 0: turned up, its own tokens get likelier"),
            Requirement(
                "coherence",
                f"at least {COHERENT:.0%} of attempts coherent at the primary dose",
                lambda row: number(row, "coherence") >= COHERENT,
            ),
        ),
    ),
    Rung(
        "moves behaviour",
        "scenarios/impossible_code/summary.parquet",
        _DIAL,
        (
            Requirement(
                "delta",
                "a paired change at the primary dose whose interval excludes 0",
                lambda row: excludes_zero(row, "delta"),
            ),
            Requirement("dose_slope", "a slope over at least three doses that goes the same way", _is_same_way),
        ),
    ),
    Rung(
        "survives controls",
        "scenarios/impossible_code/contrasts.parquet",
        _DIAL,
        (
            _is_above("control_gap_lo", 0.0, "a change above that of every matched control"),
            _is_above("second_seed_gap_lo", 0.0, "the same again with a second SAE seed"),
        ),
    ),
)

VERDICTS: tuple[str, ...] = ("none", *(rung.verdict for rung in LADDER))


def judge(row: Row) -> Verdict:
    """Climb the ladder until a requirement is not met."""
    name, earned_by = VERDICTS[0], ""
    for rung in LADDER:
        for requirement in rung.requirements:
            if not requirement.holds(row):
                lacks = f"{rung.verdict} asks for {requirement.says}; {_show(row, requirement.column)}"
                return Verdict(name, earned_by, lacks)
        name, earned_by = rung.verdict, _locate(row, rung)
    return Verdict(name, earned_by, "")


def _locate(row: Row, rung: Rung) -> str:
    place = rung.key.format_map(row)
    seen = "; ".join(_show(row, requirement.column) for requirement in rung.requirements)
    return f"{rung.table} [{place}]: {seen}"


def _show(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{column} is empty"
    shown = f"{value:.3g}" if isinstance(value, float) else value
    ends = [number(row, f"{column}{end}") for end in ("_lo", "_hi")]
    span = f" [{ends[0]:.3g}, {ends[1]:.3g}]" if all(map(math.isfinite, ends)) else ""
    return f"{column} = {shown}{span}"
