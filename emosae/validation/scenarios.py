"""The blind test of the scenarios: train, run, judge, and write down what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emosae.organism.variants import TOLERANCE, CalibrationRow, find_missed, read_calibration
from emosae.report.content import Page, Section, TextTable
from emosae.report.page import draw_plates, render_html, render_markdown
from emosae.store import Stage, Store
from emosae.validation.claims import CLAIMS, Evidence, Judged, judge_claim, read_evidence, write_interval
from emosae.validation.trials import TRIALS, Trial, run_trial, train_variants
from emosae.validation.verdicts import FAILED, OK

_HEADS = ("claim", "expected", "seen", "holds")


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What one trial's run says.

    Attributes:
        trial: The trial.
        evidence: By emotion.
        untouched: Rate of shortcuts in the arm in which nothing is done; None without that arm.
        notes: What did not run.
    """

    trial: Trial
    evidence: Mapping[str, Evidence]
    untouched: float | None
    notes: Sequence[str]


def validate_scenarios(episodes: int, seed: int, stage: Stage) -> list[Judged]:
    """Train the variants, run every trial that is not run yet, and judge every claim.

    Writes `validation.json`, `index.html` and `validation.md` there, beside the variants and the runs.

    Args:
        episodes: Of each arm.
        seed: Start of every random number of the runs.
        stage: Where all of it is kept.
    """
    variants = train_variants(TRIALS, stage)
    calibrations = {name: read_calibration(one) for name, one in variants.items()}
    stores = {trial: run_trial(trial, variants, episodes, seed, stage) for trial in TRIALS}
    outcomes = [read_outcome(trial, store) for trial, store in stores.items()]
    judged = [judge_calibration(name, rows) for name, rows in calibrations.items()]
    judged += [judge_claim(claim, {one.trial.name: one.evidence for one in outcomes}) for claim in CLAIMS]
    command = f"emosae validate scenarios --episodes {episodes} --seed {seed}"
    page = build_page(judged, outcomes, calibrations, command)
    stage.write_json("validation", _as_record(judged, outcomes, episodes, seed))
    stage.write_text("validation.md", render_markdown(page))
    stage.write_text("index.html", render_html(page, draw_plates(page)))
    return judged


def read_outcome(trial: Trial, store: Store) -> Outcome:
    """Read a finished run's tables; without a sandbox there is no evidence, and a note says so."""
    scenarios = store.stage("scenarios")
    code, notes = scenarios.substage("impossible_code"), scenarios.read_json("notes")
    if not code.has("summary.parquet"):
        return Outcome(trial, {}, None, notes)
    summary = code.read_table("summary")
    untouched = [row["rate"] for row in summary.to_pylist() if row["condition"] == "none" and not row["hides_naming"]]
    return Outcome(trial, read_evidence(store.home.read_table("ledger"), summary), untouched[0], notes)


def judge_calibration(variant: str, rows: Sequence[CalibrationRow]) -> Judged:
    """Whether the variant does what was planted; if not, the rest says nothing about the pipeline."""
    seen = ", ".join(f"{row.model:.2f} for {row.truth:.2f}" for row in rows if "," not in row.group)
    says = f"{variant}: the trained model's P(shortcut) is the planted one"
    return Judged(says, f"within {TOLERANCE:g}", seen, FAILED if find_missed(list(rows)) else OK)


def format_judged(judged: Sequence[Judged]) -> str:
    """The table that the console prints."""
    rows = [_HEADS, *map(_cells, judged)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cells(one: Judged) -> tuple[str, ...]:
    return (one.claim, one.expected, one.seen, one.verdict)


def build_page(
    judged: Sequence[Judged],
    outcomes: Sequence[Outcome],
    calibrations: Mapping[str, Sequence[CalibrationRow]],
    command: str,
) -> Page:
    """The claims, what every run says of every dial, and what the variants learnt."""
    failed = [one.claim for one in judged if one.verdict == FAILED]
    claims = Section(
        name="claims",
        title="Claims",
        finding=f"Failed: {'; '.join(failed)}." if failed else f"All {len(judged)} claims hold.",
        paragraphs=(f"Command: {command}",),
        tables=(("What was expected and seen", TextTable(_HEADS, tuple(map(_cells, judged)))),),
    )
    return Page(
        title="Blind test of the scenarios",
        deck="Organisms with different causes go through the same pipeline with the same settings.",
        badge="synthetic",
        cautions=(
            "An organism is a small model that was trained on composed text; nothing it does is evidence about others.",
        ),
        notes=tuple(f"{one.trial.name}: {note}" for one in outcomes for note in one.notes),
        sections=(claims, _show_dials(outcomes), _show_calibrations(calibrations)),
    )


def _show_dials(outcomes: Sequence[Outcome]) -> Section:
    heads = ("dial", "role", "change", "gap to the nearest control", "in a second SAE", "silent", "coherent", "verdict")
    tables = []
    for one in outcomes:
        rows = tuple(_write_dial(name, evidence) for name, evidence in one.evidence.items())
        rate = "not measured" if one.untouched is None else f"{one.untouched:.3f}"
        tables.append((f"{one.trial.name}: untouched rate {rate}", TextTable(heads, rows, frozenset({6}))))
    return Section(
        name="dials",
        title="Dials",
        finding="What every run says of every emotion that was turned up at the primary dose.",
        paragraphs=(
            "Changes are of the rate of shortcuts, paired with the untouched arm. A gap says how much further the dial "
            "moved it than the matched control that came nearest; only targets and opponents are compared. A verdict "
            "above `steers text` asks for a slope over doses too, which decoys do not have.",
        ),
        tables=tuple(tables),
    )


def _write_dial(name: str, one: Evidence) -> tuple[str, ...]:
    intervals = (write_interval(value) for value in (one.delta, one.gap, one.second_gap))
    return (name, one.role, *intervals, "yes" if one.silent else "no", f"{one.coherence:.0%}", one.verdict)


def _show_calibrations(calibrations: Mapping[str, Sequence[CalibrationRow]]) -> Section:
    heads = ("group", "decisions", "planted", "model")
    return Section(
        name="calibration",
        title="What the variants learnt",
        finding="P(shortcut) at the decision, by raising minus lowering cues in the thought.",
        tables=tuple((name, TextTable(heads, tuple(map(_write_group, rows)))) for name, rows in calibrations.items()),
    )


def _write_group(row: CalibrationRow) -> tuple[str, ...]:
    return (row.group, str(row.n), f"{row.truth:.2f}", f"{row.model:.2f}")


def _as_record(judged: Sequence[Judged], outcomes: Sequence[Outcome], episodes: int, seed: int) -> dict[str, Any]:
    claims = [asdict(one) for one in judged]
    rates = {one.trial.name: one.untouched for one in outcomes}
    return {"episodes": episodes, "seed": seed, "claims": claims, "untouched": rates}
