"""Means with intervals, for numbers that no stage has summarised."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from emosae.report.figures import Estimate


def average(values: Sequence[float], clusters: Sequence[Hashable] = ()) -> Estimate:
    """Mean with a 95% t interval over clusters of values that hang together; each value is its own without `clusters`.

    NaN of nothing; no interval where there are fewer than two clusters.
    """
    from scipy.stats import t

    if not values:
        return Estimate(math.nan)
    table = np.array(values, dtype=np.float64)
    mean = float(table.mean())
    place = {name: at for at, name in enumerate(dict.fromkeys(clusters or range(len(values))))}
    if len(place) < 2:
        return Estimate(mean)
    sums = np.bincount([place[name] for name in clusters or range(len(values))], weights=table - mean)
    error = math.sqrt(len(sums) / (len(sums) - 1) * float(np.square(sums).sum())) / len(table)
    half = float(t.ppf(0.975, len(sums) - 1)) * error
    return Estimate(mean, mean - half, mean + half)
