"""Exchange labels within topics: p of each feature, p of the best one, and a check of the analytic tail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from emosae.selectivity.ranks import (
    Acts,
    AnyByEmotion,
    BlockRanks,
    FeatureByEmotion,
    StoryLabels,
    block_weights,
    count_labels,
    null_variance,
    rank_within,
    standardise_ranks,
)

Tested = Bool[np.ndarray, "feature emotion"]
Draws = Int[np.ndarray, "draw story"]

_FEATURE_TILE = 512
_CELL_TILE = 640
_SLACK = 5e-5
"""Two sums of single-precision scores nearer than this are ties, and a tie counts against the feature."""


@dataclass(frozen=True, eq=False, slots=True)
class PermutationNull:
    """What one set of draws says of one table of activations.

    Attributes:
        p: Share of draws (the observed labels counted among them) with at least the observed rank sum; its
            floor is 1 / (draws + 1). NaN where not tested.
        largest: Largest z over the tested features in each draw; -inf where none is tested.
    """

    p: FeatureByEmotion
    largest: Float[np.ndarray, "draw emotion"]


def shuffle_within(labels: StoryLabels, block: StoryLabels, n_draws: int, rng: np.random.Generator) -> Draws:
    """Draws of the labels exchanged within blocks, each exchange equally likely."""
    draws = np.tile(labels, (n_draws, 1))
    for member in range(int(block.max(initial=-1)) + 1):
        inside = np.flatnonzero(block == member)
        draws[:, inside] = rng.permuted(draws[:, inside], axis=1)
    return draws


def permutation_p(
    acts: Acts, labels: StoryLabels, block: StoryLabels, n_draws: int, rng: np.random.Generator
) -> FeatureByEmotion:
    """Upper-tail p of van Elteren's rank sum, labels exchanged within blocks; from 1 / (n_draws + 1) to 1."""
    n_emotions = int(labels.max(initial=-1)) + 1
    ranks = rank_within(acts, block)
    everything = np.ones((ranks.silent.shape[1], n_emotions), dtype=bool)
    return permute_ranks(ranks, labels, shuffle_within(labels, block, n_draws, rng), everything).p


def permute_ranks(ranks: BlockRanks, labels: StoryLabels, draws: Draws, tested: Tested) -> PermutationNull:
    """Count the draws that reach each tested rank sum, and keep the largest z of each draw."""
    n_emotions = tested.shape[1]
    spread = np.sqrt(null_variance(ranks, count_labels(labels, ranks.block, n_emotions)))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    reached = np.zeros(tested.shape, dtype=np.int64)
    largest = np.full((len(draws), n_emotions), -np.inf)
    used = np.flatnonzero(tested.any(axis=1))
    observed = list(_group_stories(labels[None], n_emotions, 1))
    groups = list(_group_stories(draws, n_emotions, max(1, _CELL_TILE // n_emotions)))
    for start in range(0, len(used), _FEATURE_TILE):
        tile = used[start : start + _FEATURE_TILE]
        scores = _dense_scores(ranks, tile)
        bar = _sum_groups(observed[0][1], scores, n_emotions) - _SLACK
        gain = np.where(tested[tile], scale[tile], np.nan).T.astype(np.float32)
        for first, group in groups:
            total = _sum_groups(group, scores, n_emotions)
            reached[tile] += (total >= bar).sum(axis=0).T
            rows = slice(first, first + len(total))
            total *= gain
            np.fmax(largest[rows], np.fmax.reduce(total, axis=2, initial=-np.inf), out=largest[rows])
    p = np.where(tested, (1 + reached) / (1 + len(draws)), np.nan)
    return PermutationNull(p, largest)


def max_t(
    z: Sequence[AnyByEmotion],
    tested: Sequence[Bool[np.ndarray, "_ emotion"]],
    largest: Sequence[Float[np.ndarray, "draw emotion"]],
) -> list[AnyByEmotion]:
    """p of each feature against the largest z of all features searched, times the emotions tested.

    The chance that any feature is called selective for an emotion with which it does not rise is at most the level,
    whatever else is true. Holm's smaller factors would hold for emotions, not for features: an emotion with a true
    feature is rejected, and its other features would then be tested at up to the whole level.

    Args:
        z: Observed statistics, one table per SAE searched; all of them are one family.
        tested: What was searched.
        largest: Each draw's maximum per SAE; the draws must be the same exchanges for all.

    Returns:
        Adjusted p per SAE, at most 1 and at least emotions / (draws + 1); NaN where not tested.
    """
    family = np.maximum.reduce(list(largest))
    n_emotions = int(np.any([mask.any(axis=0) for mask in tested], axis=0).sum())
    raw = [_share_reaching(family, values, mask) for values, mask in zip(z, tested, strict=True)]
    return [np.minimum(1.0, values * n_emotions) for values in raw]


def check_tail(
    ranks: BlockRanks, draw: StoryLabels, tested: Tested, nominal: Float[np.ndarray, " level"]
) -> Float[np.ndarray, " level"]:
    """Share of tested cells whose analytic p under exchanged labels is at most each nominal level."""
    return share_below(standardise_ranks(ranks, draw, tested.shape[1]).p_upper[tested], nominal)


def share_below(p: Float[np.ndarray, " test"], nominal: Float[np.ndarray, " level"]) -> Float[np.ndarray, " level"]:
    """Share of p values of at most each level: the level itself if there is nothing to find; NaN without tests."""
    return np.searchsorted(np.sort(p), nominal, side="right") / len(p) if len(p) else np.full(len(nominal), np.nan)


def _share_reaching(family: Float[np.ndarray, "draw emotion"], z: FeatureByEmotion, tested: Tested) -> FeatureByEmotion:
    ordered = np.sort(family, axis=0)
    below = np.stack([np.searchsorted(ordered[:, e], z[:, e] - _SLACK) for e in range(z.shape[1])], axis=1)
    return np.where(tested, (1 + len(family) - below) / (1 + len(family)), np.nan)


def _group_stories(draws: Draws, n_emotions: int, tile: int) -> Iterator[tuple[int, csr_array]]:
    """Tiles of draws as (draw x emotion) x story, 1 where the draw gives the story the emotion."""
    n_stories = draws.shape[1]
    for start in range(0, len(draws), tile):
        part = draws[start : start + tile]
        row = part + n_emotions * np.arange(len(part))[:, None]
        ends = np.concatenate([[0], np.cumsum(np.bincount(row.ravel(), minlength=len(part) * n_emotions))])
        story = np.argsort(part, axis=1, kind="stable").ravel()
        ones = np.ones(part.size, dtype=np.float32)
        yield start, csr_array((ones, story, ends), shape=(len(part) * n_emotions, n_stories))


def _dense_scores(ranks: BlockRanks, tile: Int[np.ndarray, " k"]) -> Float[np.ndarray, "story k"]:
    weight = block_weights(ranks)[:, None]
    scores = (ranks.silent[:, tile] * weight)[ranks.block]
    scores += ranks.offset[:, tile].toarray() * weight[ranks.block]
    return scores.astype(np.float32)


def _sum_groups(
    group: csr_array, scores: Float[np.ndarray, "story k"], n_emotions: int
) -> Float[np.ndarray, "draw emotion k"]:
    return (group @ scores).reshape(-1, n_emotions, scores.shape[1])
