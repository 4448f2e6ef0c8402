"""The units whose labels are exchanged: the stories of one emotion and topic, taken together.

Stories that were written to one emotion on one topic may share more than these two (a plot, a writer's habit). Single
ones can then not be exchanged, but whole cells of emotion and topic can. A cell speaks with the mean rank of its
stories. The mean of many is steadier than that of few, so the cells of a topic are compared at equal size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array

from emosae.selectivity.ranks import Acts, BlockRanks, StoryLabels, VanElteren, rank_within, standardise_ranks


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """What a test counts as one observation: a cell of emotion and topic, or a story where no cell has two.

    Attributes:
        stories: The stories that are read, by row.
        member: Unit of each of them.
        label: Emotion of each unit.
        block: Topic of each unit, counted from 0.
        n_stories: Stories that there are, read or not.
        n_emotions: Emotions of the whole corpus; some may be absent here.
    """

    stories: Int[np.ndarray, " story"]
    member: Int[np.ndarray, " story"]
    label: Int[np.ndarray, " unit"]
    block: Int[np.ndarray, " unit"]
    n_stories: int
    n_emotions: int

    @property
    def per_emotion(self) -> Int[np.ndarray, " emotion"]:
        """How many units each emotion has."""
        return np.bincount(self.label, minlength=self.n_emotions)

    @property
    def n_left_out(self) -> int:
        """Stories that no test reads: their cell holds more than the others of its topic, or too few."""
        return self.n_stories - len(self.stories)

    def rank(self, acts: Acts) -> BlockRanks:
        """Centred ranks of the units within their topics, by every feature: sums over their stories' ranks.

        Topics whose cells hold more stories than elsewhere are scaled down, so that a topic weighs as van Elteren
        would have it, with mean ranks for ranks.
        """
        if len(self.label) == self.n_stories:
            return rank_within(acts, self.block)
        ranks = rank_within(csr_array(acts)[self.stories], self.block[self.member])
        n_units = np.bincount(self.block)
        each = ranks.size // n_units
        scale = (n_units + 1) / (each * (ranks.size + 1))
        scale /= scale.max()
        shape = (len(self.label), len(self.stories))
        place = (self.member.astype(np.int32), np.arange(len(self.stories), dtype=np.int32))
        pool = csr_array((scale[self.block[self.member]], place), shape=shape)
        offset = csc_array(pool @ ranks.offset)
        silent = ranks.silent * (each * scale)[:, None]
        return BlockRanks(offset, silent, *_sum_powers(offset, silent, self.block), block=self.block, size=n_units)

    def test(self, acts: Acts) -> VanElteren:
        """The van Elteren test of every feature for every emotion, cells exchanged within topics."""
        return standardise_ranks(self.rank(acts), self.label, self.n_emotions)


def form_units(label: StoryLabels, block: StoryLabels, cell: StoryLabels, n_emotions: int) -> Units:
    """Cut the cells of each topic to one size and make a unit of each.

    The size is the one that keeps most stories in at least two cells; of two that keep as many, the smaller. Larger
    cells give their first so many stories, smaller ones none. Only how many stories the cells hold decides, never
    what they hold, so that the units of a topic can be exchanged whenever its cells can.

    Args:
        label: Emotion of each story.
        block: Topic of each story, counted from 0.
        cell: The same number for stories that share emotion and topic; its own for a story that stands for itself.
        n_emotions: Emotions of the whole corpus.
    """
    number, size = np.unique(cell, return_inverse=True, return_counts=True)[1:]
    if (size == 1).all():
        everything = np.arange(len(label))
        return Units(everything, everything, label, block, len(label), n_emotions)
    wanted = np.zeros(int(block.max()) + 1, dtype=np.int64)
    for topic in range(len(wanted)):
        wanted[topic] = _choose_size(size[np.unique(number[block == topic])])
    wanted = wanted[block]
    order = np.argsort(number, kind="stable")
    earlier = np.empty_like(number)
    earlier[order] = np.arange(len(number)) - np.repeat(np.cumsum(size) - size, size)
    read = np.flatnonzero((earlier < wanted) & (size[number] >= wanted))
    _, opening, member = np.unique(number[read], return_index=True, return_inverse=True)
    first = read[opening]
    return Units(read, member, label[first], block[first], len(label), n_emotions)


def _choose_size(sizes: Int[np.ndarray, " cell"]) -> int:
    """How many stories each cell of a topic gives; a cell that is alone gives all of them."""
    ordered = np.sort(sizes)
    kept = ordered * np.arange(len(ordered), 0, -1)
    return int(ordered[np.argmax(kept[:-1])]) if len(ordered) > 1 else int(ordered[0])


def _sum_powers(
    offset: csc_array, silent: Float[np.ndarray, "block feature"], block: Int[np.ndarray, " unit"]
) -> tuple[Float[np.ndarray, "block feature"], Float[np.ndarray, "block feature"]]:
    """Sums over each block's units of the squares and of the cubes of `offset + silent`."""
    n_units = np.bincount(block)[:, None]
    inside = csr_array((np.ones(len(block)), block, np.arange(len(block) + 1)), shape=(len(block), len(n_units))).T
    first, second, third = ((inside @ offset.power(power)).toarray() for power in (1, 2, 3))
    square = n_units * silent**2 + 2 * silent * first + second
    return square, n_units * silent**3 + 3 * silent**2 * first + 3 * silent * second + third
