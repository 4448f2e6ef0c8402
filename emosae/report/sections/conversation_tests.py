"""What stands behind the reads of conversations: shuffled labels, trends, foils, messages, and whose emotion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.content import Plate, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, Heat, MarkStyle, draw_forest, draw_heatmap
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.wording import say_count, say_estimate, say_number, say_p

OPENING, REPLY = "at_open_token", "over_reply"
PLACES = {OPENING: "as the turn opens", REPLY: "over the reply"}
FULL_SHADE = 2.5
MOST_ROWS, DRAWN_PARTS = 60, 5
ROLES = {"user": "the user's", "assistant": "the assistant's", "third": "a third character's"}
WORDS_OF = {
    "user": "words of the user",
    "assistant": "words of the assistant",
    "third": "words about the third",
}


def say_shuffled(data: ReportData) -> str:
    """How well the expected emotion is told, against exchanged labels; empty if it was not tested."""
    said = [
        f"{where} the expected emotion has mean rank {say_estimate(_rank(row), 1)} of {row['n_emotions']} "
        f"({say_number(read_number(row, 'mean_rank_null'), 1)} with shuffled labels, "
        f"p {say_p(read_number(row, 'p_rank'))})"
        for row in read_rows(data.shuffled)
        if row["kind"] == "all" and math.isfinite(read_number(row, "mean_rank"))
        for where in [PLACES[row["place"]]]
    ]
    if not said:
        return ""
    return f"Of single conversations off any ladder: {'; '.join(said)}."


def _rank(row: Row) -> Estimate:
    return read_estimate(row, "mean_rank")


def say_trends(data: ReportData) -> str:
    """The planned trends over doses, within ladders; empty if there are none."""
    rows = [row for row in read_rows(data.trends) if row["direction"] and row["place"] == REPLY]
    known = [row for row in rows if math.isfinite(read_number(row, "p_holm"))]
    if not known:
        return ""
    passed = [row for row in known if read_number(row, "p_holm") < 0.05]
    shown = max(known, key=lambda row: abs(read_number(row, "rho")))
    return (
        f"Of {say_count(len(known), 'trend')} that the file foretells over a ladder of doses, {len(passed)} hold over "
        f"the reply within ladders (Page's test, Holm's correction); the strongest is {shown['emotion']} for "
        f"{_plain(shown['kind'])}, mean rank correlation {say_estimate(read_estimate(shown, 'rho'))}."
    )


def say_whose(data: ReportData) -> str:
    """One sentence on whose emotion the features follow; empty if it was not read."""
    cells = {(row["tokens"], row["whose"]): row for row in read_rows(data.whose)}
    own = [cells[name] for name in (("user", "user"), ("assistant", "assistant")) if name in cells]
    other = [cells[name] for name in (("assistant", "user"), ("user", "assistant")) if name in cells]
    third = [cells[name] for name in (("user", "third"), ("assistant", "third")) if name in cells]
    if not (own and other and third) or any(not math.isfinite(read_number(row, "effect")) for row in own):
        return ""
    first, second = (say_estimate(_effect(row)) for row in own)
    return (
        f"At the words of the user a feature stands {first} SD higher where the user has its emotion, at the words of "
        f"the assistant {second} SD where the assistant has it; where only the other of the two has it "
        f"{' and '.join(say_estimate(_effect(row)) for row in other)} SD, and where a third character has it "
        f"{' and '.join(say_estimate(_effect(row)) for row in third)} SD."
    )


def _effect(row: Row) -> Estimate:
    return read_estimate(row, "effect", "lo", "hi")


def list_test_tables(data: ReportData) -> tuple[tuple[str, TextTable], ...]:
    """The tests' numbers, folded; those that were not made are left out."""
    shuffled = tuple(
        (
            _plain(row["kind"]),
            PLACES[row["place"]],
            str(row["n"]),
            say_estimate(_rank(row), 1),
            say_number(read_number(row, "mean_rank_null"), 1),
            say_estimate(read_estimate(row, "first")),
            say_number(read_number(row, "first_null")),
            say_p(read_number(row, "p_rank")),
        )
        for row in read_rows(data.shuffled)
    )
    trends = tuple(
        (
            _plain(row["kind"]),
            row["emotion"],
            PLACES[row["place"]],
            {1.0: "rise", -1.0: "fall"}.get(row["direction"], "–"),
            str(row["n_ladders"]),
            say_estimate(read_estimate(row, "rho")),
            say_number(read_number(row, "z"), 1),
            say_p(read_number(row, "p")),
            say_p(read_number(row, "p_holm")) if row["p_holm"] is not None else "–",
        )
        for row in read_rows(data.trends)
        if math.isfinite(read_number(row, "rho"))
    )
    heads = ("kind", "read", "n", "mean rank", "shuffled", "first", "shuffled", "p")
    trend_heads = ("kind", "emotion", "read", "foretold", "ladders", "rank correlation", "z", "p", "p, Holm")
    return (
        *(
            (("The expected emotion against shuffled labels", TextTable(heads, shuffled, frozenset(range(2, 8)))),)
            if shuffled
            else ()
        ),
        *((("Trends over the dose", TextTable(trend_heads, trends, frozenset(range(4, 9)))),) if trends else ()),
    )


