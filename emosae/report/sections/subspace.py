"""How much of what a target's dial does passes through its part inside the span of the emotion vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.records import ReportData, Row, read_estimate, read_number
from emosae.report.wording import (
    join_words,
    say_count,
    say_number,
    say_points,
    say_rate,
    say_share,
)
from emosae.scenarios.part_arms import EQUAL, NATURAL

NAME, TITLE = "subspace", "Inside and outside the emotion subspace"
TERMS = {
    "total": "the whole dial",
    "inside": "inside alone",
    "outside": "outside alone",
    "interaction": "only both together",
    "inside_main": "inside, averaged",
    "outside_main": "outside, averaged",
}
_SIDES = ("inside", "outside")
WHOLE, PART, CONTROL = MarkStyle("o", "ink"), MarkStyle("o", "accent"), MarkStyle("o", "other", True)
NO_SHARE = "nothing to share"


def write_subspace(data: ReportData) -> Section | None:
    """Each target's dial in its two parts; None where no part was turned up."""
    terms, arms = data.rows("subspace"), data.rows("subspace_arms")
    dials = list(dict.fromkeys(row["dial"] for row in terms))
    if not dials:
        return None
    own = {dial: {row["term"]: row for row in terms if row["dial"] == dial} for dial in dials}
    return Section(
        NAME,
        TITLE,
        " ".join(_say_finding(dial, rows) for dial, rows in own.items()),
        paragraphs=(
            *(_say_geometry(dial, rows["total"]) for dial, rows in own.items()),
            "Each part is turned up by itself at its natural length: the features are floored as ever, and only that "
            "part of what they write is written, so that both parts together are the whole dial, token by token. "
            "Alone is the difference from the untouched arm. What only both together do is the interaction on the "
            "scale of rates, on which parts that each suffice have a negative one and parts that must together pass a "
            "threshold a positive one. The averaged effects are the main effects of the two-by-two experiment, each "
            "with half of the interaction.",
            *(_say_equal([row for row in arms if row["dial"] == dial]) for dial in dials),
            "The subspace depends on which emotions the stories have: more of them span more. A dial is chosen among "
            "features that lean towards their emotion's vector, so that it lies inside more than chance by choice. A "
            "part that is lengthened to the norm of the whole is nothing that the model writes by itself, and may "
            "act by being strange; coherence and solved controls stand in the table.",
        ),
        plates=tuple(plate for dial in dials for plate in _plates(dial, own[dial], arms)),
    )


def _say_finding(dial: str, rows: Mapping[str, Row]) -> str:
    total = _cite_points(rows["total"], "effect")
    said = f"Turning up {dial} changes cheating by {total} points over {say_count(rows['total']['n'], 'episode')}: "
    if rows["inside_main"]["share"] is None:
        parts = [f"{_cite_points(rows[f'{side}_main'], 'effect')} by its part {side}" for side in _SIDES]
        return f"{said}too little to be shared; averaged, {join_words(parts)} the emotion subspace."
    shares = {name: _cite_rate(row, "share") for name, row in rows.items() if name != "total"}
    return (
        f"{said}averaged over whether the other part is there, its part inside the emotion subspace brings "
        f"{shares['inside_main']} of that and its part outside {shares['outside_main']}. Alone, the part inside brings "
        f"{shares['inside']} and the part outside {shares['outside']}; {shares['interaction']} comes only of both "
        "together."
    )


def _say_geometry(dial: str, row: Row) -> str:
    return (
        f"The emotion subspace at {row['hook_name']} has {say_count(row['rank'], 'dimension')} of {row['d_in']}: the "
        "leading principal components of the emotions' difference-of-means vectors, from discover and tune stories, "
        f"which hold {_cite_share(row, 'held')} of their variance. "
        f"{_cite_share(row, 'energy')} of the squared length of what the dial of {dial} adds "
        f"lies inside, where a random direction has {_cite_share(row, 'chance')}."
    )


def _say_equal(arms: Sequence[Row]) -> str:
    """What parts do that are as long as the whole, beside what random subspaces hold of it."""
    equal = [row for row in arms if row["method"] == EQUAL]
    parts = [f"{_name(row)} {_cite_points(row, 'delta')}" for row in equal if row["condition"] in _SIDES]
    said = f"Made as long as the whole, in points: {join_words(parts)}." if parts else ""
    gaps = [
        f"{_name(row)} {_cite_points(row, 'gap')}"
        for row in equal
        if row["role"] == "control" and row["gap"] is not None
    ]
    if gaps:
        said += (
            " Of each control subspace of the same rank the part of the dial inside it is made as long: random ones, "
            "one where residuals vary, and one that holds as much of the dial. The emotion subspace's part changes the "
            f"rate by so many points more than theirs: {join_words(gaps)}. The less of the dial a subspace holds, the "
            "less its part points along it (cosine in the table), and only against the matched one that is no "
            "difference."
        )
    return said.strip()


