"""The tree of emotions: who is joined to whom, at what distance, and how often that is so with other topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.atlas.profiles import Profiles, Square

TREE_SCHEMA = pa.schema(
    [
        ("node", pa.int64()),
        ("left", pa.int64()),
        ("right", pa.int64()),
        ("height", pa.float64()),
        ("n_leaves", pa.int64()),
        ("support", pa.float64()),
        ("support_vectors", pa.float64()),
        ("members", pa.list_(pa.string())),
    ]
)
"""The columns of a tree: a row per merge, the lowest first."""

Merges = Float[np.ndarray, "merge 4"]


def join_emotions(cosine: Square, *, in_order: bool = True) -> Merges:
    """Average linkage of the distance 1 - cosine, as scipy writes it: left, right, height, leaves.

    Args:
        cosine: Of every two emotions.
        in_order: Whether left and right are chosen so that like emotions stand side by side, which takes longer.
    """
    from scipy.cluster.hierarchy import linkage

    if len(cosine) < 2:
        return np.zeros((0, 4))
    upper = np.triu_indices(len(cosine), 1)
    return linkage(np.clip(1 - cosine[upper], 0, 2), method="average", optimal_ordering=in_order)


def build_tree(by_features: Profiles, by_vectors: Profiles, *, n_draws: int, rng: np.random.Generator) -> pa.Table:
    """The tree of the features' similarity, with the share of resamples in which each group stands.

    Returns:
        A row per merge, the lowest first. `left` and `right` are leaves, counted in the order of the emotions' names,
        or nodes; `node` is the merge's own number, which goes on from the leaves'. `height` is the distance 1 - cosine
        (0 to 2), averaged over the pairs that are joined. `support` is the share, in [0, 1], of `n_draws` draws of the
        confirm topics with replacement in whose tree the same emotions form a group (Felsenstein 1985,
        doi:10.1111/j.1558-5646.1985.tb00420.x); the last merge holds all and has 1. `support_vectors` is the same of
        trees of emotion vectors and topics of discover and tune. Both null with fewer than two topics or no features.
    """
    merges = join_emotions(by_features.compare())
    groups = list_groups(merges, by_features.emotions)
    support = count_groups(by_features, n_draws=n_draws, rng=rng)
    other = count_groups(by_vectors, n_draws=n_draws, rng=rng)
    rows = [
        _describe(number, merge, group, len(by_features.emotions))
        | {"support": _share(support, group, n_draws), "support_vectors": _share(other, group, n_draws)}
        for number, (merge, group) in enumerate(zip(merges, groups, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=TREE_SCHEMA)


def list_groups(merges: Merges, emotions: Sequence[str]) -> list[frozenset[str]]:
    """The emotions below each merge."""
    below = [frozenset({emotion}) for emotion in emotions]
    for left, right in merges[:, :2].astype(int):
        below.append(below[left] | below[right])
    return below[len(emotions) :]


def draw_topics(n_topics: int, n_draws: int, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " topic"]]:
    """How often each topic is drawn, when as many as there are are drawn with replacement."""
    for _ in range(n_draws):
        yield rng.multinomial(n_topics, np.full(n_topics, 1 / n_topics)).astype(np.float64)


def count_groups(profiles: Profiles, *, n_draws: int, rng: np.random.Generator) -> Counter[frozenset[str]] | None:
    """In how many resamples' trees each group of emotions stands; None where resampling can tell nothing."""
    if profiles.n_topics < 2 or not profiles.total.any():
        return None
    found: Counter[frozenset[str]] = Counter()
    for weight in draw_topics(profiles.n_topics, n_draws, rng):
        found.update(list_groups(join_emotions(profiles.compare(weight), in_order=False), profiles.emotions))
    return found


def _share(counts: Counter[frozenset[str]] | None, group: frozenset[str], n_draws: int) -> float | None:
    return None if counts is None else counts[group] / n_draws


def _describe(number: int, merge: Float[np.ndarray, " 4"], group: frozenset[str], n_leaves: int) -> dict[str, Any]:
    return {
        "node": n_leaves + number,
        "left": int(merge[0]),
        "right": int(merge[1]),
        "height": float(merge[2]),
        "n_leaves": int(merge[3]),
        "members": sorted(group),
    }
