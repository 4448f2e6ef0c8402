"""What the assistant says: the tone of its replies, and what turned dials do to tone and to warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.records import ReportData, Row, read_estimate, read_number
from emosae.report.wording import join_words, say_estimate, say_p, say_points, say_rate, say_share

NAME, TITLE = "replies", "What replies sound like, and what dials do to them"
OUTCOMES = {"warned": "warns", "toned": "has the tone", "finished": "ended by itself", "surprise": "surprise, nats"}
GROUPS = {"expected": "conversations that expect it", "foil": "matched ones that do not"}


def write_replies(data: ReportData) -> Section | None:
    """Tone against shuffled labels, and arms of turned dials; None where conversations were not read."""
    tones, arms = data.rows("tones"), data.rows("turned")
    if not tones and not arms:
        return None
    return Section(
        NAME,
        TITLE,
        f"{_say_tone(tones)}{_say_turned(arms)}.",
        paragraphs=tuple(filter(None, (_say_grader(data), _say_surprise(arms)))),
        plates=tuple(plate for plate in (_plate_tones(tones), _plate_turned(arms)) if plate is not None),
        folded=_list_graders(data),
    )


def _last_part(rows: Sequence[Row]) -> list[Row]:
    """What is said, where a thought comes before it; else the whole reply."""
    said = [row for row in rows if row["part"] == "said"]
    return said or list(rows)


def _say_tone(rows: Sequence[Row]) -> str:
    row = next((one for one in _last_part(rows) if one["kind"] == "all"), None)
    if row is None or not math.isfinite(read_number(row, "share")):
        return "The tone of replies was not graded"
    return (
        f"{cite(say_rate(_share(row)), row, 'share')} of replies are graded with the expected tone, "
        f"{cite(say_share(read_number(row, 'share_null')), row, 'share_null')} with shuffled labels "
        f"(p {cite(say_p(read_number(row, 'p')), row, 'p')})"
    )


def _share(row: Row) -> Estimate:
    return read_estimate(row, "share", "lo", "hi")


def _say_turned(rows: Sequence[Row]) -> str:
    """The change of each target's own outcome with its dial up and down: warnings for fear, tone for the rest."""
    said = []
    for row in rows:
        is_turned = row["condition"] in ("up", "down") and (row["group"], row["role"]) == ("expected", "target")
        if is_turned and _is_main(row) and math.isfinite(read_number(row, "delta")):
            what = "warnings" if row["outcome"] == "warned" else f"{row['target']} tone"
            delta, gap = read_estimate(row, "delta"), read_estimate(row, "gap")
            verb = "raises" if delta.lo > 0 else "lowers" if delta.hi < 0 else "is not shown to change"
            change = f"{cite(say_points(delta), row, 'delta')} points"
            beyond = f", {cite(say_points(gap), row, 'gap')} against {_name_decoy(row, rows)}" if gap.known else ""
            said.append(f"{row['target']} {row['condition']} {verb} {what} ({change}{beyond})")
    return f"; {join_words(said)}" if said else ""


def _name_decoy(row: Row, rows: Sequence[Row]) -> str:
    """What an arm's gap is from: the first decoy turned the same way, which may have a dose of its own."""
    names = ("target", "group", "condition")
    decoy = next(one for one in rows if one["role"] == "decoy" and all(one[name] == row[name] for name in names))
    return "a decoy turned as far" if decoy["turned"] == row["turned"] else f"a decoy at dose {decoy['turned']:g}"


def _is_main(row: Row) -> bool:
    """Whether it is the outcome that a dial is turned for: warnings for fear, its own tone for any other."""
    return row["outcome"] == ("warned" if row["target"] == "afraid" else "toned")


def _say_grader(data: ReportData) -> str:
    row = next((one for one in data.rows("graders") if one["chosen"]), None)
    if row is None or not math.isfinite(read_number(row, "accuracy_confirm")):
        return ""
    accuracy = cite(say_rate(read_estimate(row, "accuracy_confirm")), row, "accuracy_confirm")
    return (
        f"Tone is named by a classifier that reads the reply alone ({row['grader']}) and was fitted on the stories of "
        f"discover and tune: it names the emotion of {accuracy} of the confirm stories, where chance is "
        f"{cite(say_share(read_number(row, 'chance')), row, 'chance')}. Replies are no stories, so it may do worse "
        "on them. Whether a reply warns is told by a list of phrases."
    )


def _say_surprise(rows: Sequence[Row]) -> str:
    known = [row for row in rows if row["outcome"] == "surprise" and math.isfinite(read_number(row, "delta"))]
    if not known:
        return ""
    worst = max(known, key=lambda row: read_number(row, "delta"))
    more = cite(say_estimate(read_estimate(worst, "delta")), worst, "delta")
    return (
        "A dial that breaks the text proves nothing: the arm that surprises the untouched model most is "
        f"{_name_arm(worst)} for {worst['target']}, by {more} nats per token more than with nothing done."
    )


