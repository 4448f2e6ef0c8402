"""Exchange labels within topics: p of each feature, p of the best one, and a check of the analytic tail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array, csr_array

from emosae.selectivity.order import cut_columns
from emosae.selectivity.ranks import (
    Acts,
    AnyByEmotion,
    BlockRanks,
    FeatureByEmotion,
    StoryLabels,
    add_by_label,
    block_weights,
    count_labels,
    null_variance,
    rank_within,
    standardise_ranks,
)

Tested = Bool[np.ndarray, "feature emotion"]
Draws = Int[np.ndarray, "draw story"]

_CELLS = 5632
_ADDITIONS = 1 << 16
_MOST_DRAWS = 64
_MOST_FEATURES = 8
"""A tile holds about so many sums per feature, additions, draws and features: what it needs fits a core's own cache."""

_LINE = 64

_TIE = 1e-6
"""Two rank sums, in half ranks, nearer than this are ties, and a tie counts against the feature."""

_Z_TIE = 5e-5
"""The same for two deviates, of which one was made in single precision."""


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
    """Count the draws that reach each tested rank sum, and keep the largest z of each draw.

    Only stories that fire are added up, at the bin that a draw's label names: the silent stories of a block share one
    rank, and no exchange changes how many stories of a block an emotion has.

    Args:
        ranks: Within-block ranks.
        labels: The observed emotions.
        draws: Exchanges of them within the blocks of the ranks.
        tested: What is searched.
    """
    n_emotions = tested.shape[1]
    precision = _choose_precision(ranks, labels)
    scale, base = _standardise_sums(ranks, labels, tested, precision)
    width = max(1, min(_CELLS // n_emotions, _MOST_DRAWS, len(draws)))
    bins = _tabulate_bins(draws, n_emotions, width)
    p = np.full(tested.shape, np.nan)
    largest = np.full((len(bins) * width, n_emotions), -np.inf, dtype=precision)
    for idx in _cut_features(ranks, np.flatnonzero(tested.any(axis=1)), width):
        scores = _score_stories(ranks, idx)
        observed = add_by_label(scores.data, labels[scores.indices], np.diff(scores.indptr), n_emotions)
        tile = _Tile(csc_array(scores, dtype=precision), (observed - _TIE).astype(precision), scale[idx], base[idx])
        reached = _walk_draws(tile, bins, len(draws), largest)
        p[idx] = np.where(tested[idx], (1 + reached) / (1 + len(draws)), np.nan)
    return PermutationNull(p, largest[: len(draws)].astype(np.float64))


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
    below = np.stack([np.searchsorted(ordered[:, e], z[:, e] - _Z_TIE) for e in range(z.shape[1])], axis=1)
    return np.where(tested, (1 + len(family) - below) / (1 + len(family)), np.nan)


@dataclass(frozen=True, eq=False, slots=True)
class _Tile:
    """Some features, ready to be added up in any draw.

    Attributes:
        scores: Rank of a firing story above the silent ones, in half ranks of the block that weighs most.
        bar: Least sum of scores that reaches the observed one.
        scale: Deviate per unit of such a sum; 0 where nothing is tested or nothing varies.
        base: Deviate of a sum of 0; -inf where nothing is tested.
    """

    scores: csc_array
    bar: FeatureByEmotion
    scale: FeatureByEmotion
    base: FeatureByEmotion


def _choose_precision(ranks: BlockRanks, labels: StoryLabels) -> type[np.floating]:
    """Single where it is exact: blocks of one size and half ranks, so that sums are integers, and none too large."""
    size = ranks.size[ranks.size > 0]
    offset = ranks.offset.data
    most = 2 * max(size.max(initial=0), offset.max(initial=0), -offset.min(initial=0))
    if (size != size[:1]).any() or most * np.bincount(labels).max(initial=0) >= 1 << 24:
        return np.float64
    tiles = (2 * offset[entries] for _, entries in cut_columns(ranks.offset.indptr))
    return np.float32 if all((tile == np.rint(tile)).all() for tile in tiles) else np.float64


def _tabulate_bins(draws: Draws, n_emotions: int, width: int) -> Int[np.ndarray, "tile story width"]:
    """The bin, draw x emotion, that a story's score goes to, by tile of draws; the last tile repeats its last draw."""
    n_tiles = -(-len(draws) // width)
    bins = _allocate_lines((n_tiles, draws.shape[1], width))
    for place in range(n_tiles * width):
        tile, column = divmod(place, width)
        bins[tile, :, column] = draws[min(place, len(draws) - 1)] + column * n_emotions
    return bins


def _allocate_lines(shape: tuple[int, int, int]) -> Int[np.ndarray, "tile story width"]:
    """Integers that begin with a cache line: rows that straddle two take a third longer to fetch."""
    n_bytes = 4 * int(np.prod(shape))
    memory = np.empty(n_bytes + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + n_bytes].view(np.int32).reshape(shape)


def _cut_features(
    ranks: BlockRanks, used: Int[np.ndarray, " used"], width: int
) -> Iterator[Int[np.ndarray, " feature"]]:
    total = np.cumsum(np.diff(ranks.offset.indptr)[used])
    start = 0
    while start < len(used):
        done = total[start - 1] if start else 0
        stop = int(np.searchsorted(total, done + _ADDITIONS // width, side="right"))
        stop = min(max(stop, start + 1), start + _MOST_FEATURES)
        yield used[start:stop]
        start = stop


def _unit(ranks: BlockRanks) -> float:
    """Half ranks of the block that weighs most, per unit of van Elteren's sum."""
    return 2.0 / float(block_weights(ranks)[ranks.size > 0].max(initial=0))


def _score_stories(ranks: BlockRanks, idx: Int[np.ndarray, " feature"]) -> csc_array:
    scores = ranks.offset[:, idx]
    scores.data *= (block_weights(ranks) * _unit(ranks))[ranks.block[scores.indices]]
    return scores


def _standardise_sums(
    ranks: BlockRanks, labels: StoryLabels, tested: Tested, precision: type[np.floating]
) -> tuple[FeatureByEmotion, FeatureByEmotion]:
    """Deviate per unit of a sum of scores (0 where it cannot vary), and that of a sum of 0 (-inf where not tested).

    All features at once, because a matrix product rounds by the shape of its factors.
    """
    counts = count_labels(labels, ranks.block, tested.shape[1])
    scale = null_variance(ranks, counts)
    np.sqrt(scale, out=scale)
    np.divide(1.0, scale, out=scale, where=scale > 0)
    base = (ranks.silent * block_weights(ranks)[:, None]).T @ counts
    base *= scale
    base[~tested] = -np.inf
    scale /= _unit(ranks)
    scale[~tested] = 0
    return scale.astype(precision), base.astype(precision)


def _walk_draws(
    tile: _Tile,
    bins: Int[np.ndarray, "tile story width"],
    n_draws: int,
    largest: Float[np.ndarray, "draw emotion"],
) -> Int[np.ndarray, "feature emotion"]:
    """Count the draws that reach the bar; raise `largest` to what they reach."""
    n_features, n_emotions = tile.bar.shape
    width = bins.shape[2]
    bar, scale, base = (np.tile(table, (1, width)) for table in (tile.bar, tile.scale, tile.base))
    reached = np.zeros(tile.bar.shape, dtype=np.int64)
    adder = _Adder.of(tile.scores, width, n_emotions)
    hit = np.empty(bar.shape, dtype=bool)
    hits = np.zeros(bar.shape, dtype=np.uint8)
    for number, table in enumerate(bins):
        total = adder.add(table)
        real = n_emotions * min(width, n_draws - number * width)
        np.greater_equal(total, bar, out=hit)
        hits[:, :real] += hit.view(np.uint8)[:, :real]
        total *= scale
        total += base
        top = largest[number * width : (number + 1) * width].reshape(-1)
        np.maximum(top, total.max(axis=0), out=top)
        if number % 255 == 254 or number == len(bins) - 1:
            reached += hits.reshape(n_features, width, n_emotions).sum(axis=1, dtype=np.int64)
            hits[:] = 0
    return reached


@dataclass(frozen=True, eq=False, slots=True)
class _Adder:
    """Adds the scores of a tile's features by bin.

    scipy adds entries of a sparse table that share a place when it is made dense: that is the fastest scatter of
    scores to bins that no compiler of ours is needed for.
    """

    story: Int[np.ndarray, " entry"]
    table: csr_array
    total: Float[np.ndarray, "feature bin"]

    @classmethod
    def of(cls, scores: csc_array, width: int, n_emotions: int) -> _Adder:
        """For draws in tiles of `width`."""
        shape = (len(scores.indptr) - 1, width * n_emotions)
        repeated = np.repeat(scores.data, width)
        bins = np.zeros(len(repeated), dtype=np.int32)
        table = csr_array((repeated, bins, (scores.indptr * width).astype(np.int32)), shape=shape)
        return cls(scores.indices.astype(np.intp), table, np.empty(shape, dtype=scores.dtype))

    def add(self, bins: Int[np.ndarray, "story width"]) -> Float[np.ndarray, "feature bin"]:
        """Sums of one tile of draws, in an array that the next call overwrites."""
        into = self.table.indices.reshape(-1, bins.shape[1])
        np.take(bins, self.story, axis=0, out=into, mode="clip")
        return self.table.toarray(out=self.total)
