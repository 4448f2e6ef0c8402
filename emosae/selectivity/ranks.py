"""Ranks of sparse activations, and the statistics made of them: AUROC, van Elteren's z, Spearman.

Only stored entries are sorted (`order.py`). Every other story is silent (exactly 0) and shares one mid-rank with the
other silent stories of its block, so each result is a sum over stored entries plus a correction per block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array, csr_matrix

from emosae.selectivity.order import SortedTile, cut_columns, sort_columns

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
    columns = _finite_columns(acts)
    size = np.bincount(block)
    shape = (len(columns.indptr) - 1, len(size))
    silent, square, cube = np.empty(shape), np.empty(shape), np.empty(shape)
    story, offset = np.empty_like(columns.indices), np.empty(columns.nnz)
    for tile in sort_columns(columns, block, len(size)):
        low, rise = _rank_tile(tile, size)
        centred = rise + np.repeat(low.ravel(), tile.fires.ravel())
        rows = slice(tile.first, tile.first + len(low))
        silent[rows], story[tile.entries], offset[tile.entries] = low, tile.story, rise
        for table, power in ((square, 2), (cube, 3)):
            table[rows] = _sum_cells(centred**power, tile) + (size - tile.fires) * low**power
    ranks = csc_array((offset, story, columns.indptr), shape=columns.shape)
    return BlockRanks(ranks, silent.T, square.T, cube.T, block=block, size=size)


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
    columns = _finite_columns(acts)
    positive = np.bincount(labels, minlength=n_emotions)
    pairs = positive * (len(labels) - positive)
    pairs = np.where(pairs > 0, pairs, np.nan)
    auroc = np.empty((len(columns.indptr) - 1, n_emotions))
    size = np.array([len(labels)])
    for tile in sort_columns(columns, np.zeros(len(labels), dtype=np.int64), 1):
        low, rise = _rank_tile(tile, size)
        total = add_by_label(rise, labels[tile.story], tile.fires.sum(axis=1), n_emotions) + low * positive
        auroc[tile.first : tile.first + len(low)] = 0.5 + total / pairs
    return auroc


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


def add_by_label(
    values: Float[np.ndarray, " entry"],
    labels: StoryLabels,
    length: Int[np.ndarray, " column"],
    n_emotions: int,
) -> Float[np.ndarray, "column emotion"]:
    """Sum of each column's values by label, columns one after another."""
    cell = np.repeat(np.arange(len(length)) * n_emotions, length) + labels
    return _add_by_cell(values, cell, len(length) * n_emotions).reshape(-1, n_emotions)


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


def _finite_columns(acts: Acts) -> csc_array:
    """The activations by column, without stored zeros; the caller's own where it is so already."""
    columns = csc_array(acts)
    if columns.dtype.kind != "f":
        columns = csc_array(columns, dtype=np.float64)
    if (columns.data == 0).any():
        columns = columns.copy()
        columns.eliminate_zeros()
    if not np.isfinite(columns.data).all():
        bad = np.searchsorted(columns.indptr, np.flatnonzero(~np.isfinite(columns.data)), side="right") - 1
        raise ValueError(f"activations that are not finite, in features {np.unique(bad)[:8].tolist()}")
    return columns


def _rank_tile(
    tile: SortedTile, size: Int[np.ndarray, " block"]
) -> tuple[Float[np.ndarray, "column block"], Float[np.ndarray, " entry"]]:
    """Centred ranks of the silent stories of each cell, and how far above them each stored entry stands."""
    n_silent = size - tile.fires
    low = tile.below + (n_silent - size) / 2
    start = np.cumsum(tile.fires).reshape(tile.fires.shape) - tile.fires
    rank_less_low = 1 - start - (size + 1) / 2 - low
    rise = tile.place + np.repeat((rank_less_low + n_silent).ravel(), tile.fires.ravel())
    if tile.below.any():
        is_below = np.arange(len(rise)) < np.repeat((start + tile.below).ravel(), tile.fires.ravel())
        rise -= np.where(is_below, np.repeat(n_silent.ravel(), tile.fires.ravel()), 0)
    return low, rise


def _sum_cells(values: Float[np.ndarray, " entry"], tile: SortedTile) -> Float[np.ndarray, "column block"]:
    cell = np.repeat(np.arange(tile.fires.size), tile.fires.ravel())
    return _add_by_cell(values, cell, tile.fires.size).reshape(tile.fires.shape)


def _add_by_cell(
    values: Float[np.ndarray, " entry"], cell: Int[np.ndarray, " entry"], n_cells: int
) -> Float[np.ndarray, " cell"]:
    """Sum of the values of each cell; `bincount` alone gives integers where there is no entry."""
    return np.bincount(cell, values, minlength=n_cells).astype(np.float64, copy=False)


def _sum_by_emotion(
    ranks: BlockRanks, labels: StoryLabels, n_emotions: int, weight: Float[np.ndarray, " block"]
) -> FeatureByEmotion:
    """Weighted sum of centred ranks over each emotion's stories."""
    total = ranks.silent.T @ (count_labels(labels, ranks.block, n_emotions) * weight[:, None])
    story_weight = weight[ranks.block]
    for columns, entries in cut_columns(ranks.offset.indptr):
        story = ranks.offset.indices[entries]
        values = ranks.offset.data[entries] * story_weight[story]
        length = np.diff(ranks.offset.indptr[columns.start : columns.stop + 1])
        total[columns] += add_by_label(values, labels[story], length, n_emotions)
    return total
