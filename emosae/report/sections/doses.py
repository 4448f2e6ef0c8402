"""Dose-response: the cheating rate over the doses of each dial, with every control in the same picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.report.arms import Arm, find_untouched
from emosae.report.citing import cite
from emosae.report.content import Plate, TextTable
from emosae.report.figures import Estimate, Line, MarkStyle, Panel, Panels, draw_panels
from emosae.report.records import ReportData, Row, read_estimate, read_number
from emosae.report.wording import join_words, say_estimate, say_number, say_p, say_points, say_rate, say_share

TABLE = "scenarios/impossible_code/summary.parquet"
CONTROLS = {
    "decoy": MarkStyle("D", "other", True),
    "random features": MarkStyle("o", "other", True),
    "random directions": MarkStyle("s", "other", True),
}


def find_ladder(arms: Sequence[Arm], dial: str) -> list[Arm]:
    """The untouched arm, and the dial's feature turned up, from the lowest dose to the highest."""
    up = [arm for arm in arms if (arm.condition, arm.dial, arm.method) == ("up", dial, "sae")]
    untouched = find_untouched(arms)
    return sorted([*([untouched] if untouched else []), *up], key=lambda arm: arm.dose)


def find_dials(arms: Sequence[Arm], *roles: str, least: int = 3) -> list[str]:
    """Dials of these roles that have at least so many doses, 0 among them."""
    names = dict.fromkeys(arm.dial for arm in arms if arm.role in roles and arm.condition == "up")
    return [name for name in names if len(find_ladder(arms, name)) >= least]


def name_row(arm: Arm) -> str:
    """Where an arm's numbers stand: what finds its row in the summary."""
    naming = ", hides_naming=true" if arm.row.get("hides_naming") else ""
    return f"condition={arm.condition}, dial={arm.dial}, method={arm.method}, dose={arm.dose:g}{naming}"


def say_slopes(data: ReportData, arms: Sequence[Arm]) -> tuple[str, ...]:
    """How the rate goes with the dose of each target and opponent; nothing if no dial had three doses."""
    dials = find_dials(arms, "target", "opponent")
    rows = {row["dial"]: row for row in data.rows("slopes") if row["method"] == "sae" and not row["hides_naming"]}
    said = [_say_slope(rows[dial]) for dial in dials if dial in rows and rows[dial]["slope"] is not None]
    if not said:
        return ()
    return (
        "Over the doses, in log-odds of cheating per unit of dose (a logistic model with tasks as clusters, corrected "
        f"for how few they are): {'; '.join(said)}.",
    )


def _say_slope(row: Row) -> str:
    slope = cite(say_estimate(read_estimate(row, "slope"), 1), row, "slope")
    said = f"{row['dial']} {slope}, p = {cite(say_p(read_number(row, 'p')), row, 'p')}"
    p, turn = read_number(row, "p_bend"), read_number(row, "turn")
    if not math.isfinite(p):
        return said
    bend = cite(say_p(p), row, "p_bend")
    if p >= 0.05:
        return f"{said}, with no sign of a bend (p = {bend})"
    where = (
        f" and turns round at dose {cite(say_number(turn), row, 'turn')}"
        if math.isfinite(turn)
        else " without turning round"
    )
    return f"{said}, but it bends (p = {bend}){where}"


def plate_doses(arms: Sequence[Arm]) -> Plate | None:
    """A panel per target and opponent; None if none has three doses."""
    dials = find_dials(arms, "target", "opponent")
    if not dials:
        return None
    controls = [arm for arm in arms if arm.group in CONTROLS and arm.primary and arm.condition != "none"]
    panels = Panels(
        tuple(Panel(dial, (*_mark_controls(controls), _draw_ladder(find_ladder(arms, dial)))) for dial in dials),
        x_axis="dose: added norm over the mean residual norm",
        y_axis="cheating",
        legend=(
            (MarkStyle("o", "accent"), "the dial, with 95% intervals"),
            *((style, name) for name, style in CONTROLS.items() if any(arm.group == name for arm in controls)),
        ),
    )
    shown = [arm for dial in dials for arm in find_ladder(arms, dial) if arm.condition != "none"]
    untouched = [arm for arm in [find_untouched(arms)] if arm]
    return Plate(
        "dose-response",
        "Cheating over the dose, with all controls",
        "Each panel is one dial turned up; dose 0 is the untouched arm. Hollow marks are the controls at their dose, "
        f"the same in every panel: {join_words(list(dict.fromkeys(arm.name for arm in controls)))}. Their intervals "
        f"stand in the figure above. Every line of the table below names its row in {TABLE}.",
        "Cheating rate against dose for every target and opponent, with decoys and random controls.",
        partial(draw_panels, panels),
        tabulate_doses([*untouched, *shown, *controls]),
    )


def _draw_ladder(ladder: Sequence[Arm]) -> Line:
    doses = tuple(arm.dose for arm in ladder)
    return Line("dial", doses, tuple(arm.rate for arm in ladder), MarkStyle("o", "accent"))


def _mark_controls(controls: Sequence[Arm]) -> list[Line]:
    return [Line(arm.name, (arm.dose,), (Estimate(arm.rate.value),), CONTROLS[arm.group]) for arm in controls]


def tabulate_doses(arms: Sequence[Arm]) -> TextTable:
    """Every arm with its dose in three units, what it did, what it cost, and the row that this stands in."""
    heads = ("arm", "dose", "of own maximum", "KL", "episodes", "rate", "change, points", "solved", "coherent", "row")
    rows = tuple(
        (
            arm.name,
            f"{arm.dose:g}",
            _say_known(arm, "dose_of_max", 2),
            _say_known(arm, "kl", 3),
            cite(str(arm.n), arm.row, "n"),
            cite(say_rate(arm.rate), arm.row, "rate"),
            "–" if arm.condition == "none" else cite(say_points(arm.delta), arm.row, "delta"),
            cite(say_rate(read_estimate(arm.row, "solved")), arm.row, "solved")
            if arm.row["solved"] is not None
            else "–",
            "–" if arm.row["coherence"] is None else cite(say_share(arm.row["coherence"]), arm.row, "coherence"),
            name_row(arm),
        )
        for arm in arms
    )
    return TextTable(heads, rows, frozenset(range(1, 9)))


def _say_known(arm: Arm, column: str, digits: int) -> str:
    value = read_number(arm.row, column)
    return cite(say_number(value, digits), arm.row, column) if math.isfinite(value) else "–"
