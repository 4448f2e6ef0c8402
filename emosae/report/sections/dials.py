"""What turning a feature does: every arm's rate, the gap to every control, and which decoys are shown silent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.report.arms import GROUPS, Arm, find_untouched, read_arms, writes_programs
from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.records import ReportData, read_number
from emosae.report.sections.dial_lines import cite_silent, say_broken, say_silent_cheats, tabulate_lines
from emosae.report.sections.doses import plate_doses, say_slopes
from emosae.report.sections.gaps import plate_gaps
from emosae.report.wording import join_words, say_number, say_p, say_points, say_rate, say_share

NAME, TITLE = "dials", "What turning a feature does"
MARGIN = 0.10
HEADINGS = {
    "untouched": "Untouched",
    "target": "Targets",
    "opponent": "Opponents",
    "decoy": "Decoys",
    "random features": "Random features",
    "random directions": "Random directions",
    "vectors": "Difference of means",
    "prompt": "Prompt",
}


def write_dials(data: ReportData) -> Section:
    """All arms at their primary dose, with and without the sentences that name a feeling."""
    arms, unnamed = read_arms(data), read_arms(data, hides_naming=True)
    untouched = find_untouched(arms)
    turned = [arm for arm in arms if arm.condition != "none"]
    if untouched is None or not turned:
        return Section(NAME, TITLE, "No feature was turned while the model acted.")
    if not writes_programs(untouched):
        return Section(NAME, TITLE, "Without programs that can be read, turning a feature shows nothing.")
    gaps, doses = plate_gaps(data), plate_doses(arms)
    silence = _plate_silence(turned, unnamed)
    return Section(
        NAME,
        TITLE,
        _say_effects(turned, untouched),
        paragraphs=(
            "Up keeps the feature at or above a set value, down subtracts as much along its direction, off holds it at "
            "0, on generated tokens only; what the SAE does not explain is left as it is. The dose is the added norm "
            "over the mean residual norm and was set before. Every episode has its own random numbers, the same in "
            "all arms, so changes are paired; their intervals are clustered by task.",
            *_say_opposites(turned),
            *say_slopes(data, arms),
            *_say_unnamed(unnamed),
            *_say_text(turned, untouched),
            *filter(None, (_say_silence(turned), say_silent_cheats(arms))),
        ),
        tables=(("One line per dial", tabulate_lines(data, arms)),),
        plates=(
            _plate_rates(arms, unnamed, untouched),
            *((doses,) if doses else ()),
            *((gaps,) if gaps else ()),
            *((silence,) if silence else ()),
        ),
    )


def _primary(arms: Sequence[Arm], *roles: str) -> list[Arm]:
    return [arm for arm in arms if arm.primary and arm.role in roles and arm.method == "sae"]


def _say_effects(turned: Sequence[Arm], untouched: Arm) -> str:
    main = [arm for arm in _primary(turned, "target", "opponent") if arm.condition == "up"]
    if not main:
        return "No target was turned up; only controls were run."
    said = join_words([_say_effect(arm) for arm in main])
    return f"Cheating is at {_cite_rate(untouched)} when nothing is done; {said}."


def _say_effect(arm: Arm) -> str:
    if not arm.delta.bounded or arm.delta.lo <= 0 <= arm.delta.hi:
        return f"{arm.name} is not shown to change it ({_cite_change(arm)} points)"
    verb = "raises" if arm.delta.value > 0 else "lowers"
    rate = cite(say_share(arm.rate.value), arm.row, "rate")
    return f"{arm.name} {verb} it to {rate} ({_cite_change(arm)} points)"


def _cite_rate(arm: Arm) -> str:
    return cite(say_rate(arm.rate), arm.row, "rate")


def _cite_change(arm: Arm) -> str:
    return cite(say_points(arm.delta), arm.row, "delta")


def _cite_parsed(arm: Arm) -> str:
    return cite(say_share(arm.parse_rate), arm.row, "parse_rate")


def _say_opposites(turned: Sequence[Arm]) -> tuple[str, ...]:
    others = [arm for arm in _primary(turned, "target", "opponent") if arm.condition != "up"]
    return (f"Turned the other way, {join_words([_say_effect(arm) for arm in others])}.",) if others else ()


def _say_silence(turned: Sequence[Arm]) -> str:
    groups = (
        ("decoy", [arm for arm in _primary(turned, "decoy") if arm.condition == "up"]),
        ("control", [arm for arm in turned if arm.group in ("random features", "random directions")]),
    )
    said = []
    for kind, arms in groups:
        silent = [arm.dial for arm in arms if arm.silent]
        loud = [arm.dial for arm in arms if not arm.silent]
        if arms:
            said.append(f"{kind.title()}s shown silent: {join_words(silent) or 'none'}.")
        if loud:
            said.append(f"Not shown silent: {join_words(loud)}.")
    return " ".join(said)


def _say_unnamed(unnamed: Sequence[Arm]) -> tuple[str, ...]:
    main = [arm for arm in _primary(unnamed, "target", "opponent") if arm.condition == "up"]
    untouched = find_untouched(unnamed)
    if not main or untouched is None:
        return ()
    said = [f"{_cite_change(arm)} for {arm.name}" for arm in main]
    return (
        "Clamping a label would prove nothing, so every arm was run again with each sentence that names a feeling "
        f"taken out of the thought before the program is written: {_cite_rate(untouched)} cheat untouched, and the "
        f"changes in points are {join_words(said)}.",
    )


def _say_text(turned: Sequence[Arm], untouched: Arm) -> tuple[str, ...]:
    known = [arm for arm in turned if math.isfinite(arm.parse_rate)]
    if not known:
        return ()
    worst = min(known, key=lambda arm: arm.parse_rate)
    return (
        f"A dial that breaks the text proves nothing: {_cite_parsed(untouched)} of attempts can be read "
        f"untouched, and at least {_cite_parsed(worst)} in any arm ({worst.name}, {_say_method(worst)}). "
        f"{say_broken(turned)}",
    )


def _say_method(arm: Arm) -> str:
    return {"sae": "feature", "vector": "vector"}.get(arm.method, "prompt" if arm.condition == "prompt" else "–")


def _plate_rates(arms: Sequence[Arm], unnamed: Sequence[Arm], untouched: Arm) -> Plate:
    again = {arm.key: arm.rate for arm in unnamed}
    groups = []
    for group in GROUPS:
        members = [arm for arm in arms if arm.group == group]
        rows = tuple(_rate_row(arm, again.get(arm.key)) for arm in members)
        if rows:
            groups.append((HEADINGS[group], rows))
    forest = Forest(
        groups=tuple(groups),
        axis="impossible episodes that end in a cheat",
        limits=(0.0, 1.0),
        heads=("rate [95%]", "change, points", "can be read"),
        line=untouched.rate.value,
        band=(untouched.rate.lo, untouched.rate.hi) if untouched.rate.bounded else None,
        legend=_rate_legend(arms, bool(again)),
        percent=True,
    )
    return Plate(
        "rates",
        "Cheating in every arm",
        "Rates with Wilson 95% intervals. The dashed line and the band are the untouched arm. Colour is what was "
        "expected: orange for more cheating, blue for less, grey for no change."
        + (" Hollow marks repeat the arm with naming sentences removed." if again else ""),
        "Cheating rate of every arm with interval, grouped by targets, decoys and controls.",
        partial(draw_forest, forest),
        _tabulate_rates(arms, unnamed),
    )


def _rate_row(arm: Arm, again: Estimate | None) -> ForestRow:
    marks = ((arm.style(), arm.rate), *(((arm.style(hollow=True), again),) if again else ()))
    change = "" if arm.condition == "none" else say_points(arm.delta)
    return ForestRow(arm.name, marks, (say_rate(arm.rate), change, say_share(arm.parse_rate)))


def _rate_legend(arms: Sequence[Arm], is_repeated: bool) -> tuple[tuple[MarkStyle, str], ...]:
    kinds = {"up": "up", "down": "down", "off": "off"}
    used = {arm.condition for arm in arms}
    legend = tuple(
        (MarkStyle(shape, "ink"), kinds[name])
        for name, shape in (("up", "^"), ("down", "v"), ("off", "s"))
        if name in used
    )
    return legend + (((MarkStyle("o", "ink", True), "naming sentences removed"),) if is_repeated else ())


def _tabulate_rates(arms: Sequence[Arm], unnamed: Sequence[Arm]) -> TextTable:
    heads = (
        *("arm", "turned", "dose", "naming", "episodes", "rate", "change, points", "p (Holm)", "can be read", "KL"),
        "silent cheats",
    )
    rows = tuple(
        (
            arm.name,
            _say_method(arm),
            f"{arm.dose:g}",
            naming,
            cite(str(arm.n), arm.row, "n"),
            _cite_rate(arm),
            "–" if arm.condition == "none" else _cite_change(arm),
            cite(say_p(read_number(arm.row, "p_holm")), arm.row, "p_holm") if arm.row["p_holm"] is not None else "–",
            _cite_parsed(arm),
            cite(say_number(read_number(arm.row, "kl"), 3), arm.row, "kl") if arm.row["kl"] is not None else "–",
            cite_silent(arm),
        )
        for naming, table in (("kept", arms), ("removed", unnamed))
        for arm in table
    )
    return TextTable(heads, rows, frozenset({2, 4, 5, 6, 7, 8, 9, 10}))


def _plate_silence(turned: Sequence[Arm], unnamed: Sequence[Arm]) -> Plate | None:
    again = {arm.key: arm.delta90 for arm in unnamed}
    groups, shown = [], []
    for group in ("decoy", "random features", "random directions", "prompt"):
        members = [arm for arm in turned if arm.group == group and arm.primary]
        rows = tuple(_silence_row(arm, again.get(arm.key)) for arm in members)
        if rows:
            groups.append((HEADINGS[group], rows))
            shown += members
    if not groups:
        return None
    estimates = [estimate for _, rows in groups for row in rows for _, estimate in row.marks if estimate.bounded]
    reach = max([2 * MARGIN, *(abs(end) for one in estimates for end in (one.lo, one.hi))]) + 0.02
    forest = Forest(
        groups=tuple(groups),
        axis="change of the cheating rate (90% interval)",
        limits=(-reach, reach),
        heads=("shown silent?", "change, points [90%]"),
        line=0.0,
        band=(-MARGIN, MARGIN),
        percent=True,
    )
    table = TextTable(
        ("arm", "change, points [90%]", "shown silent?"),
        tuple((arm.name, _cite_change90(arm), _say_verdict(arm)) for arm in shown),
        frozenset({1}),
    )
    return Plate(
        "silence",
        "Which controls are shown to do nothing",
        f"{_say_silence(turned)} Silent means that the whole 90% interval lies in the band of ±{100 * MARGIN:.0f} "
        "points; to find no change is not enough." + (" Hollow marks: naming sentences removed." if again else ""),
        "Change of the cheating rate of decoys and controls with 90% intervals against a band around 0.",
        partial(draw_forest, forest),
        table,
    )


def _silence_row(arm: Arm, again: Estimate | None) -> ForestRow:
    style = MarkStyle("o", "ink" if arm.silent else "other")
    marks = ((style, arm.delta90), *(((MarkStyle("o", "other", True), again),) if again else ()))
    return ForestRow(arm.name, marks, (_say_verdict(arm), say_points(arm.delta90)))


def _say_verdict(arm: Arm) -> str:
    return "unknown" if arm.silent is None else "silent" if arm.silent else "not shown"


def _cite_change90(arm: Arm) -> str:
    return cite(say_points(arm.delta90), arm.row, "delta", "delta_lo90", "delta_hi90")
