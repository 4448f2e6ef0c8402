"""Place emotions by the features that they share, and features among the emotions that they tell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from emosae.atlas.profiles import Square
from emosae.atlas.tree import join_emotions

Places = Float[np.ndarray, "_ 2"]

CLUSTER_COSINE = 0.3
"""Groups of emotions are merged while their average cosine is above this."""

_JITTER = 0.03
_SWEEPS = 300


def place_emotions(cosine: Square) -> Places:
    """Places in the plane whose distances are nearest to those of the profiles: near means alike.

    Stress majorisation from classical scaling. The emotion farthest from the middle lies at distance 1.
    """
    goal = np.sqrt(np.maximum(2 - 2 * cosine, 0))
    np.fill_diagonal(goal, 0)
    turn = np.arange(len(cosine)) * np.pi * (3 - np.sqrt(5))
    places = _scale_classically(cosine) + 0.01 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for _ in range(_SWEEPS):
        gap = np.linalg.norm(places[:, None] - places[None], axis=-1)
        ratio = -np.divide(goal, gap, out=np.zeros_like(goal), where=gap > 1e-12)
        np.fill_diagonal(ratio, 0)
        np.fill_diagonal(ratio, -ratio.sum(axis=1))
        places = ratio @ places / len(places)
    places -= places.mean(axis=0)
    return places / max(float(np.linalg.norm(places, axis=1).max()), 1e-9)


def _scale_classically(cosine: Square) -> Places:
    """The two leading axes of the centred cosines, signs fixed so that the same table gives the same map."""
    centring = np.eye(len(cosine)) - 1 / len(cosine)
    values, vectors = np.linalg.eigh(centring @ cosine @ centring)
    best = np.argsort(values)[::-1][:2]
    signs = np.sign(vectors[np.abs(vectors[:, best]).argmax(axis=0), best])
    return vectors[:, best] * signs * np.sqrt(np.maximum(values[best], 0))


def cluster_emotions(cosine: Square) -> tuple[Int[np.ndarray, " emotion"], Int[np.ndarray, " emotion"]]:
    """Average-linkage clustering: each emotion's position along the tree's leaves, and its group, counted from 0."""
    from scipy.cluster.hierarchy import fcluster, leaves_list

    tree = join_emotions(cosine)
    order = np.empty(len(cosine), dtype=np.int64)
    order[leaves_list(tree)] = np.arange(len(cosine))
    groups = fcluster(tree, 1 - CLUSTER_COSINE, criterion="distance").astype(np.int64)
    first = {int(group): place for place, group in enumerate(dict.fromkeys(groups[np.argsort(order)].tolist()))}
    return order, np.array([first[int(group)] for group in groups])


def place_features(profile: Float[np.ndarray, "feature emotion"], emotions: Places, rng: np.random.Generator) -> Places:
    """Each feature between the emotions that it tells, drawn to the best; a small seeded shift keeps twins apart."""
    pull = np.maximum(np.nan_to_num(profile) - 0.5, 0) ** 4
    total = pull.sum(axis=1, keepdims=True)
    weights = np.divide(pull, total, out=np.zeros_like(pull), where=total > 0)
    return weights @ emotions + rng.normal(0, _JITTER, (len(profile), 2))
