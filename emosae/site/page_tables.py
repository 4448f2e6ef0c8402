"""What single pages show beside the map; it is read when such a page is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.site.histograms import Histograms


@dataclass(frozen=True, eq=False, slots=True)
class PageTables:
    """Tables of a run that only some pages read; each may be missing, and the pages then do without.

    Attributes:
        histograms: Counts of stories by activation, one record per SAE.
        tokens: `atlas/tokens`: what each feature's direction says to the vocabulary.
        connections: `atlas/connections`: tokens and earlier features that turn a feature on.
        replication: `selectivity/replication`: the same feature in another SAE.
        comparisons: `selectivity/comparisons`: each emotion's best feature against every baseline.
        tree: `atlas/tree`: a row per merge of the clustering of emotions.
        axes: `atlas/axes`: what the axes of the emotion vectors go with.
        statements: `atlas/statements`: what an earlier experiment saw, tested here.
        trajectory: `scenarios/impossible_code/trajectory`: levels of the traced features by attempt.
        rollouts: `scenarios/impossible_code/rollouts`: a row per episode.
        prompts: What the model was told first, by task.
        replies: `scenarios/conversation/replies`: a row per conversation.
        reads: `scenarios/conversation/reads`: a row per conversation and dial.
        messages: `scenarios/conversation/messages`: a row per sentence and dial.
        turned: `scenarios/conversation/turned`: replies with a dial turned.
        neuronpedia: Id on Neuronpedia of the SAEs that have one, by name.
    """

    histograms: Sequence[Histograms] = ()
    tokens: pa.Table | None = None
    connections: pa.Table | None = None
    replication: pa.Table | None = None
    comparisons: pa.Table | None = None
    tree: pa.Table | None = None
    axes: pa.Table | None = None
    statements: pa.Table | None = None
    trajectory: pa.Table | None = None
    rollouts: pa.Table | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    replies: pa.Table | None = None
    reads: pa.Table | None = None
    messages: pa.Table | None = None
    turned: pa.Table | None = None
    neuronpedia: Mapping[str, str] = field(default_factory=dict)
