"""What the report is written from: the run's tables, frozen, and the truth where it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emosae.report.citing import TableRow
from emosae.report.figures import Estimate

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlantedTruth:
    """What was planted in a synthetic model; no other model has one.

    Attributes:
        strengths: Emotion -> share of its cue slots that hold its cues, in [0, 1].
        absent: Emotions planted so thinly that they should stay undetected.
        overlap: Pairs of emotions that share cues.
        effects: Emotion -> +1 if turning it up raises the behaviour, -1 if it lowers it.
        decoys: Emotions that appear in the same places without an effect.
        dose_emotion: The emotion that rises with a dose; empty if none.
        conversation: Kind of message -> emotions of the assistant's turn, the strongest first.
    """

    strengths: Mapping[str, float]
    absent: tuple[str, ...] = ()
    overlap: tuple[tuple[str, str], ...] = ()
    effects: Mapping[str, int] = field(default_factory=dict, hash=False)
    decoys: tuple[str, ...] = ()
    dose_emotion: str = ""
    conversation: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, eq=False, slots=True)
class ReportData:
    """Everything a report is written from; what is None did not run, and its section says so.

    Attributes:
        manifest: The run's manifest: config, model, package versions, seeds, hashes, timings.
        saes: A row per SAE: name, hook_name, d_sae, architecture, seed, origin (trained or shipped), fvu, l0,
            dead_fraction.
        candidates: `selectivity/candidates`.
        emotions: `selectivity/summary`: a row per emotion with its best feature.
        overlap: `selectivity/overlap`: a row per ordered pair of emotions.
        baselines: A row per baseline, hook_name and emotion with auroc_confirm and its interval.
        ledger: A row per feature and emotion with its verdict.
        nodes: `atlas/nodes`.
        links: `atlas/links`.
        concepts: `atlas/concepts`.
        tree: `atlas/tree`: a row per merge of the clustering of emotions.
        axes: `atlas/axes`: a row per axis of the emotion vectors and measure.
        statements: `atlas/statements`: a row per statement of the original experiment.
        similarity: `atlas/similarity`: a row per pair of emotions.
        connections: `atlas/connections` and `scenarios/connections`: a row per feature and what turns it on.
        reads: `scenarios/conversation/reads`.
        replies: `scenarios/conversation/replies`.
        ranks: `scenarios/conversation/ranks`.
        doses: `scenarios/conversation/doses`.
        shuffled: `scenarios/conversation/shuffled`: the expected emotion's rank against exchanged labels.
        trends: `scenarios/conversation/trends`: Page's trend of every emotion over each kind of ladder.
        foils: `scenarios/conversation/foils`: paired differences between matched variants.
        messages: `scenarios/conversation/messages`: a row per part of some conversations and emotion.
        whose: `scenarios/conversation/whose`: a row per place and role.
        graders: `scenarios/conversation/graders`: a row per classifier of tone.
        tones: `scenarios/conversation/tones`: a row per kind of conversation.
        turned: `scenarios/conversation/turned_summary`: a row per arm and outcome.
        rollouts: `scenarios/impossible_code/rollouts`: a row per episode.
        summary: `scenarios/impossible_code/summary`: a row per condition.
        contrasts: `scenarios/impossible_code/contrasts`: a row per target arm and control.
        slopes: `scenarios/impossible_code/slopes`: a row per dial that was turned up at several doses.
        plan: `scenarios/impossible_code/plan.json`: what was sealed before the confirm tasks were opened.
        trajectory: `scenarios/impossible_code/trajectory`: levels and slopes over attempts.
        mediation: `scenarios/impossible_code/mediation`: a row per set of features that was held.
        subspace: `scenarios/impossible_code/subspace`: a row per target and term, inside and outside.
        subspace_arms: `scenarios/impossible_code/subspace_arms`: a row per arm that turns a part of a dial.
        task_prompts: Task id -> what the model was told first, for the transcripts.
        truth: What was planted.
        notes: What the run could not do, as plain sentences.
    """

    manifest: Mapping[str, Any]
    saes: pa.Table
    candidates: pa.Table
    emotions: pa.Table
    overlap: pa.Table
    baselines: pa.Table | None
    ledger: pa.Table
    nodes: pa.Table | None = None
    links: pa.Table | None = None
    concepts: pa.Table | None = None
    tree: pa.Table | None = None
    axes: pa.Table | None = None
    statements: pa.Table | None = None
    similarity: pa.Table | None = None
    connections: pa.Table | None = None
    reads: pa.Table | None = None
    replies: pa.Table | None = None
    ranks: pa.Table | None = None
    doses: pa.Table | None = None
    shuffled: pa.Table | None = None
    trends: pa.Table | None = None
    foils: pa.Table | None = None
    messages: pa.Table | None = None
    whose: pa.Table | None = None
    graders: pa.Table | None = None
    tones: pa.Table | None = None
    turned: pa.Table | None = None
    rollouts: pa.Table | None = None
    summary: pa.Table | None = None
    contrasts: pa.Table | None = None
    slopes: pa.Table | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    trajectory: pa.Table | None = None
    mediation: pa.Table | None = None
    subspace: pa.Table | None = None
    subspace_arms: pa.Table | None = None
    task_prompts: Mapping[str, str] = field(default_factory=dict)
    truth: PlantedTruth | None = None
    notes: tuple[str, ...] = ()

    def rows(self, name: str) -> list[TableRow]:
        """The rows of a table that numbers are cited from, by its field; none where it is missing."""
        table = getattr(self, name)
        return [] if table is None else [TableRow(row, name, at) for at, row in enumerate(table.to_pylist())]


def read_rows(table: pa.Table | None) -> list[dict[str, Any]]:
    """The rows of a table that may be missing."""
    return [] if table is None else table.to_pylist()


def read_number(row: Row, column: str) -> float:
    """A cell as a number; NaN where it is missing or null."""
    value = row.get(column)
    return math.nan if value is None else float(value)


def read_estimate(row: Row, value: str, lo: str = "", hi: str = "") -> Estimate:
    """A value with its interval; the ends are in `<value>_lo` and `<value>_hi` unless named."""
    ends = lo or f"{value}_lo", hi or f"{value}_hi"
    return Estimate(read_number(row, value), *(read_number(row, end) for end in ends))
