"""One-to-one assignment of the features of two SAEs, and a bound on what the best one could reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from emosae.matching.nearest import PLAIN, Nearest, Pairs, Products, Rows, find_nearest

DENSE = 2**20
"""Pairs up to which every one is considered, by scipy's Hungarian method."""
CANDIDATES = 8
"""Nearest rows of b that are considered for each row of a, where there are more pairs."""

_SWEEPS = 200


@dataclass(frozen=True, eq=False, slots=True)
class Assignment:
    """Pairs of which no two share an end.

    Attributes:
        pairs: Rows of a, rising, and of b.
        total: Sum over the pairs of how far their similarity lies above the floor.
        bound: No assignment of all rows, whatever pairs it considers, has a larger total.
    """

    pairs: Pairs
    total: float
    bound: float

    @property
    def gap(self) -> float:
        """Share of the bound that is missing, at most: 0 is optimal."""
        return 0.0 if self.bound <= 0 else max(0.0, 1 - self.total / self.bound)


def assign_rows(a: Rows, b: Rows, floor: float, how: Products = PLAIN) -> Assignment:
    """Assign rows one to one so that the sum of similarity above `floor` is largest; pairs not above it are none.

    Exact up to DENSE pairs. Above, only the nearest CANDIDATES of each row of a are considered: exact among these,
    and `bound` says how far from the best of all pairs it can be.
    """
    if len(a) * len(b) > DENSE:
        return assign_nearest(find_nearest(a, b, k=CANDIDATES, how=how), floor)
    worth = np.maximum(a.astype(np.float64) @ b.T.astype(np.float64) - floor, 0)
    pairs = np.stack(linear_sum_assignment(worth, maximize=True), axis=1)
    gain = worth[pairs[:, 0], pairs[:, 1]]
    return Assignment(pairs[gain > 0], float(gain.sum()), float(gain.sum()))


def assign_nearest(nearest: Nearest, floor: float) -> Assignment:
    """The best assignment among the pairs of a and their nearest of b, each row of a free to stay alone.

    The bound is that of linear programming: prices of the rows of b under which no pair is worth more than what its
    ends pay. A pair that was not considered is worth no more than the last that was.
    """
    worth = np.maximum(nearest.value_b - floor, 0)
    ka, kb = len(nearest.to_b), len(nearest.to_a)
    at, place = np.nonzero(worth > 0)
    of, gain = nearest.to_b[at, place], worth[at, place]
    alone = np.arange(ka)
    # a constant that all full matchings share keeps zeros, which a sparse table would lose
    data = 1 + np.concatenate([gain, np.zeros(ka)])
    graph = csr_array((data, (np.concatenate([at, alone]), np.concatenate([of, kb + alone]))), shape=(ka, kb + ka))
    rows, columns = min_weight_full_bipartite_matching(graph, maximize=True)
    pairs = np.stack([rows, columns], axis=1).astype(np.int64)
    pairs = pairs[columns < kb]
    own = np.zeros(ka)
    partner = np.full(ka, -1)
    partner[pairs[:, 0]] = pairs[:, 1]
    taken = partner[at] == of
    own[at[taken]] = gain[taken]
    missed = worth[:, -1] if worth.shape[1] < kb else np.zeros(ka)
    return Assignment(pairs, float(own.sum()), _bound(at, of, gain, own, partner, missed, kb))


def _bound(
    at: Int[np.ndarray, " edge"],
    of: Int[np.ndarray, " edge"],
    gain: Float[np.ndarray, " edge"],
    own: Float[np.ndarray, " ka"],
    partner: Int[np.ndarray, " ka"],
    missed: Float[np.ndarray, " ka"],
    kb: int,
) -> float:
    """What all rows pay under prices of b that are raised until no row of a would change its partner.

    Any prices that are not negative give a bound; those of the last sweep are used if some row still would.
    """
    price = np.zeros(kb)
    for _ in range(_SWEEPS):
        held = np.where(partner >= 0, price[partner], 0.0)
        asked = gain - own[at] + held[at]
        raised = price.copy()
        np.maximum.at(raised, of, asked)
        if np.allclose(raised, price, rtol=0, atol=1e-12):
            break
        price = raised
    paid = np.maximum(missed, 0.0)
    np.maximum.at(paid, at, gain - price[of])
    return float(paid.sum() + price.sum())
