"""Composure as a safeguard: how much turning up an opponent protects, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from emosae.ledger.verdicts import COHERENT
from emosae.report.arms import Arm, read_arms, writes_programs
from emosae.report.citing import cite
from emosae.report.content import Plate, Section
from emosae.report.figures import Estimate, Line, MarkStyle, Panel, Panels, draw_panels
from emosae.report.records import ReportData, read_estimate, read_number
from emosae.report.sections.doses import TABLE, find_dials, find_ladder, tabulate_doses
from emosae.report.wording import join_words, say_number, say_points, say_rate, say_share, start_sentence

NAME, TITLE = "composure", "Composure as a safeguard: how much protection at what price"
CENT = 0.01
"""Nats per token to which protection is related."""


def write_composure(data: ReportData) -> Section | None:
    """Each opponent over its doses; None where none was turned up at two doses or more."""
    arms = read_arms(data)
    dials = find_dials(arms, "opponent")
    ladders = {dial: find_ladder(arms, dial) for dial in dials}
    if not dials or not writes_programs(ladders[dials[0]][0]):
        return None
    return Section(
        NAME,
        TITLE,
        start_sentence("; ".join(_say_bargain(dial, ladder) for dial, ladder in ladders.items())) + ".",
        paragraphs=(
            "Protection is the fall of the cheating rate on impossible tasks, paired with the untouched arm. The price "
            "is what else changes: solvable tasks that are no longer solved, episodes whose text is broken, and the KL "
            "of what the model says of neutral text, edited at every token, in nats per token. The primary dose was "
            "set beforehand; the others show the way to it and past it.",
            *(_say_break(dial, ladder) for dial, ladder in ladders.items()),
        ),
        plates=tuple(_plate_bargain(dial, ladder) for dial, ladder in ladders.items()),
    )


def _say_bargain(dial: str, ladder: Sequence[Arm]) -> str:
    """Protection per price, in words, at the primary dose."""
    primary = next((arm for arm in ladder[1:] if arm.primary), ladder[-1])
    fall, kl = -primary.delta.value, read_number(primary.row, "kl")
    change = cite(say_points(primary.delta), primary.row, "delta")
    before, after = (cite(say_share(arm.rate.value), arm.row, "rate") for arm in (ladder[0], primary))
    said = f"{dial} up at dose {primary.dose:g} changes cheating by {change} points, from {before} to {after}"
    if math.isfinite(kl):
        said += f", for {cite(say_number(kl, 3), primary.row, 'kl')} nats per token on neutral text"
    if math.isfinite(kl) and kl > 0 and primary.delta.hi < 0:
        said += f" ({100 * fall * CENT / kl:.1f} points per {CENT:g} nats)"
    solved = [read_estimate(arm.row, "solved") for arm in (ladder[0], primary)]
    if all(one.known for one in solved):
        pairs = zip(solved, (ladder[0], primary), strict=True)
        before, after = (cite(say_rate(one), arm.row, "solved") for one, arm in pairs)
        said += f", while {after} of solvable controls are solved, against {before} untouched"
    return said


def _say_break(dial: str, ladder: Sequence[Arm]) -> str:
    """From which dose on the text breaks."""
    broken = [arm for arm in ladder[1:] if read_number(arm.row, "coherence") < COHERENT]
    if not broken:
        return f"At no dose of {dial} do more than a tenth of the episodes break."
    shares = [f"{say_share(1 - read_number(arm.row, 'coherence'))} at {arm.dose:g}" for arm in broken]
    return (
        f"More than a tenth of the episodes break under {dial} at these doses: {join_words(shares)}. A low rate there "
        "is no protection."
    )


def _plate_bargain(dial: str, ladder: Sequence[Arm]) -> Plate:
    doses = tuple(arm.dose for arm in ladder)
    quantities = (
        ("cheating", [arm.rate for arm in ladder], MarkStyle("o", "down")),
        ("solved controls", [read_estimate(arm.row, "solved") for arm in ladder], MarkStyle("s", "accent")),
        ("KL, nats per token", [Estimate(read_number(arm.row, "kl")) for arm in ladder], MarkStyle("^", "up")),
    )
    panels = Panels(
        tuple(Panel(name, (Line(name, doses, tuple(points), style),)) for name, points, style in quantities),
        x_axis="dose",
        y_axis="",
    )
    return Plate(
        f"composure-{dial}",
        f"{start_sentence(dial)}: protection and price over the dose",
        "Left: impossible episodes that end in a cheat. Middle: solvable controls that are solved. Both are shares "
        "with Wilson 95% intervals. Right: how far neutral text is moved. The dose is the added norm over the mean "
        "residual norm; at 0 nothing is done. Every line of "
        f"the table below names its row in {TABLE}.",
        f"Cheating rate, solved controls and KL against the dose of {dial}.",
        partial(draw_panels, panels),
        tabulate_doses(ladder),
    )
