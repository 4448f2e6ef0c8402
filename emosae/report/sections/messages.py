"""A conversation message by message: what features do at each part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.content import Plate, TextTable
from emosae.report.figures import Heat, draw_heatmap
from emosae.report.records import Row, read_number
from emosae.report.wording import say_number, say_plainly

FULL_SHADE = 2.5
MOST_ROWS, DRAWN_PARTS = 60, 5


def plate_messages(rows: Sequence[Row]) -> Plate | None:
    """Every emotion's feature over the parts of some conversations; None where none was read by parts."""
    if not rows:
        return None
    emotions = sorted({str(row["emotion"]) for row in rows})
    parts: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        parts.setdefault((str(row["conversation_id"]), int(row["number"])), {})[str(row["emotion"])] = row
    shown = _thin_parts(parts)
    scores = np.array(
        [[read_number(cells[one], "score") if one in cells else math.nan for one in emotions] for cells in shown]
    )
    firsts = [next(iter(cells.values())) for cells in shown]
    framed = frozenset(
        (at, emotions.index(str(row["expected"]))) for at, row in enumerate(firsts) if row["expected"] in emotions
    )
    heat = Heat(
        rows=tuple(_name_part(row) for row in firsts),
        columns=tuple(emotions),
        shades=scores / FULL_SHADE,
        outlined=framed,
        low="mean of all parts",
        high=f"+{FULL_SHADE:g} SD",
        outline="expected",
    )
    everything = tuple(
        (
            say_plainly(first["kind"]),
            say_plainly(str(first["part"])),
            str(first["text"]),
            *_strongest(cells),
            say_number(read_number(cells[expected], "score")) if (expected := str(first["expected"])) in cells else "–",
        )
        for cells in parts.values()
        for first in [next(iter(cells.values()))]
    )
    heads = ("kind", "part", "text", "strongest", "in SD", "expected, in SD")
    return Plate(
        "messages",
        "Message by message",
        "Mean activation of each emotion's feature over the user's message, at the token that opens the assistant's "
        "turn, and over the first sentences of the reply, for a conversation of a kind (the highest rung of a ladder); "
        "in standard deviations over all parts in the table below. Orange shades are below the mean.",
        "Heatmap of emotion features by part of a conversation.",
        partial(draw_heatmap, heat),
        TextTable(heads, everything, frozenset({4, 5})),
    )


def _thin_parts(parts: dict[tuple[str, int], dict[str, Row]]) -> list[dict[str, Row]]:
    """The last conversation shown of each kind, ladders first, with a few sentences each, while there is room.

    Of a ladder that is its highest rung.
    """
    last: dict[str, list[dict[str, Row]]] = {}
    for (_, number), cells in parts.items():
        own = last.setdefault(str(next(iter(cells.values()))["kind"]), [])
        if number == 0:
            own.clear()
        own.append(cells)
    ordered = sorted(last.values(), key=lambda own: next(iter(own[0].values()))["dose"] is None)
    return [cells for own in ordered for cells in own[:DRAWN_PARTS]][:MOST_ROWS]


def _name_part(row: Row) -> str:
    """The kind beside its first part only, so that parts of one conversation read as one block."""
    part = f"reply {row['number'] - 1}" if row["part"] == "reply" else str(row["part"])
    return say_plainly(row["kind"]) if row["part"] == "user" else part


def _strongest(cells: dict[str, Row]) -> tuple[str, str]:
    known = {name: value for name, row in cells.items() if math.isfinite(value := read_number(row, "score"))}
    if not known:
        return "–", "–"
    best = max(known, key=known.__getitem__)
    return best, say_number(known[best])
