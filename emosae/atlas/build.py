"""Build the map: nodes, links, concepts and emotions, as tables that pages and reports read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from emosae.atlas.concepts import build_concepts
from emosae.atlas.geometry import cluster_emotions, place_emotions
from emosae.atlas.nodes import choose_nodes, keep_links, tabulate_nodes
from emosae.features import LINK_SCHEMA, StoryFeatures, match_features
from emosae.sae import Dictionary
from emosae.selectivity import Selectivity, overlap_matrix
from emosae.store import Stage

_TABLES = ("nodes", "links", "concepts", "emotions", "overlap")


@dataclass(frozen=True, eq=False, slots=True)
class Atlas:
    """Features, concepts and emotions, and how they hang together.

    Attributes:
        nodes: A row per feature that is a candidate or matches one: `node` (sae/feature_idx), `emotion` (the
            candidate's best, else the profile's), the candidate's columns (null if it is none), `fire_rate`, `status`
            (matched; absorbed: nearest one way only; orphan; null with a single SAE), `n_matches`, `concept`, `x`,
            `y`, and `profile` (AUROC on discover + tune in the order of `emotions`).
        links: A row per pair of nodes of different SAEs; see `match_features`.
        concepts: A row per group of matched features; see `build_concepts`.
        emotions: A row per emotion: `x`, `y`, `order` along the tree's leaves, `cluster`, and its summary.
        overlap: A row per ordered pair of emotions; see `measure_overlap`.
    """

    nodes: pa.Table
    links: pa.Table
    concepts: pa.Table
    emotions: pa.Table
    overlap: pa.Table

    def save(self, stage: Stage) -> None:
        """Write a Parquet file per table."""
        for name in _TABLES:
            stage.write_table(name, getattr(self, name))

    @classmethod
    def load(cls, stage: Stage) -> Atlas:
        """Read what `save` wrote."""
        return cls(**{name: stage.read_table(name) for name in _TABLES})


def build_atlas(
    selectivity: Selectivity,
    features: Sequence[StoryFeatures],
    dictionaries: Mapping[str, Dictionary],
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
) -> Atlas:
    """Match every pair of SAEs and lay out what the ranking found.

    Args:
        selectivity: The ranking of the same SAEs on the same stories.
        features: Their activations.
        dictionaries: The SAEs by name.
        rng: Draws the shuffles and the small shifts of the layout.
        alpha: Level at which a candidate counts as discovered.
    """
    block = _number_emotions(selectivity.stories)
    pairs = [
        match_features(a, b, dictionaries[a.sae], dictionaries[b.sae], rng=rng, block=block)
        for a, b in combinations(features, 2)
    ]
    every = pa.concat_tables(pairs) if pairs else LINK_SCHEMA.empty_table()
    nodes = choose_nodes(selectivity.candidates, every)
    links = keep_links(every, nodes)
    hook_names = {table.sae: table.hook_name for table in features}
    concepts = build_concepts(links, selectivity.candidates, list(hook_names), alpha=alpha)
    emotions = _tabulate_emotions(selectivity)
    xy = zip(*(emotions[name].to_pylist() for name in ("emotion", "x", "y")), strict=True)
    places = {name: np.array([x, y]) for name, x, y in xy}
    return Atlas(
        nodes=tabulate_nodes(nodes, selectivity, links, concepts, places, hook_names, alpha=alpha, rng=rng),
        links=links,
        concepts=concepts,
        emotions=emotions,
        overlap=selectivity.overlap,
    )


def _number_emotions(stories: pa.Table) -> Int[np.ndarray, " story"]:
    return np.unique(np.array(stories["emotion"].to_pylist()), return_inverse=True)[1].astype(np.int64)


def _tabulate_emotions(selectivity: Selectivity) -> pa.Table:
    """The summary's rows with each emotion's place, leaf and group; the summary is sorted by name like the overlap."""
    _, cosine = overlap_matrix(selectivity.overlap, "cosine")
    places, (order, cluster) = place_emotions(cosine), cluster_emotions(cosine)
    table = selectivity.summary
    for name, values in (("x", places[:, 0]), ("y", places[:, 1]), ("order", order), ("cluster", cluster)):
        table = table.append_column(name, pa.array(values))
    return table