def _plates(dial: str, terms: Mapping[str, Row], arms: Sequence[Row]) -> tuple[Plate, ...]:
    own = [row for row in arms if row["dial"] == dial and row["condition"] != "none"]
    shares, lengths = _plate_shares(dial, terms), _plate_lengths(dial, own)
    return (shares, lengths) if any(row["method"] == EQUAL for row in own) else (shares,)


def _plate_shares(dial: str, terms: Mapping[str, Row]) -> Plate:
    rows = {name: terms[name] for name in TERMS}
    drawn = {
        name: ForestRow(
            TERMS[name],
            ((WHOLE if name == "total" else PART, read_estimate(row, "effect")),),
            (say_points(read_estimate(row, "effect")), _say_part(row)),
        )
        for name, row in rows.items()
    }
    forest = Forest(
        (
            ("", (drawn["total"],)),
            ("Alone and together", tuple(drawn[name] for name in (*_SIDES, "interaction"))),
            ("Main effects", tuple(drawn[f"{name}_main"] for name in _SIDES)),
        ),
        "percentage points of cheating",
        _limits([read_estimate(row, "effect") for row in rows.values()]),
        heads=("points [95%]", "share [95%]"),
        line=0.0,
        percent=True,
    )
    texts = tuple(
        (TERMS[name], str(row["n"]), _cite_points(row, "effect"), _say_part(row, cited=True))
        for name, row in rows.items()
    )
    return Plate(
        f"subspace-{dial}",
        f"What the parts of the {dial} dial do at their natural length",
        "Differences of cheating rates on the same episodes, with 95% intervals over tasks. Alone and together add up "
        "to the whole, and so do the main effects. A share is given only where the interval of the whole excludes 0; "
        "its interval is Fieller's.",
        f"Change of the cheating rate by the whole {dial} dial, by its part inside the emotion subspace, by its part "
        "outside, and by both beyond their sum.",
        partial(draw_forest, forest),
        TextTable(("term", "episodes", "change, points", "share of the whole"), texts, frozenset((1, 2, 3))),
    )


def _say_part(row: Row, *, cited: bool = False) -> str:
    if row["term"] == "total":
        return "100%"
    if row["share"] is None:
        return NO_SHARE
    return _cite_rate(row, "share") if cited else say_rate(read_estimate(row, "share"))


def _plate_lengths(dial: str, arms: Sequence[Row]) -> Plate:
    equal = [row for row in arms if row["method"] in (EQUAL, "sae")]
    controls = [read_number(row, "delta") for row in equal if row["role"] == "control"]
    forest = Forest(
        (("", tuple(_draw_arm(row) for row in equal)),),
        "percentage points of cheating",
        _limits([read_estimate(row, "delta") for row in equal]),
        heads=("points [95%]",),
        line=0.0,
        band=(min(controls), max(controls)) if len(controls) > 1 else None,
        percent=True,
    )
    heads = ("arm", "length", "cosine", "episodes", "rate", "change, points", "inside beyond it", "solved", "coherent")
    return Plate(
        f"subspace-lengths-{dial}",
        f"Parts of the {dial} dial, all as long as the whole",
        "Change against the untouched arm, paired by episode, with 95% intervals over tasks. Hollow marks are the "
        "parts of the dial inside control subspaces of the same rank, the band their range. In the table, length is "
        "the added norm over the mean residual norm, and cosine that with the whole dial.",
        "Change of the cheating rate by equally long parts of the dial inside and outside the emotion subspace and "
        "inside control subspaces.",
        partial(draw_forest, forest),
        TextTable(heads, tuple(_tabulate(row) for row in arms), frozenset(range(1, len(heads)))),
    )


def _draw_arm(row: Row) -> ForestRow:
    style = CONTROL if row["role"] == "control" else WHOLE if row["condition"] == "up" else PART
    delta = read_estimate(row, "delta")
    return ForestRow(_name(row), ((style, delta),), (say_points(delta),))


def _tabulate(row: Row) -> tuple[str, ...]:
    return (
        f"{_name(row)}, {row['method']}" if row["method"] in (NATURAL, EQUAL) else _name(row),
        *(cite(say_number(read_number(row, name)), row, name) for name in ("added", "cosine")),
        str(row["n"]),
        cite(say_rate(read_estimate(row, "rate", "lo", "hi")), row, "rate"),
        _cite_points(row, "delta"),
        _cite_points(row, "gap") if row["gap"] is not None else "-",
        _cite_rate(row, "solved"),
        _cite_share(row, "coherence"),
    )


def _name(row: Row) -> str:
    return {"up": "the whole dial"}.get(row["condition"], str(row["condition"]))


def _limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    ends = [end for one in estimates for end in (one.value, one.lo, one.hi)]
    return min(-0.1, *ends) - 0.03, max(0.1, *ends) + 0.03


def _cite_share(row: Row, name: str) -> str:
    return cite(say_share(read_number(row, name)), row, name)


def _cite_rate(row: Row, name: str) -> str:
    return cite(say_rate(read_estimate(row, name)), row, name)


def _cite_points(row: Row, name: str) -> str:
    return cite(say_points(read_estimate(row, name)), row, name)
