"""What stands behind the reads of conversations: shuffled labels, trends, foils, messages, and whose emotion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.citing import cite
from emosae.report.content import Plate, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, Heat, MarkStyle, draw_forest, draw_heatmap
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.sections.messages import FULL_SHADE, plate_messages
from emosae.report.wording import say_count, say_estimate, say_number, say_p, say_plainly

OPENING, REPLY = "at_open_token", "over_reply"
PLACES = {OPENING: "as the turn opens", REPLY: "over the reply"}
ROLES = {"user": "the user's", "assistant": "the assistant's", "third": "a third character's"}
WORDS_OF = {
    "user": "words of the user",
    "assistant": "words of the assistant",
    "third": "words about the third",
}


def say_shuffled(data: ReportData) -> str:
    """How well the expected emotion is told, against exchanged labels; empty if it was not tested."""
    said = [
        f"{where} the expected emotion has mean rank {cite(say_estimate(_rank(row), 1), row, 'mean_rank')} of "
        f"{row['n_emotions']} ({_cite_number(row, 'mean_rank_null', 1)} with shuffled labels, "
        f"p {_cite_p(row, 'p_rank')})"
        for row in data.rows("shuffled")
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
    rows = [row for row in data.rows("trends") if row["direction"] and row["place"] == REPLY]
    known = [row for row in rows if math.isfinite(read_number(row, "p_holm"))]
    if not known:
        return ""
    passed = [row for row in known if read_number(row, "p_holm") < 0.05]
    shown = max(known, key=lambda row: abs(read_number(row, "rho")))
    rho = cite(say_estimate(read_estimate(shown, "rho")), shown, "rho")
    return (
        f"Of {say_count(len(known), 'trend')} that the file foretells over a ladder of doses, {len(passed)} hold over "
        f"the reply within ladders (Page's test, Holm's correction); the strongest is {shown['emotion']} for "
        f"{say_plainly(shown['kind'])}, mean rank correlation {rho}."
    )


def say_whose(data: ReportData) -> str:
    """One sentence on whose emotion the features follow; empty if it was not read."""
    cells = {(row["tokens"], row["whose"]): row for row in data.rows("whose")}
    own = [cells[name] for name in (("user", "user"), ("assistant", "assistant")) if name in cells]
    other = [cells[name] for name in (("assistant", "user"), ("user", "assistant")) if name in cells]
    third = [cells[name] for name in (("user", "third"), ("assistant", "third")) if name in cells]
    if not (own and other and third) or any(not math.isfinite(read_number(row, "effect")) for row in own):
        return ""
    first, second = map(_cite_effect, own)
    return (
        f"At the words of the user a feature stands {first} SD higher where the user has its emotion, at the words of "
        f"the assistant {second} SD where the assistant has it; where only the other of the two has it "
        f"{' and '.join(map(_cite_effect, other))} SD, and where a third character has it "
        f"{' and '.join(map(_cite_effect, third))} SD."
    )


def _effect(row: Row) -> Estimate:
    return read_estimate(row, "effect", "lo", "hi")


def _cite_effect(row: Row) -> str:
    return cite(say_estimate(_effect(row)), row, "effect")


def _cite_number(row: Row, name: str, digits: int = 2) -> str:
    return cite(say_number(read_number(row, name), digits), row, name)


def _cite_p(row: Row, name: str) -> str:
    return "–" if row[name] is None else cite(say_p(read_number(row, name)), row, name)


def list_test_tables(data: ReportData) -> tuple[tuple[str, TextTable], ...]:
    """The tests' numbers, folded; those that were not made are left out."""
    shuffled = tuple(
        (
            say_plainly(row["kind"]),
            PLACES[row["place"]],
            cite(str(row["n"]), row, "n"),
            cite(say_estimate(_rank(row), 1), row, "mean_rank"),
            _cite_number(row, "mean_rank_null", 1),
            cite(say_estimate(read_estimate(row, "first")), row, "first"),
            _cite_number(row, "first_null"),
            _cite_p(row, "p_rank"),
        )
        for row in data.rows("shuffled")
    )
    trends = tuple(
        (
            say_plainly(row["kind"]),
            row["emotion"],
            PLACES[row["place"]],
            {1.0: "rise", -1.0: "fall"}.get(row["direction"], "–"),
            cite(str(row["n_ladders"]), row, "n_ladders"),
            cite(say_estimate(read_estimate(row, "rho")), row, "rho"),
            _cite_number(row, "z", 1),
            *(_cite_p(row, name) for name in ("p", "p_holm")),
        )
        for row in data.rows("trends")
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
    plates = (_plate_foils(data.rows("foils")), plate_messages(read_rows(data.messages)), _plate_whose(data))
    return tuple(plate for plate in plates if plate is not None)


def _plate_foils(rows: Sequence[Row]) -> Plate | None:
    shown = [row for row in rows if row["place"] == REPLY and math.isfinite(read_number(row, "difference"))]
    if not shown:
        return None
    groups: dict[str, list[ForestRow]] = {}
    for row in shown:
        estimate = read_estimate(row, "difference", "lo", "hi")
        style = MarkStyle("o", "accent" if row["matter"] else "other", hollow=not row["matter"])
        name = f"{say_plainly(row['variant'])} − {say_plainly(row['other'])}"
        mark = ForestRow(name, ((style, estimate),), (say_estimate(estimate),))
        groups.setdefault(f"{say_plainly(row['set'])}: {row['emotion']}", []).append(mark)
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
                say_plainly(row["set"]),
                row["emotion"],
                say_plainly(row["variant"]),
                say_plainly(row["other"]),
                PLACES[row["place"]],
                cite(str(row["n_items"]), row, "n_items"),
                cite(say_estimate(read_estimate(row, "difference", "lo", "hi")), row, "difference"),
                *(_cite_p(row, name) for name in ("p", "p_holm")),
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


def _plate_whose(data: ReportData) -> Plate | None:
    rows = data.rows("whose")
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
                _cite_effect(row),
                _cite_p(row, "p"),
                *(cite(str(row[name]), row, name) for name in ("n_emotions", "n_scenes")),
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
