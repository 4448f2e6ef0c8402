"""One line per dial: what turning it up did, at which dose, what it cost, how many of its cheats name no feeling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emosae.ledger.verdicts import COHERENT
from emosae.report.arms import Arm
from emosae.report.citing import cite
from emosae.report.content import TextTable
from emosae.report.records import ReportData, read_estimate, read_number
from emosae.report.sections.gaps import name_control, read_gaps
from emosae.report.wording import join_words, say_number, say_points, say_rate, say_share

EXPECTED = {"target": "more", "opponent": "less", "decoy": "no change", "control": "no change"}
HEADS = (
    *("turned up", "expected", "found", "cheating", "change, points", "dose", "of own maximum", "KL", "coherent"),
    *("controls solved", "silent cheats"),
)


def tabulate_lines(data: ReportData, arms: Sequence[Arm]) -> TextTable:
    """The untouched arm, then every feature or set of features that was turned up, at its primary dose."""
    up = [arm for arm in arms if arm.primary and arm.method == "sae" and arm.condition in ("up", "random")]
    missed: dict[str, list[str]] = {}
    for row in read_gaps(data):
        if row["condition"] == "up":
            missed.setdefault(str(row["dial"]), []).extend([] if row["survives"] else [name_control(row)])
    untouched = [arm for arm in arms if arm.condition == "none"]
    rows = tuple(
        (
            arm.name if arm.condition == "none" else arm.dial,
            EXPECTED.get(arm.role, "–"),
            "–" if arm.condition == "none" else _say_found(arm, missed.get(arm.dial)),
            cite(say_rate(arm.rate), arm.row, "rate"),
            "–" if arm.condition == "none" else cite(say_points(arm.delta), arm.row, "delta"),
            f"{arm.dose:g}",
            _cite_number(arm, "dose_of_max", 2),
            _cite_number(arm, "kl", 3),
            _cite_share(arm, "coherence"),
            _cite_share(arm, "solved"),
            cite_silent(arm),
        )
        for arm in (*untouched, *up)
    )
    return TextTable(HEADS, rows, frozenset(range(3, len(HEADS))))


def _say_found(arm: Arm, missed: Sequence[str] | None) -> str:
    broken = "; breaks the text" if is_broken(arm) else ""
    if arm.role not in ("target", "opponent"):
        return f"{'shown silent' if arm.silent else 'not shown silent'}{broken}"
    if not arm.delta.bounded or arm.delta.lo <= 0 <= arm.delta.hi:
        return f"not shown to change it{broken}"
    verb = "raises it" if arm.delta.value > 0 else "lowers it"
    if missed is None:
        return f"{verb}{broken}"
    return f"{verb}, {f'not beyond {join_words(missed)}' if missed else 'beyond every control'}{broken}"


def is_broken(arm: Arm) -> bool:
    """Whether more than a tenth of an arm's impossible episodes are incoherent."""
    return read_number(arm.row, "coherence") < COHERENT


def say_broken(turned: Sequence[Arm]) -> str:
    """Which arms break the text, and that the others do not."""
    broken = [arm for arm in turned if is_broken(arm)]
    if not broken:
        return "No arm breaks more than a tenth of its episodes."
    shares = [f"{_name(arm)} ({_cite_share(arm, 'coherence')} coherent)" for arm in broken]
    return (
        f"More than a tenth of the episodes break under {join_words(shares)}: what their rates do is no finding about "
        "an emotion."
    )


def say_silent_cheats(arms: Sequence[Arm]) -> str:
    """How many cheats name no feeling, untouched and with targets and opponents turned up; empty if none cheated."""
    shown = [
        arm
        for arm in arms
        if arm.condition == "none"
        or (arm.condition == "up" and arm.primary and arm.method == "sae" and arm.role in ("target", "opponent"))
    ]
    said = [
        f"{cite_silent(arm)} {'untouched' if arm.condition == 'none' else f'with {arm.name}'}"
        for arm in shown
        if math.isfinite(read_number(arm.row, "silent_cheats"))
    ]
    if not said:
        return ""
    return f"Silent cheating, the share of cheats of which no attempt names a feeling: {join_words(said)}."


def cite_silent(arm: Arm) -> str:
    """The share of an arm's cheats that name no feeling; a dash where nobody cheated."""
    silent = read_estimate(arm.row, "silent_cheats", "silent_lo", "silent_hi")
    return cite(say_rate(silent), arm.row, "silent_cheats") if silent.known else "–"


def _name(arm: Arm) -> str:
    return f"{arm.name} (vector)" if arm.group == "vectors" else arm.name


def _cite_number(arm: Arm, column: str, digits: int) -> str:
    value = read_number(arm.row, column)
    return cite(say_number(value, digits), arm.row, column) if math.isfinite(value) else "–"


def _cite_share(arm: Arm, column: str) -> str:
    value = read_number(arm.row, column)
    return cite(say_share(value), arm.row, column) if math.isfinite(value) else "–"
