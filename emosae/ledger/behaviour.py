"""What the arms of an experiment say of each dial, as ledger columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Evidence = dict[str, dict[str, Any]]

MIN_RANDOM_SETS, MIN_DOSES = 19, 3
"""Random sets under which no percentile is claimed, and doses (0 counts) under which no slope is."""

_FROM_SUMMARY = {
    "dose": "dose",
    "dose_of_max": "dose_of_max",
    "rate": "rate",
    "rate_lo": "lo",
    "rate_hi": "hi",
    "delta": "delta",
    "delta_lo": "delta_lo",
    "delta_hi": "delta_hi",
    "p_behaviour": "p",
    "p_holm": "p_holm",
    "coherence": "coherence",
    "parse_rate": "parse_rate",
    "solved": "solved",
    "solved_lo": "solved_lo",
    "solved_hi": "solved_hi",
    "kl_neutral": "kl",
}


def read_behaviour(
    summary: Sequence[Row], contrasts: Sequence[Row], slopes: Sequence[Row], second_seed: Sequence[Row]
) -> Evidence:
    """Columns per emotion whose feature was turned up at its primary dose, with thoughts left as they were."""
    evidence: Evidence = {}
    for row in filter(is_dial_up, summary):
        columns = {ours: row.get(theirs) for ours, theirs in _FROM_SUMMARY.items()}
        columns |= _read_slope(row["dial"], slopes) | _rank_among_random(row, summary)
        columns |= _find_nearest(row["dial"], contrasts, "control_gap")
        columns |= _find_nearest(row["dial"], second_seed, "second_seed_gap")
        evidence[row["dial"]] = columns
    return evidence


def is_dial_up(row: Row) -> bool:
    """Whether an arm turned a feature up at its primary dose, with thoughts left as they were."""
    is_primary = row.get("primary", True)
    return row["condition"] == "up" and row["method"] == "sae" and is_primary and not row["hides_naming"]


def is_matched(row: Row) -> bool:
    """Whether a contrast is with a control of the same kind: features against features, or a random direction."""
    return row["control_method"] == row["method"] or row["control_condition"] == "direction"


def _find_nearest(dial: str, contrasts: Sequence[Row], name: str) -> dict[str, Any]:
    """The control that comes closest to the dial, and by how much the dial moved the rate further, with interval.

    Nothing is said of a dial that is turned further than the random controls were: they add less and do not match it.
    """
    rows = [row for row in contrasts if row["dial"] == dial and is_dial_up(row) and is_matched(row)]
    drawn = [row for row in rows if row["control_condition"] in ("random", "direction")]
    if not rows or any(row["control_dose"] < row["dose"] for row in drawn):
        return {}
    nearest = min(rows, key=lambda row: row["gap_lo"])
    columns = {name: nearest["gap"], f"{name}_lo": nearest["gap_lo"], f"{name}_hi": nearest["gap_hi"]}
    if name == "control_gap":
        columns |= {"nearest_control": f"{nearest['control_dial']} {nearest['control_condition']}"}
        columns |= {"n_controls": len(rows)}
    return columns


def _read_slope(dial: str, slopes: Sequence[Row]) -> dict[str, Any]:
    """Log-odds of the behaviour per unit of dose; whether the line bends, and where it turns round if it does."""
    for row in slopes:
        is_ours = row["dial"] == dial and row["method"] == "sae" and not row["hides_naming"]
        if is_ours and row["n_doses"] >= MIN_DOSES:
            ends = {f"dose_slope{end}": row[f"slope{end}"] for end in ("", "_lo", "_hi")}
            return ends | {"p_dose_bend": row["p_bend"], "dose_turn": row["turn"]}
    return {}


def _rank_among_random(row: Row, summary: Sequence[Row]) -> dict[str, Any]:
    """(1 + b) / (N + 1), where b of N random sets moved the rate at least as far the same way; null for few sets.

    Sets at a lower dose than the dial's do not count.
    """
    drawn = [one for one in summary if one["condition"] == "random" and not one["hides_naming"]]
    sets = [one for one in drawn if one["dose"] >= row["dose"]]
    if len(sets) < MIN_RANDOM_SETS or row["delta"] is None:
        return {"n_random_sets": len(sets)}
    sign = 1 if row["delta"] >= 0 else -1
    beyond = sum(one["delta"] is not None and sign * one["delta"] >= abs(row["delta"]) for one in sets)
    return {"n_random_sets": len(sets), "random_percentile": (1 + beyond) / (len(sets) + 1)}
