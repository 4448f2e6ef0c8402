"""What the atlas pages are written from: the run's tables, frozen, and the stories to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.site.page_tables import PageTables

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Example:
    """One story as one feature reads it.

    Attributes:
        sae: Name of the dictionary.
        feature_idx: The feature.
        story_id: The story; it may be the example of many features.
        emotion: Of the story; `neutral` or any other word is shown as it is.
        split: `discover`, `tune` or `confirm`; empty if the text has none.
        tokens: The story's real tokens as text; joined they are the story.
        values: Activation at each token; 0 where the feature is silent.
    """

    sae: str
    feature_idx: int
    story_id: str
    emotion: str
    split: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse values that do not fit the tokens, or cannot be shown."""
        where = f"example {self.story_id!r} of {self.sae}/{self.feature_idx}"
        if len(self.tokens) != len(self.values):
            raise ValueError(f"{where}: {len(self.tokens)} tokens, but {len(self.values)} values")
        if not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"{where}: values that are not finite")

    @property
    def peak(self) -> float:
        """The strongest activation; 0 if the feature is silent here."""
        return max((0.0, *self.values))


@dataclass(frozen=True, eq=False, slots=True)
class SiteData:
    """Everything that the pages show. A table may have no rows, and a column called optional may be missing.

    Attributes:
        model: What the pages call the language model.
        synthetic: Whether it was made by this project as an instrument; every page then says so.
        manifest: The run's manifest, for the About page.
        saes: A row per SAE, in the order of listing: `name, hook_name`, and optional `location` (a directory in
            sae-lens' format, or `release:id`), `architecture, d_sae, seed, origin, l0, fvu, dead_fraction`.
        nodes: `atlas/nodes`.
        links: `atlas/links`.
        concepts: `atlas/concepts`.
        emotions: `atlas/emotions`, a row per emotion, found or not.
        ledger: A row per feature and emotion with its verdict.
        examples: Stories with their tokens; the strongest few of each feature are kept.
        overlap: `selectivity/overlap`, a row per ordered pair of emotions.
        baselines: A row per baseline, hook_name and emotion with auroc_confirm and its interval.
        scenarios: The summary table of each scenario that ran, by its name.
        planted: What was planted for an emotion in a synthetic model, a phrase each.
        notes: What did not run or could not be concluded, a sentence each.
        pages: What single pages show beside all this.
    """

    model: str
    synthetic: bool
    manifest: Mapping[str, Any]
    saes: pa.Table
    nodes: pa.Table
    links: pa.Table
    concepts: pa.Table
    emotions: pa.Table
    ledger: pa.Table
    examples: Sequence[Example] = ()
    overlap: pa.Table | None = None
    baselines: pa.Table | None = None
    scenarios: Mapping[str, pa.Table] = field(default_factory=dict)
    planted: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pages: PageTables = field(default_factory=PageTables)

    def __post_init__(self) -> None:
        """Refuse tables without the columns that the pages cannot do without."""
        for name, needed in _NEEDED.items():
            if missing := [column for column in needed if column not in getattr(self, name).column_names]:
                raise UserError(f"table {name}: has no column {', '.join(missing)}; build the atlas again")


_NEEDED = {
    "saes": ("name", "hook_name"),
    "nodes": ("sae", "feature_idx", "emotion", "x", "y"),
    "links": ("sae_a", "feature_a", "sae_b", "feature_b", "relation"),
    "concepts": ("concept",),
    "emotions": ("emotion",),
    "ledger": ("sae", "feature_idx", "emotion"),
}
