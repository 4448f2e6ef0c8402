"""What the page on a ranking is written from, and how its rows are read."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emosae.report.figures import Estimate, MarkStyle
from emosae.report.records import Row, read_estimate, read_rows
from emosae.selectivity import Selectivity

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = ("emotion", "sae", "feature_idx")
_HOOK = re.compile(r"blocks\.(\d+)\.hook_resid_(pre|post)")
_STYLES = {"difference_of_means": MarkStyle("s", "up"), "bag_of_words": MarkStyle("D", "other")}
_NAMES = {
    "bag_of_words": ("words alone", "words"),
    "difference_of_means": ("difference-of-means vector", "mean vector"),
    "linear_probe": ("linear probe", "linear probe"),
    "sparse_probe": ("probe on 8 features", "8 features"),
    "best_dimension": ("best raw dimension", "one dimension"),
    "pca": ("best principal component", "one PC"),
    "random_features": ("best of 20 random features", "random features"),
    "random_model": ("best feature of a random model", "random model"),
    "random_model_vector": ("vector of a random model", "its vector"),
}


@dataclass(frozen=True, eq=False, slots=True)
class RankingData:
    """A ranking and what it is measured against.

    Attributes:
        model: Its name.
        synthetic: Whether the model is the embedded one, about which nothing else can be concluded.
        alpha: False discovery rate at which a feature counts as discovered.
        ranking: The features.
        baselines: `selectivity/baselines`.
        comparisons: `selectivity/comparisons`.
        layers: `selectivity/layers`.
        detection: `selectivity/detection`.
        replication: `selectivity/replication`.
        masked_share: Share of the confirm stories' words that was masked for `lexical_drop`; NaN if that was not done.
    """

    model: str
    synthetic: bool
    alpha: float
    ranking: Selectivity
    baselines: pa.Table
    comparisons: pa.Table
    layers: pa.Table
    detection: pa.Table | None = None
    replication: pa.Table | None = None
    masked_share: float = math.nan

    @property
    def emotions(self) -> list[Row]:
        """The summary's rows, by name of the emotion."""
        return sorted(read_rows(self.ranking.summary), key=lambda row: row["emotion"])

    def rank_candidates(self) -> dict[str, list[Row]]:
        """Candidates of each emotion of all SAEs, the highest AUROC on discover first."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in read_rows(self.ranking.candidates):
            found[row["emotion"]].append(row)
        return {emotion: sorted(rows, key=_strength, reverse=True) for emotion, rows in found.items()}

    def find_baselines(self, emotion: str, hook_name: str | None) -> dict[str, Estimate]:
        """AUROC on confirm of the baselines that are drawn: words, and the vector at this hook."""
        return {
            row["baseline"]: read_estimate(row, "auroc_confirm")
            for row in read_rows(self.baselines)
            if row["emotion"] == emotion and row["hook_name"] in (None, hook_name) and row["baseline"] in _STYLES
        }

    def find_best(self, summary: Row) -> Row | None:
        """The candidate that a row of the summary calls the emotion's best."""
        wanted = [summary[name] for name in _KEY]
        return next((row for row in read_rows(self.ranking.candidates) if [row[n] for n in _KEY] == wanted), None)

    @property
    def hooks(self) -> list[str]:
        """Where the sweep read, the earliest hook first."""
        return list(dict.fromkeys(row["hook_name"] for row in sorted(read_rows(self.layers), key=lambda r: r["depth"])))


def name_baseline(baseline: str) -> str:
    """In plain words."""
    return _NAMES[baseline][0] if baseline in _NAMES else baseline.replace("_", " ")


def shorten_baseline(baseline: str) -> str:
    """For the head of a narrow column."""
    return _NAMES[baseline][1] if baseline in _NAMES else baseline.replace("_", " ")


def style_baseline(baseline: str) -> MarkStyle:
    """How the marks of a baseline that is drawn look."""
    return _STYLES[baseline]


def name_feature(row: Row) -> str:
    """`resid3 #151`, or a dash where there is none."""
    return "–" if row.get("sae") is None else f"{row['sae']} #{row['feature_idx']}"


def name_hooks(hooks: Sequence[str]) -> dict[str, str]:
    """Short names: the number of the block if all hooks lie after (or all before) theirs."""
    found = {hook: _HOOK.fullmatch(hook) for hook in hooks}
    sites = {match[2] for match in found.values() if match}
    is_plain = len(sites) == 1 and all(found.values())
    return {
        hook: hook if match is None else match[1] if is_plain else f"{match[1]} {match[2]}"
        for hook, match in found.items()
    }


def _strength(row: Row) -> tuple[float, float]:
    return round(row["auroc"], 9), row["cohens_d"]
