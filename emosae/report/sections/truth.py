"""Findings beside what was planted; only a synthetic model has such a section."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emosae.ledger.verdicts import ALPHA
from emosae.report.arms import Arm, read_arms
from emosae.report.content import Section, TextTable
from emosae.report.records import PlantedTruth, ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.sections.conversations import OPENING
from emosae.report.sections.features import beats_rival
from emosae.report.sections.overlap import rank_pairs, read_square
from emosae.report.wording import join_words, say_count, say_estimate, say_number, say_points, say_share

NAME, TITLE = "truth", "Against what was planted"
YES, NO, UNTESTED = "found", "missed", "not tested"
SIGNS = {YES: "✓", NO: "✗", UNTESTED: "–"}


@dataclass(frozen=True, slots=True)
class Check:
    """One planted fact and what was found.

    Attributes:
        fact: What was planted.
        finding: The number that speaks to it; empty if there is none.
        outcome: found, missed or not tested.
        count: How many facts these are.
    """

    fact: str
    finding: str
    outcome: str
    count: int = 1


def write_truth(data: ReportData) -> Section | None:
    """Every planted fact, held against the finding that should show it; None where nothing was planted."""
    if data.truth is None:
        return None
    checks = [check for make in CHECKS for check in make(data, data.truth)]
    if not checks:
        return Section(NAME, TITLE, "Nothing was planted that could be held against the findings.")
    found, missed, untested = (
        sum(check.count for check in checks if check.outcome == outcome) for outcome in (YES, NO, UNTESTED)
    )
    rest = f"; {untested} could not be tested in this run" if untested else ""
    return Section(
        NAME,
        TITLE,
        f"Of {say_count(found + missed, 'planted fact')} tested, {found} were found and {missed} missed{rest}.",
        paragraphs=(
            "The model was trained on text that was generated from a written-down truth, so here, and only here, it is "
            "known what a tool should find and where it should stay silent. A decoy that is not shown silent counts "
            "as missed even where no change was seen.",
        ),
        tables=(
            (
                "Planted and found",
                TextTable(
                    ("planted", "finding", "outcome"),
                    tuple(
                        (check.fact, check.finding or "–", f"{SIGNS[check.outcome]} {check.outcome}")
                        for check in checks
                    ),
                ),
            ),
        ),
    )


def _outcome(holds: bool | None) -> str:
    return UNTESTED if holds is None else YES if holds else NO


def _check_emotions(data: ReportData, truth: PlantedTruth) -> list[Check]:
    """One check per planted strength and outcome, for all its emotions together."""
    rows = {row["emotion"]: row for row in read_rows(data.emotions)}
    groups: dict[tuple[float, str], list[str]] = {}
    for emotion, strength in sorted(truth.strengths.items(), key=lambda item: (-item[1], item[0])):
        row = rows.get(emotion)
        is_found = None if row is None else beats_rival(row)
        if row is not None and emotion in truth.absent:
            is_found = not read_number(row, "q_bh") < ALPHA
        groups.setdefault((strength, _outcome(is_found)), []).append(emotion)
    return [
        Check(
            f"{join_words(emotions)}: in {say_share(strength)} of the cue slots"
            + (", should stay undetected" if set(emotions) <= set(truth.absent) else ""),
            _say_bounds([rows[emotion] for emotion in emotions if emotion in rows]),
            outcome,
            len(emotions),
        )
        for (strength, outcome), emotions in groups.items()
    ]


def _say_bounds(rows: Sequence[Row]) -> str:
    values = [value for row in rows if math.isfinite(value := read_number(row, "auroc_rival_confirm"))]
    if not values:
        return ""
    if len(values) == 1:
        return f"AUROC {say_estimate(read_estimate(rows[0], 'auroc_rival_confirm'), 3)} against {rows[0].get('rival')}"
    lowest = min(rows, key=lambda row: read_number(row, "auroc_rival_confirm_lo"))
    return (
        f"AUROC {say_number(min(values), 3)} to {say_number(max(values), 3)} against the hardest rival; the lowest "
        f"bound is {say_number(read_number(lowest, 'auroc_rival_confirm_lo'), 3)} ({lowest['emotion']})"
    )


def _check_overlap(data: ReportData, truth: PlantedTruth) -> list[Check]:
    pairs = rank_pairs(*read_square(data))
    places = {frozenset(pair): (at, value) for at, (pair, value) in enumerate(pairs, start=1)}
    checks = []
    for a, b in truth.overlap:
        fact, place = f"{a} and {b} share cues", places.get(frozenset((a, b)))
        if place is None:
            checks.append(Check(fact, "", UNTESTED))
        else:
            finding = f"similarity {say_number(place[1])}, rank {place[0]} of {len(pairs)} pairs"
            checks.append(Check(fact, finding, _outcome(place[0] <= len(truth.overlap))))
    return checks


def _check_effects(data: ReportData, truth: PlantedTruth) -> list[Check]:
    arms = _up_arms(data)
    checks = []
    for emotion, sign in truth.effects.items():
        arm = arms.get(emotion)
        holds = None if arm is None or not arm.delta.known else sign * (arm.delta.lo if sign > 0 else arm.delta.hi) > 0
        finding = f"{say_points(arm.delta)} points" if arm else ""
        checks.append(Check(f"{emotion} up {'raises' if sign > 0 else 'lowers'} cheating", finding, _outcome(holds)))
    return checks


def _check_decoys(data: ReportData, truth: PlantedTruth) -> list[Check]:
    arms = _up_arms(data)
    checks = []
    for emotion in truth.decoys:
        arm = arms.get(emotion)
        finding = f"{say_points(arm.delta90)} points [90%]" if arm else ""
        holds = None if arm is None or arm.silent is None else arm.silent
        checks.append(Check(f"{emotion} up does nothing to cheating", finding, _outcome(holds)))
    return checks


def _up_arms(data: ReportData) -> dict[str, Arm]:
    return {arm.dial: arm for arm in read_arms(data) if arm.condition == "up" and arm.method == "sae" and arm.primary}


def _check_dose(data: ReportData, truth: PlantedTruth) -> list[Check]:
    if not truth.dose_emotion:
        return []
    fact = f"{truth.dose_emotion} rises with the dose"
    rows = [row for row in read_rows(data.doses) if row["emotion"] == truth.dose_emotion and row["place"] == OPENING]
    if not rows:
        return [Check(fact, "", UNTESTED)]
    row = max(rows, key=lambda row: read_number(row, "spearman"))
    estimate = read_estimate(row, "spearman")
    return [Check(fact, f"rank correlation {say_estimate(estimate)} ({row['kind']})", _outcome(estimate.lo > 0))]


def _check_conversations(data: ReportData, truth: PlantedTruth) -> list[Check]:
    ranks = {(row["kind"]): row for row in read_rows(data.ranks) if row["place"] == OPENING and row["first"]}
    checks = []
    for kind, emotions in truth.conversation.items():
        row = ranks.get(kind)
        fact = f"{kind.replace('_', ' ')}: {emotions[0]}" + (
            f", then {', '.join(emotions[1:])}" if emotions[1:] else ""
        )
        holds = None if row is None else row["first"] == emotions[0]
        checks.append(Check(fact, f"{row['first']} comes first" if row else "", _outcome(holds)))
    return checks


CHECKS: Sequence[Callable[[ReportData, PlantedTruth], list[Check]]] = (
    _check_emotions,
    _check_overlap,
    _check_dose,
    _check_conversations,
    _check_effects,
    _check_decoys,
)
