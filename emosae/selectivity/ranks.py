"""Ranks of sparse activations, and the statistics made of them: AUROC, van Elteren's z, Spearman.

Only stored entries are sorted. Every other story is silent (exactly 0) and shares one mid-rank with the other
silent stories of its block, so each result is a sparse product plus a correction per block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array, csr_matrix

Acts = csr_array | csc_array | csr_matrix
"""Activations, story x feature; what is not stored is 0."""

FeatureByEmotion = Float[np.ndarray, "feature emotion"]
AnyByEmotion = Float[np.ndarray, "_ emotion"]
"""Tables of SAEs of different widths, or of chosen features."""
StoryLabels = Int[np.ndarray, " story"]


@dataclass(frozen=True, eq=False, slots=True)
class BlockRanks:
    """Mid-ranks of stories within their block, less the block's mean rank; they sum to 0 in every block.

    A story of block b has the centred rank `offset + silent[b]` where `offset` stores it, else `silent[b]`.

    Attributes:
        offset: Centred rank of a story that fires, less that of a silent one.
        silent: Centred rank of a silent story.
        square: Sum of squared centred ranks over the block's stories.
        cube: Sum of cubed centred ranks.
        block: Block of each story, counted from 0.
        size: Stories in each block.
    """

    offset: csc_array
    silent: Float[np.ndarray, "block feature"]
    square: Float[np.ndarray, "block feature"]
    cube: Float[np.ndarray, "block feature"]
    block: StoryLabels
    size: Int[np.ndarray, " block"]


@dataclass(frozen=True, eq=False, slots=True)
class VanElteren:
    """The within-block rank test of every feature for every emotion against the rest.

    Attributes:
        z: Standardised weighted sum of within-block ranks; 0 where no block tells anything.
        skew: Skewness of z when labels are exchanged within blocks, exact.
        p_upper: Probability of at least this z under exchange, from the Pearson III law with that skewness.
        informative_blocks: Blocks that hold the emotion and another one, per emotion.
    """

    z: FeatureByEmotion
    skew: FeatureByEmotion
    p_upper: FeatureByEmotion
    informative_blocks: Int[np.ndarray, " emotion"]

    @property
    def p_two_sided(self) -> FeatureByEmotion:
        """Twice the smaller tail, at most 1."""
        lower = pearson3_upper(-self.z, -self.skew)
        return np.minimum(1.0, 2 * np.minimum(self.p_upper, lower))


def count_labels(labels: StoryLabels, block: StoryLabels, n_emotions: int) -> Int[np.ndarray, "block emotion"]:
    """Stories per block and emotion."""
    n_blocks = int(block.max(initial=-1)) + 1
    return np.bincount(block * n_emotions + labels, minlength=n_blocks * n_emotions).reshape(n_blocks, -1)


def one_hot(labels: StoryLabels, n_emotions: int) -> csr_array:
    """Story x emotion, 1 where the story has the emotion."""
    n = len(labels)
    return csr_array((np.ones(n), labels, np.arange(n + 1)), shape=(n, n_emotions))


def rank_within(acts: Acts, block: StoryLabels) -> BlockRanks:
    """Rank the stories of each block by every feature; ties share their mid-rank.

    Refused: activations that are not finite.
    """
    columns = csc_array(acts, dtype=np.float64, copy=True)
    columns.eliminate_zeros()
    if not np.isfinite(columns.data).all():
        bad = np.unique(_column_of(columns)[~np.isfinite(columns.data)])
        raise ValueError(f"activations that are not finite, in features {bad[:8].tolist()}")
    size = np.bincount(block)
    n_blocks, n_features = len(size), len(columns.indptr) - 1
    cell = _column_of(columns) * n_blocks + block[columns.indices]
    fires = np.bincount(cell, minlength=n_features * n_blocks)
    below = np.bincount(cell[columns.data < 0], minlength=n_features * n_blocks)
    mean_rank = (np.tile(size, n_features) + 1) / 2
    n_silent = np.tile(size, n_features) - fires
    silent = below + (n_silent + 1) / 2 - mean_rank
    centred = _midranks(columns.data, cell, fires, n_silent) - mean_rank[cell]
    sums = [
        np.bincount(cell, centred**power, minlength=n_features * n_blocks) + n_silent * silent**power
        for power in (2, 3)
    ]
    offset = csc_array((centred - silent[cell], columns.indices, columns.indptr), shape=columns.shape)
    by_block = [values.reshape(n_features, n_blocks).T for values in (silent, *sums)]
    return BlockRanks(offset, *by_block, block=block, size=size)


def auroc_all(acts: Acts, labels: StoryLabels, n_emotions: int | None = None) -> FeatureByEmotion:
    """Probability that a story of the emotion outranks a story of any other, for all features and emotions.

    Ties count one half, so a feature that never fires scores exactly 0.5.

    Args:
        acts: Story x feature.
        labels: Emotion of each story, counted from 0.
        n_emotions: Emotions that there are, if some may be absent.

    Returns:
        Values in [0, 1]; 0.5 is chance, NaN stands where an emotion has no story or has them all.
    """
    n_emotions = int(labels.max(initial=-1)) + 1 if n_emotions is None else n_emotions
    ranks = rank_within(acts, np.zeros(len(labels), dtype=np.int64))
    positive = np.bincount(labels, minlength=n_emotions)
    pairs = positive * (len(labels) - positive)
    total = _sum_by_emotion(ranks, labels, n_emotions, np.ones(len(ranks.size)))
    return 0.5 + np.divide(total, pairs, out=np.full(total.shape, np.nan), where=pairs > 0)


def van_elteren(acts: Acts, labels: StoryLabels, block: StoryLabels, n_emotions: int | None = None) -> VanElteren:
    """Test within blocks whether an emotion's stories outrank the others; blocks weigh 1 / (stories + 1).

    With one block, z is the Mann-Whitney deviate with tie correction. The normal tail is not used: the null
    of a feature that fires in few stories is skewed, and its normal tail too small by orders of magnitude.
    """
    n_emotions = int(labels.max(initial=-1)) + 1 if n_emotions is None else n_emotions
    return standardise_ranks(rank_within(acts, block), labels, n_emotions)


def standardise_ranks(ranks: BlockRanks, labels: StoryLabels, n_emotions: int) -> VanElteren:
    """The van Elteren test of ranks that are already made."""
    weight = block_weights(ranks)
    counts = count_labels(labels, ranks.block, n_emotions)
    total = _sum_by_emotion(ranks, labels, n_emotions, weight)
    spread = np.sqrt(null_variance(ranks, counts))
    z = np.divide(total, spread, out=np.zeros_like(total), where=spread > 0)
    third = (ranks.cube * weight[:, None] ** 3).T @ _third_cumulants(counts, ranks.size)
    skew = np.divide(third, spread**3, out=np.zeros_like(total), where=spread > 0)
    informative = ((counts > 0) & (counts < ranks.size[:, None])).sum(axis=0)
    return VanElteren(z, skew, pearson3_upper(z, skew), informative)


def block_weights(ranks: BlockRanks) -> Float[np.ndarray, " block"]:
    """Van Elteren's weights, which make blocks of any size count by the information they hold."""
    return 1.0 / (ranks.size + 1.0)


