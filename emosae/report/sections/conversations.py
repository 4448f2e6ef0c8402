"""What the model holds when it opens its turn in a conversation, how that follows a dose, and what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.citing import cite
from emosae.report.content import Exchange, Plate, Section, TextTable
from emosae.report.estimates import average
from emosae.report.figures import Heat, Line, MarkStyle, Panel, Panels, draw_heatmap, draw_panels
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.sections.conversation_tests import (
    list_test_plates,
    list_test_tables,
    say_shuffled,
    say_trends,
    say_whose,
)
from emosae.report.wording import join_words, say_count, say_estimate, say_number

NAME, TITLE = "conversations", "What conversations bring up"
OPENING, REPLY = "at_open_token", "over_reply"
PLACES = {OPENING: "as it opens its turn", REPLY: "over its reply"}
FULL_SHADE = 2.5
MOST_SETS = 4
FOIL = MarkStyle("s", "other", hollow=True)
Kind = tuple[str, str]


def write_conversations(data: ReportData) -> Section:
    """Kinds of conversation against emotions, the dose ladder, and a reply of each kind."""
    reads = read_rows(data.reads)
    if not reads:
        return Section(NAME, TITLE, "No conversations were read.")
    ladder = dose_emotion(reads)
    return Section(
        NAME,
        TITLE,
        f"{_say_ranks(data)}{_say_dose(data, ladder)}.",
        paragraphs=(
            "Features are read twice: at the token that opens the assistant's turn, before it has said anything, and "
            "on average over its reply. The features are the ones chosen on stories; nothing was chosen here.",
            *filter(None, (say_shuffled(data), say_trends(data), say_whose(data))),
        ),
        plates=(
            _plate_kinds(reads),
            *([_plate_doses(reads, ladder)] if ladder else []),
            *list_test_plates(data),
        ),
        folded=list_test_tables(data),
        exchanges=_pick_replies(data),
    )


def dose_emotion(reads: Sequence[Row]) -> str:
    """The emotion that is expected at the top of a ladder of doses and has a feature; empty if there is no ladder."""
    rungs = [row for row in reads if row["dose"] is not None and row["emotion"] == row["expected"]]
    return str(max(rungs, key=lambda row: row["dose"])["expected"]) if rungs else ""


def _say_ranks(data: ReportData) -> str:
    ranked = [row for row in data.rows("ranks") if row["rank"] is not None]
    ranks = [row for row in ranked if row["place"] == OPENING]
    if not ranks:
        return "None of the expected emotions has a feature to read"
    first, later = (sum(row["rank"] == 1 for row in ranked if row["place"] == place) for place in (OPENING, REPLY))
    missed = [f"{row['kind']} ({row['first']} before {row['expected']})" for row in ranks if row["rank"] != 1]
    opening = (
        f"As the assistant's turn opens, the expected emotion comes first for {first} of "
        f"{say_count(len(ranks), 'kind')} of conversation"
    )
    if missed and len(missed) <= 4:
        opening = f"{opening}, not for {join_words(missed)}"
    return f"{opening}; over the reply it comes first for {later}"


def _say_dose(data: ReportData, emotion: str) -> str:
    rows = [row for row in data.rows("doses") if row["emotion"] == emotion]
    rows = [row for row in rows if math.isfinite(read_number(row, "spearman"))]
    for place, where in ((OPENING, "there"), (REPLY, "over the reply")):
        here = sorted((row for row in rows if row["place"] == place), key=lambda row: -read_number(row, "spearman"))
        if here:
            said = [f"{_cite_correlation(row)} for {row['kind']}" for row in here]
            ends = [read_estimate(row, "spearman") for row in here]
            overlap = len(ends) > 1 and max(one.lo for one in ends) <= min(one.hi for one in ends)
            differ = ", whose intervals overlap" if overlap else ""
            return f"; the rank correlation of {emotion} with the dose {where} is {join_words(said)}{differ}"
    return ""


def _cite_correlation(row: Row) -> str:
    return cite(say_estimate(read_estimate(row, "spearman")), row, "spearman")


def _kinds(reads: Sequence[Row]) -> list[Kind]:
    return sorted({(str(row["kind"]), str(row["expected"])) for row in reads})


def standardise_kinds(reads: Sequence[Row], place: str) -> tuple[list[Kind], list[str], np.ndarray]:
    """Mean read of every kind (with its expected emotion) and emotion, in SDs of the emotion over all conversations."""
    kinds, emotions = _kinds(reads), sorted({str(row["emotion"]) for row in reads})
    table = np.full((len(kinds), len(emotions)), np.nan)
    for column, emotion in enumerate(emotions):
        rows = [row for row in reads if row["emotion"] == emotion and math.isfinite(read_number(row, place))]
        values = np.array([row[place] for row in rows], dtype=np.float64)
        spread = float(values.std()) if len(values) else 0.0
        for at, kind in enumerate(kinds):
            mine = [row[place] for row in rows if (row["kind"], row["expected"]) == kind]
            if mine:
                table[at, column] = (np.mean(mine) - values.mean()) / spread if spread > 0 else 0.0
    return kinds, emotions, table


def _name_kinds(kinds: Sequence[Kind]) -> tuple[str, ...]:
    names = [kind for kind, _ in kinds]
    return tuple(f"{kind}, {expected}" if names.count(kind) > 1 else kind for kind, expected in kinds)


def _plate_kinds(reads: Sequence[Row]) -> Plate:
    kinds, emotions, table = standardise_kinds(reads, OPENING)
    names = tuple(name.replace("_", " ") for name in _name_kinds(kinds))
    framed = frozenset((at, emotions.index(want)) for at, (_, want) in enumerate(kinds) if want in emotions)
    heat = Heat(
        rows=names,
        columns=tuple(emotions),
        shades=table / FULL_SHADE,
        texts=tuple(tuple(_say_cell(value) for value in row) for row in table),
        outlined=framed,
        low="mean of all conversations",
        high=f"+{FULL_SHADE:g} SD",
        outline="expected",
    )
    heads = ("kind", "expected", "strongest", "in SD", "expected emotion, in SD")
    rows = tuple(
        (kind.replace("_", " "), want, *_strongest(emotions, table[at]), _value_of(emotions, table[at], want))
        for at, (kind, want) in enumerate(kinds)
    )
    return Plate(
        "kinds",
        "Emotion features as the assistant's turn opens",
        "Mean activation of each emotion's feature at the token that opens the turn, in standard deviations over all "
        "conversations. Orange shades are below the mean.",
        "Heatmap of emotion features by kind of conversation.",
        partial(draw_heatmap, heat),
        TextTable(heads, rows, frozenset({3, 4})),
    )


def _say_cell(value: float) -> str:
    return say_number(value, 1) if math.isfinite(value) and abs(value) >= 0.5 else ""


def _strongest(emotions: Sequence[str], row: np.ndarray) -> tuple[str, str]:
    if not (row > 0).any():
        return "none is above its mean", "–"
    best = int(np.nanargmax(row))
    return emotions[best], say_number(float(row[best]))


def _value_of(emotions: Sequence[str], row: np.ndarray, emotion: str) -> str:
    return say_number(float(row[list(emotions).index(emotion)])) if emotion in emotions else "no feature"


def _plate_doses(reads: Sequence[Row], emotion: str) -> Plate:
    rungs = [row for row in reads if row["dose"] is not None and row["emotion"] == emotion]
    kinds = sorted({row["kind"] for row in rungs}, key=lambda kind: -_expected_share(rungs, kind, emotion))
    sets = sorted({(row["sae"], tuple(row["feature_idx"])) for row in rungs})[:MOST_SETS]
    panels, rows = [], []
    for sae, feature_idx in sets:
        for place, where in PLACES.items():
            mine = [row for row in rungs if row["sae"] == sae and tuple(row["feature_idx"]) == feature_idx]
            lines = tuple(_dose_line(mine, kind, place, kind == kinds[0]) for kind in kinds)
            name = f"{sae} #{'+'.join(map(str, feature_idx))}"
            panels.append(Panel(where if len(sets) == 1 else f"{name}, {where}", lines))
            rows += [
                (name, line.name, where, f"{dose:g}", say_estimate(point, 3))
                for line in lines
                for dose, point in zip(line.x, line.points, strict=True)
            ]
    legend = tuple(
        (MarkStyle("o", "accent") if kind == kinds[0] else FOIL, str(kind).replace("_", " ")) for kind in kinds
    )
    return Plate(
        "doses",
        f"The {emotion} feature against the dose",
        "Mean activation by dose with 95% intervals over conversations, before and during the reply. Harmless items in "
        "the same doses and sentences are the foil, if they were read.",
        f"Activation of the {emotion} feature by dose.",
        partial(
            draw_panels,
            Panels(
                tuple(panels), "dose", "mean activation", log_x=min(row["dose"] for row in rungs) > 0, legend=legend
            ),
        ),
        TextTable(("feature", "kind", "read", "dose", "mean activation"), tuple(rows), frozenset({3, 4})),
    )


def _expected_share(rungs: Sequence[Row], kind: str, emotion: str) -> float:
    mine = [row for row in rungs if row["kind"] == kind]
    return sum(row["expected"] == emotion for row in mine) / len(mine)


def _dose_line(rows: Sequence[Row], kind: str, place: str, is_main: bool) -> Line:
    mine = [row for row in rows if row["kind"] == kind and math.isfinite(read_number(row, place))]
    doses = sorted({float(row["dose"]) for row in mine})
    points = tuple(average([row[place] for row in mine if row["dose"] == dose]) for dose in doses)
    return Line(str(kind), tuple(doses), points, MarkStyle("o", "accent") if is_main else FOIL)


def _pick_replies(data: ReportData) -> tuple[Exchange, ...]:
    """The first conversation of every kind; of a ladder, its lowest, middle and highest rung."""
    replies = read_rows(data.replies)
    chosen: list[Row] = []
    for kind in sorted({str(row["kind"]) for row in replies}):
        mine = [row for row in replies if row["kind"] == kind]
        doses = sorted({row["dose"] for row in mine if row["dose"] is not None})
        rungs = [doses[at] for at in sorted({0, len(doses) // 2, len(doses) - 1})] if doses else [None]
        chosen += [next(row for row in mine if row["dose"] == rung) for rung in rungs]
    return tuple(Exchange(_head(row), str(row["text"] or ""), "", str(row["reply"] or "")) for row in chosen)


def _head(row: Row) -> str:
    dose = "" if row["dose"] is None else f", dose {row['dose']:,.0f}"
    return f"{str(row['kind']).replace('_', ' ')}{dose} (expected: {row['expected']})"
