"""Features that fire only where one feature of another SAE fires: what absorption leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array

from emosae.matching.nearest import Pairs
from emosae.matching.rows import Numbers

NESTED = 0.95
"""Share of the stories in which a feature fires that must be covered; of the other's stories it covers less."""

_TILE = 2048


@dataclass(frozen=True, eq=False, slots=True)
class Firing:
    """Where the features of an SAE fire.

    Attributes:
        fraction: Share of tokens of each story at which each feature fires.
        index: The features that fire in enough stories.
        fires: Whether each of them fires in each story, as 0 or 1.
    """

    fraction: csc_array
    index: Numbers
    fires: Float[np.ndarray, "k story"]

    @classmethod
    def of(cls, fraction: csr_array, stories: Numbers, min_fires: int) -> Firing:
        """Take the stories that are compared, and the features that fire in at least `min_fires` of them."""
        columns = csc_array(fraction[stories], dtype=np.float32)
        index = np.flatnonzero(np.diff(columns.indptr) >= min_fires)
        return cls(columns, index, np.ascontiguousarray((columns[:, index].toarray() > 0).T.astype(np.float32)))


def find_nested(a: Firing, b: Firing, wanted: Numbers, block: Int[np.ndarray, " story"], *, alpha: float) -> Pairs:
    """The feature of b in which each wanted feature of a is nested, if there is one.

    Nested: of the stories in which a fires b fires in NESTED or more, while a fires in less than that share of b's; in
    as many of them b fires at as many tokens as a, or more; and so few stories without b would be an accident of
    probability at most `alpha` over all features of b if firings were exchanged within blocks of stories. The
    probability is Chernoff's bound for sums of unlike coins, so the error is smaller. Whether the two fire at the same
    tokens is not known from stories. Of several that fit, the one that chance explains least.
    """
    chosen = np.flatnonzero(np.isin(a.index, wanted))
    if not len(chosen) or not len(b.index):
        return np.zeros((0, 2), dtype=np.int64)
    best, least = np.full(len(chosen), -1), np.full(len(chosen), np.log(alpha / len(b.index)))
    member = (block[:, None] == np.unique(block)).astype(np.float32)
    silent = (1 - b.fires @ member / member.sum(axis=0)).T
    for start in range(0, len(chosen), _TILE):
        part = slice(start, min(start + _TILE, len(chosen)))
        own = a.fires[chosen[part]]
        for first in range(0, len(b.index), _TILE):
            columns = slice(first, first + _TILE)
            both = own @ b.fires[columns].T
            expected = (own @ member) @ silent[:, columns]
            chance = _bound_chance(both, own.sum(axis=1), b.fires[columns].sum(axis=1), expected)
            place = chance.argmin(axis=1)
            found = chance[np.arange(len(place)), place]
            better = found < least[part]
            best[part][better], least[part][better] = place[better] + first, found[better]
    pairs = np.stack([a.index[chosen], b.index[best]], axis=1)[best >= 0]
    return pairs[[_is_covered(a.fraction, b.fraction, int(i), int(j)) for i, j in pairs]] if len(pairs) else pairs


def _bound_chance(
    both: Float[np.ndarray, "k other"],
    own: Float[np.ndarray, " k"],
    other: Float[np.ndarray, " other"],
    expected: Float[np.ndarray, "k other"],
) -> Float[np.ndarray, "k other"]:
    """Logarithm of the bound on the probability of as few stories without b; 0 where a is not nested."""
    misses = own[:, None] - both
    ratio = np.divide(expected, misses, out=np.ones_like(expected), where=misses > 0)
    chance = np.where(misses < expected, misses - expected + misses * np.log(np.maximum(ratio, 1.0)), 0.0)
    is_nested = (both >= NESTED * own[:, None]) & (both < NESTED * other)
    return np.where(is_nested, chance, 0.0)


def _is_covered(a: csc_array, b: csc_array, i: int, j: int) -> bool:
    """Whether b fires at as many tokens as a in most of the stories in which a fires."""
    own, other = (column[:, [k]].toarray()[:, 0] for column, k in ((a, i), (b, j)))
    return bool(np.mean(other[own > 0] >= own[own > 0]) >= NESTED)