def list_test_plates(data: ReportData) -> tuple[Plate, ...]:
    """Foils, messages, and whose emotion, as far as they were read."""
    plates = (_plate_foils(read_rows(data.foils)), _plate_messages(read_rows(data.messages)), _plate_whose(data))
    return tuple(plate for plate in plates if plate is not None)


def _plate_foils(rows: Sequence[Row]) -> Plate | None:
    shown = [row for row in rows if row["place"] == REPLY and math.isfinite(read_number(row, "difference"))]
    if not shown:
        return None
    groups: dict[str, list[ForestRow]] = {}
    for row in shown:
        estimate = read_estimate(row, "difference", "lo", "hi")
        style = MarkStyle("o", "accent" if row["matter"] else "other", hollow=not row["matter"])
        name = f"{_plain(row['variant'])} − {_plain(row['other'])}"
        mark = ForestRow(name, ((style, estimate),), (say_estimate(estimate),))
        groups.setdefault(f"{_plain(row['set'])}: {row['emotion']}", []).append(mark)
    ends = [value for row in shown for end in ("lo", "hi") if math.isfinite(value := read_number(row, end))]
    ends += [read_number(row, "difference") for row in shown]
    forest = Forest(
        tuple((heading, tuple(marks)) for heading, marks in groups.items()),
        "difference over the reply, in SD",
        (min(-0.5, *ends) - 0.1, max(0.5, *ends) + 0.1),
        ("difference",),
        0.0,
        legend=(
            (MarkStyle("o", "accent"), "another emotion is expected"),
            (MarkStyle("o", "other", hollow=True), "the same is expected"),
        ),
    )
    table = TextTable(
        ("set", "emotion", "variant", "other", "read", "items", "difference, SD", "p", "p, Holm"),
        tuple(
            (
                _plain(row["set"]),
                row["emotion"],
                _plain(row["variant"]),
                _plain(row["other"]),
                PLACES[row["place"]],
                str(row["n_items"]),
                say_estimate(read_estimate(row, "difference", "lo", "hi")),
                say_p(read_number(row, "p")),
                say_p(read_number(row, "p_holm")) if row["p_holm"] is not None else "–",
            )
            for row in rows
        ),
        frozenset({5, 6, 7, 8}),
    )
    return Plate(
        "foils",
        "The matter or the words",
        "Differences between matched variants of the same items over the reply, with 95% intervals over items, in "
        "standard deviations over all conversations. A feature that follows the matter is above 0 in filled marks, "
        "also where the words of the foil point the other way; hollow marks show what the wording alone does.",
        "Forest plot of differences between matched conversations.",
        partial(draw_forest, forest),
        table,
    )


def _plate_messages(rows: Sequence[Row]) -> Plate | None:
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
            _plain(first["kind"]),
            _plain(str(first["part"])),
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
    return _plain(row["kind"]) if row["part"] == "user" else part


def _strongest(cells: dict[str, Row]) -> tuple[str, str]:
    known = {name: value for name, row in cells.items() if math.isfinite(value := read_number(row, "score"))}
    if not known:
        return "–", "–"
    best = max(known, key=known.__getitem__)
    return best, say_number(known[best])


def _plate_whose(data: ReportData) -> Plate | None:
    rows = read_rows(data.whose)
    cells = {(row["tokens"], row["whose"]): row for row in rows if not row["contrast"]}
    if not cells:
        return None
    effects = np.array([[read_number(cells.get((at, one), {}), "effect") for one in ROLES] for at in WORDS_OF])
    heat = Heat(
        rows=tuple(WORDS_OF.values()),
        columns=tuple(ROLES.values()),
        shades=effects / FULL_SHADE,
        texts=tuple(tuple(say_number(value, 1) if math.isfinite(value) else "" for value in line) for line in effects),
        outlined=frozenset({(0, 0), (1, 1), (2, 2)}),
        low="no difference",
        high=f"+{FULL_SHADE:g} SD",
        outline="own words",
    )
    table = TextTable(
        ("words", "whose emotion", "effect, SD", "p", "emotions", "dialogues"),
        tuple(
            (
                WORDS_OF[row["tokens"]],
                ROLES.get(str(row["whose"]), str(row["whose"])),
                say_estimate(_effect(row)),
                say_p(read_number(row, "p")),
                str(row["n_emotions"]),
                str(row["n_scenes"]),
            )
            for row in rows
        ),
        frozenset({2, 3, 4, 5}),
    )
    return Plate(
        "whose",
        "Whose emotion",
        "Dialogues in which user, assistant and a third character feel differently, every combination as often. How "
        "much higher a feature stands where one of them has its emotion than where nobody has, in standard deviations; "
        "intervals in the table are over emotions. Before the assistant speaks, its emotion cannot show.",
        "Heatmap of whose emotion features follow at whose words.",
        partial(draw_heatmap, heat),
        table,
    )


def _plain(name: object) -> str:
    return str(name).replace("_", " ")
