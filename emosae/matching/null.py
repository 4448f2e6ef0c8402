"""Which pairs of features are nearer than chance, by one measure, and how many of them chance would have made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from emosae.matching.assignment import assign_rows
from emosae.matching.nearest import PLAIN, Nearest, Pairs, Products, Rows, find_nearest
from emosae.matching.rows import Numbers, Side

NULL_VALUES = 4000
"""Nearest neighbours of chance from which a threshold is taken, at least; they are drawn in whole shuffles."""

Rule = Literal["mutual", "assignment"]
"""What a pair must be beside nearer than chance: each the other's nearest, or part of the one-to-one assignment."""


@dataclass(frozen=True, eq=False, slots=True)
class Accepted:
    """What one measure accepts, by the numbers of features.

    Attributes:
        pairs: Pairs (a, b) under the rule.
        to_b: The nearest feature of b to each of a; -1 if it is not above the threshold or a cannot be compared.
        to_a: The reverse.
        threshold: What similarity must exceed.
        false_share: Expected share of `pairs` that chance made, in [0, 1]: pairs per shuffle over pairs found. It
            takes every feature to be without a partner, so that it is rather too large. NaN without pairs.
    """

    pairs: Pairs
    to_b: Int[np.ndarray, " da"]
    to_a: Int[np.ndarray, " db"]
    threshold: float
    false_share: float


def accept(
    a: Side,
    b: Side,
    draw_null: Callable[[], Rows],
    *,
    alpha: float,
    rule: Rule = "mutual",
    how: Products = PLAIN,
) -> Accepted:
    """Compare two SAEs by one measure with partners that mean nothing.

    The threshold is the smallest value that a share of at most `alpha` of null nearest neighbours exceeds, counted with
    the new one among them. A feature whose nearest is not above it has no link by this measure in either direction, so
    that at most a share `alpha` of the features of unrelated SAEs is linked.

    Args:
        a: One SAE by this measure.
        b: The other.
        draw_null: Rows of b with whatever they share with a's removed, drawn anew at each call.
        alpha: Share of features that chance may link.
        rule: What is asked beside the threshold.
        how: How products are made.
    """
    if not len(a.index) or not len(b.index):
        nobody = (np.full(side.d_sae, -1) for side in (a, b))
        return Accepted(np.zeros((0, 2), dtype=np.int64), *nobody, threshold=math.nan, false_share=math.nan)
    n_shuffles = math.ceil(NULL_VALUES / (len(a.index) + len(b.index)))
    null = [(rows, find_nearest(a.rows, rows, how=how)) for rows in (draw_null() for _ in range(n_shuffles))]
    reached = np.concatenate([np.concatenate([one.value_b[:, 0], one.value_a]) for _, one in null])
    threshold = max(0.0, upper_quantile(reached, alpha))
    found = find_nearest(a.rows, b.rows, how=how)
    pairs = _apply(rule, found, a.rows, b.rows, threshold, how)
    by_chance = sum(len(_apply(rule, one, a.rows, rows, threshold, how)) for rows, one in null) / n_shuffles
    return Accepted(
        pairs=np.stack([a.index[pairs[:, 0]], b.index[pairs[:, 1]]], axis=1),
        to_b=_spread(found.to_b[:, 0], found.value_b[:, 0] > threshold, a, b),
        to_a=_spread(found.to_a, found.value_a > threshold, b, a),
        threshold=threshold,
        false_share=min(1.0, by_chance / len(pairs)) if len(pairs) else math.nan,
    )


def upper_quantile(values: Float[np.ndarray, " n"], alpha: float) -> float:
    """The smallest of `values` that a further one exceeds with probability at most `alpha`; the largest if none is."""
    rank = math.ceil((len(values) + 1) * (1 - alpha))
    return float(np.sort(values)[min(rank, len(values)) - 1])


def draw_shuffled(rows: Rows, block: Int[np.ndarray, " n"], rng: np.random.Generator) -> Rows:
    """Rows whose entries are exchanged within blocks, all rows alike."""
    order = np.arange(len(block))
    for member in np.unique(block):
        inside = np.flatnonzero(block == member)
        order[inside] = rng.permutation(inside)
    return rows[:, order]


def draw_alike(rows: Rows, rng: np.random.Generator) -> Rows:
    """Random directions, one for each row, whose second moments are those of the rows.

    The decoders of one place share its large dimensions whether or not they share a feature. Random directions of the
    same shape share them too; shuffled coordinates would not.
    """
    drawn = rng.standard_normal(rows.shape, dtype=np.float32) @ _find_root(rows)
    return drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-12)


def _find_root(rows: Rows) -> Float[np.ndarray, "n n"]:
    """The symmetric square root of the second moments."""
    values, vectors = np.linalg.eigh((rows.T @ rows / len(rows)).astype(np.float64))
    return ((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T).astype(np.float32)


def _apply(rule: Rule, nearest: Nearest, a: Rows, b: Rows, threshold: float, how: Products) -> Pairs:
    if rule == "assignment":
        return assign_rows(a, b, threshold, how).pairs
    pairs = nearest.mutual
    return pairs[nearest.value_b[pairs[:, 0], 0] > threshold]


def _spread(nearest: Numbers, above: Bool[np.ndarray, " k"], own: Side, other: Side) -> Int[np.ndarray, " d_sae"]:
    """Nearest features by the numbers of both SAEs."""
    whole = np.full(own.d_sae, -1)
    whole[own.index[above]] = other.index[nearest[above]]
    return whole
