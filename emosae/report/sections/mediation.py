"""How much of the cheating that failures bring about passes through the features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.records import ReportData, Row, read_estimate, read_number
from emosae.report.wording import join_words, say_count, say_points, say_rate, say_share

NAME, TITLE = "mediation", "What failures do through the features"
NO_SHARE = "nothing to share"
STYLES = {"target": MarkStyle("o", "accent")}


def write_mediation(data: ReportData) -> Section | None:
    """The share of failure-induced cheating that passes through the targets' features; None if nothing was held."""
    rows = data.rows("mediation")
    if not rows:
        return None
    targets = [row for row in rows if row["role"] == "target"]
    others = [row for row in rows if row["role"] != "target"]
    return Section(
        NAME,
        TITLE,
        _say_finding((targets or rows)[0]),
        paragraphs=(
            f"{say_count(rows[0]['n'], 'episode')} failed at the first attempt and went on; "
            f"{_cite_rate(rows[0], 'first')} of {rows[0]['n_first']} had cheated at once, and "
            f"{_cite_share(rows[0], 'later')} of all later attempts over failures were cheats. Each goes on "
            "from that same attempt with failures told, and with the request put again and nothing said of the tests. "
            "What failures bring about is the difference of the shares that cheat at any later attempt. It is measured "
            "again with features held, from the second attempt on, at their own mean over the first thought of the "
            "same episode. They are held in both loops, so that what holding does by itself cancels. What is gone "
            "passed through the features.",
            *_say_controls(targets, others),
        ),
        plates=(_plate_effects(rows),),
    )


def _say_finding(row: Row) -> str:
    rates = (
        f"{_cite_share(row, 'rate_failures')} of {say_count(row['n'], 'episode')} cheat later if failures "
        f"are told and {_cite_share(row, 'rate_none')} if not, a difference of {_cite_points(row, 'total')} points"
    )
    if row["share"] is None:
        return f"There is no failure-induced cheating to mediate: {rates}."
    return (
        f"Failures bring cheating about: {rates}. {_cite_rate(row, 'share')} of it passes through the "
        f"features of {row['features']} ({_cite_points(row, 'mediated')} points)."
    )


def _say_controls(targets: Sequence[Row], others: Sequence[Row]) -> tuple[str, ...]:
    if not targets or not others:
        return ()
    said = [f"{row['features']} {_cite_points(row, 'beyond')}" for row in others]
    return (
        f"Held in the same way, decoys and matched random features are the controls. In points, the features of "
        f"{targets[0]['features']} mediate more than them by: {join_words(said)}.",
    )


def _plate_effects(rows: Sequence[Row]) -> Plate:
    total = read_estimate(rows[0], "total")
    nothing = ForestRow("nothing held", ((MarkStyle("o", "ink"), total),), (say_points(total),))
    groups = (
        ("What failures bring about", (nothing, *(_draw(row, "direct") for row in rows))),
        ("What passes through the features", tuple(_draw(row, "mediated") for row in rows)),
    )
    estimates = [total, *(read_estimate(row, name) for row in rows for name in ("direct", "mediated"))]
    ends = [end for one in estimates for end in (one.value, one.lo, one.hi)]
    forest = Forest(
        groups,
        "percentage points of cheating",
        (min(-0.1, *ends) - 0.03, max(0.1, *ends) + 0.03),
        heads=("points [95%]",),
        line=0.0,
        percent=True,
    )
    texts = tuple(
        (
            str(row["features"]),
            str(row["role"]),
            *(_cite_share(row, name) for name in ("held_failures", "held_none")),
            *(_cite_points(row, name) for name in ("total", "direct", "mediated")),
            NO_SHARE if row["share"] is None else _cite_rate(row, "share"),
            _cite_points(row, "beyond") if read_estimate(row, "beyond").known else "-",
        )
        for row in rows
    )
    heads = ("held", "role", "failures", "no failures", "total", "left", "mediated", "share", "target beyond it")
    return Plate(
        "mediation",
        "Failure-induced cheating, with features held at what they were",
        "Differences between the loops with failures and without, paired by episode, with 95% intervals over tasks. A "
        "share is given only where the total's interval lies above 0; its interval is Fieller's.",
        "What failures bring about with nothing held and with each set of features held, with intervals.",
        partial(draw_forest, forest),
        TextTable(heads, texts, frozenset(range(2, len(heads)))),
    )


def _draw(row: Row, name: str) -> ForestRow:
    estimate = read_estimate(row, name)
    style = STYLES.get(row["role"], MarkStyle("o", "other"))
    held = f"{row['features']} held" if name == "direct" else str(row["features"])
    return ForestRow(held, ((style, estimate),), (say_points(estimate),))


def _cite_share(row: Row, name: str) -> str:
    return cite(say_share(read_number(row, name)), row, name)


def _cite_rate(row: Row, name: str) -> str:
    return cite(say_rate(read_estimate(row, name)), row, name)


def _cite_points(row: Row, name: str) -> str:
    return cite(say_points(read_estimate(row, name)), row, name)