def null_variance(ranks: BlockRanks, counts: Int[np.ndarray, "block emotion"]) -> FeatureByEmotion:
    """Variance of the weighted rank sum when labels are exchanged within blocks."""
    size = ranks.size[:, None].astype(np.float64)
    share = counts * (size - counts) / np.maximum(size * (size - 1), 1)
    return (ranks.square * block_weights(ranks)[:, None] ** 2).T @ share


def spearman(acts: Acts, values: Float[np.ndarray, " story"]) -> Float[np.ndarray, " feature"]:
    """Rank correlation of every feature with one number per story; 0 where either does not vary."""
    from scipy.stats import rankdata

    ranks = rank_within(acts, np.zeros(len(values), dtype=np.int64))
    other = rankdata(values) - (len(values) + 1) / 2
    scale = np.sqrt(ranks.square[0] * (other**2).sum())
    product = ranks.offset.T @ other
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)


def pearson3_upper(z: FeatureByEmotion, skew: FeatureByEmotion) -> FeatureByEmotion:
    """Upper tail of the Pearson III law (a shifted gamma) with mean 0, variance 1 and the given skewness."""
    from scipy.special import gammainc, gammaincc, ndtr

    bent = np.abs(skew) > 1e-3
    shape = 4.0 / np.where(bent, skew, 1.0) ** 2
    reach = np.maximum(0.0, shape + np.where(bent, z * 2 / np.where(bent, skew, 1.0), 0.0))
    tail = np.where(skew > 0, gammaincc(shape, reach), gammainc(shape, reach))
    return np.where(bent, tail, ndtr(-z))


def _third_cumulants(
    counts: Int[np.ndarray, "block emotion"], size: Int[np.ndarray, " block"]
) -> Float[np.ndarray, "block emotion"]:
    """Third cumulant of a sum drawn without replacement, per unit of the scores' summed cubes."""
    n = size[:, None].astype(np.float64)
    return counts * (n - counts) * (n - 2 * counts) / np.maximum(n * (n - 1) * (n - 2), 1)


def _column_of(columns: csc_array) -> Int[np.ndarray, " entry"]:
    return np.repeat(np.arange(len(columns.indptr) - 1), np.diff(columns.indptr))


def _midranks(
    value: Float[np.ndarray, " entry"],
    cell: Int[np.ndarray, " entry"],
    fires: Int[np.ndarray, " cell"],
    n_silent: Int[np.ndarray, " cell"],
) -> Float[np.ndarray, " entry"]:
    """Mid-rank of each stored entry among all stories of its cell, silent ones included."""
    order = np.lexsort((value, cell))
    value, cell = value[order], cell[order]
    place = np.arange(len(order)) - (np.cumsum(fires) - fires)[cell] + 1.0 + np.where(value > 0, n_silent[cell], 0)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(cell) != 0) | (np.diff(value) != 0)
    first = np.flatnonzero(is_first)
    length = np.diff(np.append(first, len(order)))
    ranks = np.empty(len(order))
    ranks[order] = np.repeat(place[first] + (length - 1) / 2, length)
    return ranks


def _sum_by_emotion(
    ranks: BlockRanks, labels: StoryLabels, n_emotions: int, weight: Float[np.ndarray, " block"]
) -> FeatureByEmotion:
    """Weighted sum of centred ranks over each emotion's stories."""
    weighted = one_hot(labels, n_emotions) * weight[ranks.block][:, None]
    counts = count_labels(labels, ranks.block, n_emotions) * weight[:, None]
    return (ranks.offset.T @ weighted).toarray() + ranks.silent.T @ counts
