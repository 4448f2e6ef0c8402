"""What was read and through which SAEs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Comparison, Measure, draw_comparison
from emosae.report.records import ReportData, Row, read_number, read_rows
from emosae.report.wording import join_words, say_count, say_number, say_share

NAME, TITLE = "saes", "How well the SAEs rebuild the model"


def write_saes(data: ReportData) -> Section:
    """Quality of every SAE on text that it was not trained on."""
    rows = read_rows(data.saes)
    if not rows:
        return Section(NAME, TITLE, "No SAE was opened, so nothing could be read.")
    return Section(
        NAME,
        TITLE,
        _say_quality(rows),
        paragraphs=(
            "An SAE writes each residual vector as a sum of a few of its features. What it does not rebuild stays out "
            "of every result below, and interventions carry that remainder through unchanged.",
        ),
        plates=(_draw_quality(rows),),
    )


def _say_quality(rows: Sequence[Row]) -> str:
    fvu = [value for value in (read_number(row, "fvu") for row in rows) if math.isfinite(value)]
    origins = [str(row.get("origin") or "given") for row in rows]
    kinds = join_words([f"{origins.count(kind)} {kind}" for kind in dict.fromkeys(origins)])
    opening = f"{say_count(len(rows), 'SAE')} ({kinds})"
    if not fvu:
        return f"{opening}; how well they rebuild the residual stream was not measured."
    verb = "leaves" if len(rows) == 1 else "leave"
    span = say_share(fvu[0]) if len(fvu) == 1 else f"{say_share(min(fvu))} to {say_share(max(fvu))}"
    return f"{opening} {verb} {span} of the residual stream's variance unexplained."


def _draw_quality(rows: Sequence[Row]) -> Plate:
    fvu, l0, dead = ([read_number(row, column) for row in rows] for column in ("fvu", "l0", "dead_fraction"))
    comparison = Comparison(
        tuple(str(row["name"]) for row in rows),
        (
            Measure("Unexplained", tuple(fvu), tuple(say_number(v, 3) for v in fvu), _limit(fvu, 0.1)),
            Measure("Per token", tuple(l0), tuple(say_number(v, 1) for v in l0), _limit(l0, 1.0)),
            Measure("Dead", tuple(dead), tuple(say_share(v) for v in dead), _limit(dead, 0.1)),
        ),
    )
    heads = ("SAE", "reads at", "kind", "features", "seed", "origin", "unexplained", "per token", "dead")
    table = TextTable(
        heads,
        tuple(
            (
                *(str(_known(row, c)) for c in ("name", "hook_name", "architecture", "d_sae", "seed", "origin")),
                say_number(read_number(row, "fvu"), 3),
                say_number(read_number(row, "l0"), 1),
                say_share(read_number(row, "dead_fraction")),
            )
            for row in rows
        ),
        frozenset({3, 4, 6, 7, 8}),
    )
    return Plate(
        "saes",
        "Quality of each SAE on held-out tokens",
        "Unexplained: squared error over squared distance from the mean; 0 is exact, 1 is no better than the mean. Per "
        "token: features that fire on a token, on average. Dead: features that fired on none of these tokens. Point "
        "values, without intervals: the tokens are too many for one to show.",
        "Bars of unexplained variance, active features per token and dead features for every SAE.",
        partial(draw_comparison, comparison),
        table,
    )


def _limit(values: list[float], least: float) -> float:
    return max([least, *(1.1 * value for value in values if math.isfinite(value))])


def _known(row: Row, column: str) -> object:
    value = row.get(column)
    return "–" if value is None else value