def _name_arm(row: Row) -> str:
    return "nothing done" if row["condition"] == "none" else f"{row['dial']} {row['condition']}"


def _plate_tones(rows: Sequence[Row]) -> Plate | None:
    shown = [row for row in _last_part(rows) if math.isfinite(read_number(row, "share"))]
    if not shown:
        return None
    null = MarkStyle("|", "other")
    marks = tuple(
        ForestRow(
            str(row["kind"]).replace("_", " "),
            ((MarkStyle("o", "accent"), _share(row)), (null, Estimate(read_number(row, "share_null")))),
            (say_rate(_share(row)),),
        )
        for row in shown
    )
    forest = Forest(
        (("", marks),),
        "replies with the expected tone",
        (0.0, 1.0),
        ("share",),
        legend=((MarkStyle("o", "accent"), "replies"), (null, "with shuffled labels")),
        percent=True,
    )
    table = TextTable(
        ("part", "kind", "n", "expected tone", "shuffled", "p", "commonest"),
        tuple(
            (
                row["part"],
                str(row["kind"]).replace("_", " "),
                cite(str(row["n"]), row, "n"),
                cite(say_rate(_share(row)), row, "share"),
                cite(say_share(read_number(row, "share_null")), row, "share_null"),
                cite(say_p(read_number(row, "p")), row, "p"),
                row["commonest"] or "–",
            )
            for row in rows
        ),
        frozenset({2, 3, 4, 5}),
    )
    return Plate(
        "tones",
        "Tone of the replies",
        "Share of replies that the classifier grades with the expected emotion, with 95% intervals over items, beside "
        "the share with labels exchanged between conversations.",
        "Share of replies with the expected tone, by kind.",
        partial(draw_forest, forest),
        table,
    )


def _plate_turned(rows: Sequence[Row]) -> Plate | None:
    shown = [
        row for row in rows if _is_main(row) and row["role"] != "none" and math.isfinite(read_number(row, "delta"))
    ]
    if not shown:
        return None
    groups: dict[str, list[ForestRow]] = {}
    for row in shown:
        what = "warnings" if row["outcome"] == "warned" else "tone"
        style = MarkStyle("o", "accent" if row["role"] == "target" else "other", hollow=row["role"] != "target")
        delta = read_estimate(row, "delta")
        heading = f"{row['target']}: {what}, {GROUPS[row['group']]}"
        groups.setdefault(heading, []).append(ForestRow(_name_arm(row), ((style, delta),), (say_points(delta),)))
    ends = [value for row in shown for end in ("delta_lo", "delta_hi") if math.isfinite(value := read_number(row, end))]
    forest = Forest(
        tuple((heading, tuple(marks)) for heading, marks in groups.items()),
        "points from replies that nothing was done to",
        (min(-0.2, *ends), max(0.2, *ends)) if ends else (-1.0, 1.0),
        ("points",),
        0.0,
        legend=((MarkStyle("o", "accent"), "the dial"), (MarkStyle("o", "other", hollow=True), "a decoy")),
        percent=True,
    )
    return Plate(
        "turned",
        "Dials turned while it answers",
        "Paired change, on the same random numbers, of the share of replies that warn (fear) or have the dial's tone, "
        "with 95% intervals over items.",
        "Change of warnings and tone with dials turned.",
        partial(draw_forest, forest),
        _tabulate(rows),
    )


def _tabulate(rows: Sequence[Row]) -> TextTable:
    return TextTable(
        ("for", "conversations", "arm", "outcome", "n", "value", "change", "beyond the decoy", "p", "p, Holm"),
        tuple(
            (
                row["target"],
                GROUPS.get(str(row["group"]), str(row["group"])),
                _name_arm(row),
                OUTCOMES[row["outcome"]],
                cite(str(row["n"]), row, "n"),
                *(_cite_known(row, name) for name in ("value", "delta", "gap")),
                *(_cite_p(row, name) for name in ("p", "p_holm")),
            )
            for row in rows
        ),
        frozenset(range(4, 10)),
    )


def _cite_known(row: Row, name: str) -> str:
    return cite(say_estimate(read_estimate(row, name)), row, name) if row[name] is not None else "–"


def _cite_p(row: Row, name: str) -> str:
    return cite(say_p(read_number(row, name)), row, name) if row[name] is not None else "–"


def _list_graders(data: ReportData) -> tuple[tuple[str, TextTable], ...]:
    graders = tuple(
        (
            row["grader"],
            "yes" if row["chosen"] else "no",
            *(_cite_known(row, name) for name in ("accuracy_tune", "accuracy_confirm", "chance")),
        )
        for row in data.rows("graders")
    )
    heads = ("reads", "grades", "accuracy on tune", "on confirm", "chance")
    return (("Classifiers of tone", TextTable(heads, graders, frozenset({2, 3, 4}))),) if graders else ()
