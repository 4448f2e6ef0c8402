"""What the features do over the attempts, with failures told and without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import (
    Estimate,
    Forest,
    ForestRow,
    Line,
    MarkStyle,
    Panel,
    Panels,
    draw_forest,
    draw_panels,
)
from emosae.report.records import ReportData, Row, read_estimate, read_number
from emosae.report.wording import join_words, say_count, say_estimate, say_number, start_sentence

NAME, TITLE = "trajectory", "Features over the attempts, with failures and without"
MOST_PANELS = 4
LINES = (
    ("failures", "dial", "the feature, failures told", MarkStyle("o", "accent")),
    ("no failures", "dial", "the feature, no failures told", MarkStyle("o", "accent", True)),
    ("failures", "matched", "features that fire as often, failures told", MarkStyle("s", "other")),
    ("no failures", "matched", "features that fire as often, no failures told", MarkStyle("s", "other", True)),
)
SLOPES = (
    ("rise", "failures", "failures told"),
    ("rise", "no failures", "no failures told"),
    ("excess", "difference", "difference of the two"),
)


def write_trajectory(data: ReportData) -> Section | None:
    """Levels, rises and what news of success does; None if no loops were played."""
    rows = data.rows("trajectory")
    if not rows:
        return None
    dials = list(dict.fromkeys(str(row["dial"]) for row in rows))
    return Section(
        NAME,
        TITLE,
        _say_rise(rows, dials[0]),
        paragraphs=(
            "Only episodes that keep failing reach late attempts, so the rise is the slope within each episode, "
            "averaged, in activation per attempt. The same slope of random features that fire at as many tokens of "
            "first thoughts and are selective for no emotion is subtracted. In the loop without failures the "
            "first attempts are the same, and then the request is put again word for word, with nothing said of the "
            "tests. Intervals are over tasks.",
            *_say_relief(rows, dials[0]),
        ),
        plates=(_plate_levels(rows, dials[:MOST_PANELS]), _plate_slopes(rows, dials)),
    )


def _find(rows: Sequence[Row], dial: str, quantity: str, loop: str = "failures", features: str = "") -> Row | None:
    return next(
        (
            row
            for row in rows
            if (row["dial"], row["quantity"], row["loop"]) == (dial, quantity, loop)
            and features in ("", row["features"])
        ),
        None,
    )


def _read(row: Row | None) -> Estimate:
    return read_estimate(row, "mean", "lo", "hi") if row else Estimate(math.nan)


def _say_rise(rows: Sequence[Row], dial: str) -> str:
    row = _find(rows, dial, "rise")
    if row is None or not row["n"]:
        return f"No rise of {dial} could be measured: no episode had two attempts, or no feature matches it."
    beyond = _find(rows, dial, "excess", "difference")
    rise, excess = _read(row), _read(beyond)
    verb = "rises by" if rise.lo > 0 else "falls by" if rise.hi < 0 else "is not shown to rise: it changes by"
    shown = "more than" if excess.lo > 0 else "less than" if excess.hi < 0 else "not shown to differ from"
    return (
        f"Beyond features that fire as often, {dial} {verb} {_cite(row)} per attempt over failures "
        f"({say_count(row['n'], 'episode')}), {shown} the loop without failures (difference {_cite(beyond)})."
    )


def _say_relief(rows: Sequence[Row], dial: str) -> tuple[str, ...]:
    drop, relief = _find(rows, dial, "drop", features="dial"), _find(rows, dial, "relief", features="dial")
    if drop is None or relief is None or not drop["n"]:
        return ()
    before, after = (_cite(_find(rows, dial, name, features="dial")) for name in ("before", "after"))
    beyond = _cite(_find(rows, dial, "relief", features="dial minus matched"))
    return (
        f"{start_sentence(say_count(drop['n'], 'episode'))} passed the tests after a failure, mostly by a cheat. From "
        f"the thought of that attempt ({before}) to that of a turn behind the news that the tests pass "
        f"({after}), {dial} drops by {_cite(drop)}. Thoughts before a cheat are not any "
        "thoughts, so part of that is a return to the usual. Against the same turn behind the last failure told again, "
        f"good news lowers it by {_cite(relief)}, beyond matched features by {beyond}.",
    )


def _plate_levels(rows: Sequence[Row], dials: Sequence[str]) -> Plate:
    levels = [row for row in rows if row["quantity"] == "level" and row["dial"] in dials]
    panels = Panels(
        tuple(Panel(dial, _draw_lines(levels, dial), _count_at_risk(levels, dial)) for dial in dials),
        x_axis="attempt",
        y_axis="mean activation over the thought",
        count_name="at risk",
        legend=tuple((style, name) for _, _, name, style in LINES),
    )
    texts = tuple(
        (
            str(row["dial"]),
            str(row["features"]),
            str(row["loop"]),
            str(row["attempt"]),
            cite(str(row["n"]), row, "n"),
            _cite(row),
        )
        for row in levels
    )
    return Plate(
        "trajectory",
        "Activation by attempt",
        "Mean activation over the tokens of each attempt's thought, with 95% intervals over tasks. Under the axis: "
        "episodes still at risk where failures are told. Means of different attempts are of different episodes.",
        "Mean activation of each dial and of matched features by attempt, with failures told and without.",
        partial(draw_panels, panels),
        TextTable(("dial", "features", "loop", "attempt", "episodes", "mean"), texts, frozenset({3, 4, 5})),
    )


def _draw_lines(levels: Sequence[Row], dial: str) -> tuple[Line, ...]:
    lines = []
    for loop, features, name, style in LINES:
        own = [row for row in levels if (row["dial"], row["loop"], row["features"]) == (dial, loop, features)]
        if own:
            lines.append(Line(name, tuple(float(row["attempt"]) for row in own), tuple(map(_read, own)), style))
    return tuple(lines)


def _count_at_risk(levels: Sequence[Row], dial: str) -> dict[float, int]:
    own = [row for row in levels if (row["dial"], row["loop"], row["features"]) == (dial, "failures", "dial")]
    return {float(row["attempt"]): int(row["n"]) for row in own}


def _plate_slopes(rows: Sequence[Row], dials: Sequence[str]) -> Plate:
    found = {(dial, heading): _find(rows, dial, kind, loop) for kind, loop, heading in SLOPES for dial in dials}
    groups = tuple(
        (heading, tuple(_draw_slope(dial, _read(found[dial, heading])) for dial in dials)) for _, _, heading in SLOPES
    )
    known = [_read(row) for row in found.values()]
    ends = [0.0, *(end for one in known for end in (one.value, one.lo, one.hi) if math.isfinite(end))]
    margin = 0.05 * (max(ends) - min(ends)) or 0.1
    limits = (min(ends) - margin, max(ends) + margin)
    texts = tuple(
        (dial, heading, cite(str(row["n"]), row, "n"), _cite(row), _cite_rank(row))
        for (dial, heading), row in found.items()
        if row is not None
    )
    return Plate(
        "rises",
        "Rise per attempt, beyond features that fire as often",
        "Slope within episodes less that of matched features, with 95% intervals over tasks. The rank in the table is "
        "the share of matched sets, the dial counted in, that rise as much.",
        f"Rise of each dial: {join_words([heading for _, _, heading in SLOPES])}.",
        partial(draw_forest, Forest(groups, "activation per attempt", limits, heads=("rise [95%]",), line=0.0)),
        TextTable(("dial", "loop", "episodes", "rise", "rank"), texts, frozenset({2, 3, 4})),
    )


def _draw_slope(dial: str, estimate: Estimate) -> ForestRow:
    return ForestRow(dial, ((MarkStyle("o", "accent"), estimate),), (say_estimate(estimate),))


def _cite(row: Row | None) -> str:
    said = say_estimate(_read(row))
    return said if row is None else cite(said, row, "mean")


def _cite_rank(row: Row) -> str:
    rank = read_number(row, "rank")
    return cite(say_number(rank), row, "rank") if math.isfinite(rank) else "-"
