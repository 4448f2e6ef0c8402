"""The calibration of dials, as a page and as a table for the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from emosae.report.content import Page, Plate, Section, TextTable
from emosae.report.figures import Estimate, Line, MarkStyle, Panel, Panels, draw_panels
from emosae.report.records import Row, read_rows
from emosae.scenarios.calibration import find_common_dose

if TYPE_CHECKING:
    import pyarrow as pa

_HEADS = ("emotion", "dose", "of maximum", "KL", "loss rise", "text gain", "well-formed", "coherent", "primary")
_MEASURES = (
    ("well_formed", "well-formed share", MarkStyle("o", "accent")),
    ("kl", "KL on neutral text, nats per token", MarkStyle("^", "up")),
)
_DIALS_PER_PLATE = 6


def format_calibration(table: pa.Table) -> str:
    """The table that the console prints, and one line for each dial."""
    rows = [_HEADS, *map(_write_row, read_rows(table))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], "", *_conclude(table)])


def build_page(table: pa.Table, *, model: str, synthetic: bool) -> Page:
    """What each dose does to text, dial by dial."""
    by_emotion = _group(table)
    groups = [list(by_emotion)[at : at + _DIALS_PER_PLATE] for at in range(0, len(by_emotion), _DIALS_PER_PLATE)]
    section = Section(
        name="doses",
        title="Doses",
        finding=" ".join(_conclude(table)),
        paragraphs=(
            "A dose is what a dial adds where its features are silent, over the mean length of a residual. With the "
            "dial up the model goes on from beginnings of tune stories. A continuation is well-formed if it is at most "
            "half a nat per token more surprising to the unedited model, and no more repetitive, than 95% of unedited "
            "ones.",
            "A dose is coherent if it keeps four fifths of the well-formed share of unedited text. The primary dose is "
            "the coherent one that raises the likelihood of the emotion's own tune stories most above that of others "
            "(text gain).",
        ),
        plates=tuple(_draw(at, {name: by_emotion[name] for name in names}) for at, names in enumerate(groups)),
        tables=(("All doses", TextTable(_HEADS, tuple(map(_write_row, read_rows(table))), frozenset(range(1, 7)))),),
    )
    return Page(
        title=f"Dials of {model}, calibrated",
        deck="How far each emotion dial can be turned before the text breaks, measured on tune stories only.",
        badge="synthetic" if synthetic else "",
        cautions=("Well-formed says that text looks like the model's own, not that it makes sense.",),
        notes=(),
        sections=(section,),
    )


def _group(table: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in read_rows(table):
        found.setdefault(row["emotion"], []).append(row)
    return found


def _conclude(table: pa.Table) -> list[str]:
    """A sentence for each dial, and one for all."""
    said = []
    for emotion, rows in _group(table).items():
        primary = next((row for row in rows if row["primary"]), None)
        if primary is None:
            said.append(f"{emotion}: no dose is coherent, none is fixed.")
            continue
        broken = min((row["dose"] for row in rows if not row["coherent"]), default=math.inf)
        last = max(row["dose"] for row in rows if row["dose"] < broken)
        said.append(f"{emotion}: coherent up to {last:.3g}, primary {primary['dose']:.3g} (KL {primary['kl']:.3g}).")
    common = find_common_dose(read_rows(table))
    said.append(
        "No dose is coherent for all."
        if common is None
        else f"All are coherent up to {common:.3g}; --scenarios.dose takes one for all."
    )
    return said


def _write_row(row: Row) -> tuple[str, ...]:
    numbers = (row["dose"], row["dose_of_max"], row["kl"], row["loss_rise"], row["text_gain"], row["well_formed"])
    shown = ("-" if number is None or math.isnan(number) else f"{number:.3g}" for number in numbers)
    return (row["emotion"], *shown, "yes" if row["coherent"] else "no", "primary" if row["primary"] else "")


def _draw(at: int, dials: dict[str, list[Row]]) -> Plate:
    panels = Panels(
        tuple(Panel(emotion, _lines(rows)) for emotion, rows in dials.items()),
        "dose (added norm over mean residual norm)",
        "share, or nats per token",
        legend=tuple((style, name) for _, name, style in _MEASURES),
    )
    rows = tuple(_write_row(row) for group in dials.values() for row in group)
    return Plate(
        name=f"dials-{at}",
        title=f"Dials {', '.join(dials)}",
        caption="Averages over continuations and over neutral tokens; they have no intervals.",
        alt=f"Well-formed share and KL over dose, for {', '.join(dials)}",
        draw=partial(draw_panels, panels),
        table=TextTable(_HEADS, rows, frozenset(range(1, 7))),
    )


def _lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    x = tuple(row["dose"] for row in rows)
    return tuple(
        Line(name, x, tuple(Estimate(row[measure]) for row in rows), style) for measure, name, style in _MEASURES
    )
