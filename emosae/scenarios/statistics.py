"""Numbers with intervals for arms of episodes. Arms are paired by task and episode; tasks are the clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

SILENCE_MARGIN = 0.10
SILENCE_LEVEL = 0.90


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its interval, and the two-sided p of the estimate being 0 (NaN where that asks nothing)."""

    estimate: float
    lo: float
    hi: float
    p: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.lo > 0 or self.hi < 0

    def is_within(self, margin: float) -> bool:
        """Whether the whole interval lies between -margin and margin."""
        return -margin <= self.lo and self.hi <= margin


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """A rate with Wilson's score interval; without trials the rate is NaN and the interval [0, 1]."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = _normal_quantile(level)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    lo = 0.0 if successes == 0 else max(0.0, centre - half)
    hi = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(rate, lo, hi)


def clustered_mean(
    values: Float[np.ndarray, " episode"],
    clusters: Shaped[np.ndarray, " episode"],
    level: float = 0.95,
    bound: float = 1.0,
) -> Interval:
    """Mean of values in [-bound, bound] that hang together within clusters, with a t interval over clusters.

    Linearised variance of a ratio of cluster sums, with as many degrees of freedom as clusters less one. Where every
    cluster says the same, that variance is 0 and would claim certainty; the interval is then as wide as the one that
    would still be missed by all clusters with probability 1 - level. One cluster says nothing: [-bound, bound].
    """
    from scipy.stats import t

    estimate = float(np.mean(values, dtype=np.float64))
    _, cluster_of = np.unique(clusters, return_inverse=True)
    n_clusters = int(cluster_of.max()) + 1
    if n_clusters < 2:
        return Interval(estimate, -bound, bound, 1.0)
    sums = np.bincount(cluster_of, weights=values - estimate)
    error = math.sqrt(n_clusters / (n_clusters - 1) * float(np.square(sums).sum())) / len(values)
    if error < 1e-12:
        half = bound * (1 - (1 - level) ** (1 / n_clusters))
        p = 1.0 if abs(estimate) < 1e-12 else 2.0 ** (1 - n_clusters)
    else:
        half = float(t.ppf((1 + level) / 2, n_clusters - 1)) * error
        p = float(2 * t.sf(abs(estimate) / error, n_clusters - 1))
    return Interval(estimate, max(-bound, estimate - half), min(bound, estimate + half), p)


def adjust_holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given; each may be compared with the level of the whole family."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def spearman_interval(
    x: Float[np.ndarray, " item"] | Int[np.ndarray, " item"], y: Float[np.ndarray, " item"], level: float = 0.95
) -> Interval:
    """Spearman's rank correlation, ties averaged, with the interval of Bonett and Wright; NaN if x or y is constant."""
    from scipy.stats import spearmanr

    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, -1.0, 1.0)
    found: Any = spearmanr(x, y)
    rho, p = float(found.statistic), float(found.pvalue)
    if abs(rho) > 1 - 1e-12:
        return Interval(rho, rho, rho, p)
    half = _normal_quantile(level) * math.sqrt((1 + rho * rho / 2) / (len(x) - 3))
    return Interval(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), p)


def mean_interval(values: Float[np.ndarray, " item"], level: float = 0.95) -> Interval:
    """Mean of independent values of any size with a t interval, and p of the mean being 0.

    No interval (NaN) for fewer than two values, or where all are the same: their spread cannot be known from them. Then
    p is 1 for zeros and else the chance that all have one sign.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else math.nan, math.nan, math.nan)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    if error < 1e-12:
        return Interval(mean, math.nan, math.nan, 1.0 if abs(mean) < 1e-12 else 2.0 ** (1 - n))
    half = float(t.ppf((1 + level) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)))


def _normal_quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
