"""Each target arm minus each of its controls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from emosae.ledger import is_matched
from emosae.report.citing import cite
from emosae.report.content import Plate, TextTable
from emosae.report.figures import Estimate, ForestGrid, GridColumn, MarkStyle, draw_grid
from emosae.report.records import ReportData, Row, read_estimate
from emosae.report.wording import join_words, say_points, start_sentence

UNKNOWN = Estimate(float("nan"))


def read_gaps(data: ReportData, *, hides_naming: bool = False) -> list[Row]:
    """Contrasts of features turned with their matched controls."""
    return [
        row
        for row in data.rows("contrasts")
        if row["method"] == "sae" and bool(row["hides_naming"]) == hides_naming and is_matched(row)
    ]


def name_arm(row: Row) -> str:
    """The arm of a contrast."""
    return f"{row['dial']} {row['condition']}"


def name_control(row: Row) -> str:
    """The control of a contrast."""
    is_random = row["control_condition"] in ("random", "direction")
    return str(row["control_dial"]) if is_random else f"{row['control_dial']} {row['control_condition']}"


def say_survivors(rows: Sequence[Row]) -> str:
    """Which arms moved the rate further than every matched control, and which controls the other arms fail against."""
    missed: dict[str, list[str]] = {}
    for row in rows:
        missed.setdefault(name_arm(row), []).extend([] if row["survives"] else [name_control(row)])
    beyond = [arm for arm, controls in missed.items() if not controls]
    short = [f"{arm} not beyond {join_words(controls)}" for arm, controls in missed.items() if controls]
    said = [f"beyond every control: {join_words(beyond)}"] if beyond else ["no arm goes beyond every control"]
    return f"{start_sentence('; '.join([*said, *short]))}."


def plate_gaps(data: ReportData) -> Plate | None:
    """A column per arm, a row per control; None without contrasts."""
    rows, again = read_gaps(data), read_gaps(data, hides_naming=True)
    if not rows:
        return None
    controls = tuple(dict.fromkeys(name_control(row) for row in rows))
    found = {(name_arm(row), name_control(row)): row for row in rows}
    repeated = {(name_arm(row), name_control(row)): read_estimate(row, "gap") for row in again}
    columns = tuple(
        GridColumn(arm, tuple(_marks(found.get((arm, one)), repeated.get((arm, one))) for one in controls))
        for arm in dict.fromkeys(name_arm(row) for row in rows)
    )
    ends = [end for row in (*rows, *again) for end in (row["gap_lo"], row["gap_hi"]) if end is not None]
    legend = (
        (MarkStyle("o", "accent"), "further than the control"),
        (MarkStyle("o", "other"), "not shown to be"),
        *(((MarkStyle("o", "other", True), "naming sentences removed"),) if again else ()),
    )
    grid = ForestGrid(
        controls,
        columns,
        "points further than the control",
        (min(-0.1, *ends) - 0.03, max(0.1, *ends) + 0.03),
        legend,
    )
    return Plate(
        "gaps",
        "Each arm minus each of its controls",
        f"{say_survivors(rows)} Paired difference between the arm in the heading and the control in the row, in the "
        "direction in which the arm moved the rate, with 95% intervals. Controls are decoys, random features and "
        f"random directions, {_say_doses(rows)}.",
        "Difference between every target arm and every control with interval.",
        partial(draw_grid, grid),
        _tabulate([*rows, *again]),
    )


def _say_doses(rows: Sequence[Row]) -> str:
    is_same = all(row["dose"] == row["control_dose"] for row in rows if row["condition"] == "up")
    return "at the same dose" if is_same else "each at its own dose, which need not be the arm's"


def _marks(row: Row | None, again: Estimate | None) -> tuple[tuple[MarkStyle, Estimate], ...]:
    if row is None:
        return ((MarkStyle(), UNKNOWN),)
    main = (MarkStyle("o", "accent" if row["survives"] else "other"), read_estimate(row, "gap"))
    return (main, (MarkStyle("o", "other", True), again)) if again else (main,)


def _tabulate(rows: Sequence[Row]) -> TextTable:
    return TextTable(
        ("arm", "control", "naming", "further by, points", "beyond it"),
        tuple(
            (
                name_arm(row),
                name_control(row),
                "removed" if row["hides_naming"] else "kept",
                cite(say_points(read_estimate(row, "gap")), row, "gap"),
                "yes" if row["survives"] else "no",
            )
            for row in rows
        ),
        frozenset({3}),
    )
