"""Build the map: nodes, links, concepts and emotions, as tables that pages and reports read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from emosae.atlas.concepts import build_concepts
from emosae.atlas.emotions import measure_geometry
from emosae.atlas.nodes import choose_nodes, keep_links, tabulate_nodes
from emosae.features import StoryFeatures
from emosae.matching import LINK_SCHEMA, Criteria, match_features
from emosae.sae import Dictionary
from emosae.selectivity import Selectivity
from emosae.store import Stage
from emosae.stories import Norm

_TABLES = ("nodes", "links", "concepts", "emotions", "overlap", "similarity", "tree", "axes", "statements")


@dataclass(frozen=True, eq=False, slots=True)
class Atlas:
    """Features, concepts and emotions, and how they hang together.

    Attributes:
        nodes: A row per feature that is a candidate or is linked to one: `node` (sae/feature_idx), `emotion` (the
            candidate's best, else the profile's), the candidate's columns (null if it is none), `fire_rate`, `status`
            (match, split, merge, absorbed or orphan, see `name_status`; null with a single SAE), `n_matches`,
            `concept`, `x`, `y`, and `profile` (AUROC on discover + tune in the order of `emotions`).
        links: A row per pair of nodes of different SAEs; see `match_features`.
        concepts: A row per group of matched features; see `build_concepts`.
        emotions: A row per emotion, sorted by name: its summary, and its place; see `Geometry`.
        overlap: A row per ordered pair of emotions; see `measure_overlap`.
        similarity: A row per pair of emotions; see `Geometry`.
        tree: A row per merge of emotions; see `build_tree`.
        axes: A row per axis of the emotion vectors and measure; see `describe_axes`.
        statements: A row per statement of the original experiment; see `judge_statements`.
    """

    nodes: pa.Table
    links: pa.Table
    concepts: pa.Table
    emotions: pa.Table
    overlap: pa.Table
    similarity: pa.Table
    tree: pa.Table
    axes: pa.Table
    statements: pa.Table

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
    criteria: Criteria | None = None,
    vector_hook: str | None = None,
    norms: Mapping[str, Norm] | None = None,
) -> Atlas:
    """Match every pair of SAEs and lay out what the ranking found.

    Args:
        selectivity: The ranking of the same SAEs on the same stories.
        features: Their activations.
        dictionaries: The SAEs by name.
        rng: Draws the shuffles and the small shifts of the layout.
        alpha: Level at which a candidate counts as discovered.
        criteria: When features of two SAEs are linked; those of `Criteria` if none.
        vector_hook: Hook of an SAE at which emotion vectors are taken; the last SAE's if none.
        norms: Human ratings of valence and arousal, by word.
    """
    block = _number_emotions(selectivity.stories)
    pairs = [
        match_features(
            a, b, dictionaries[a.sae], dictionaries[b.sae], rng=rng, block=block, criteria=criteria or Criteria()
        )
        for a, b in combinations(features, 2)
    ]
    every = pa.concat_tables(pairs) if pairs else LINK_SCHEMA.empty_table()
    nodes = choose_nodes(selectivity.candidates, every)
    links = keep_links(every, nodes)
    hook_names = {table.sae: table.hook_name for table in features}
    concepts = build_concepts(links, selectivity.candidates, hook_names, alpha=alpha)
    geometry = measure_geometry(selectivity, features, rng=rng, alpha=alpha, vector_hook=vector_hook, norms=norms)
    emotions = selectivity.summary
    for name in geometry.emotions.column_names[1:]:
        emotions = emotions.append_column(name, geometry.emotions[name])
    xy = zip(*(emotions[name].to_pylist() for name in ("emotion", "x", "y")), strict=True)
    places = {name: np.array([x, y]) for name, x, y in xy}
    return Atlas(
        nodes=tabulate_nodes(nodes, selectivity, every, concepts, places, hook_names, alpha=alpha, rng=rng),
        links=links,
        concepts=concepts,
        emotions=emotions,
        overlap=selectivity.overlap,
        similarity=geometry.similarity,
        tree=geometry.tree,
        axes=geometry.axes,
        statements=geometry.statements,
    )


def _number_emotions(stories: pa.Table) -> Int[np.ndarray, " story"]:
    return np.unique(np.array(stories["emotion"].to_pylist()), return_inverse=True)[1].astype(np.int64)
