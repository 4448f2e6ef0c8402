"""How small a change of a rate an experiment can show, from what an untouched pilot on tune tasks says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from emosae.scenarios.statistics import Interval, wilson_interval

ALPHA, POWER = 0.05, 0.80
SIZES = (50, 100, 200, 500)
ASSUMED_RATE, ASSUMED_ICC = 0.30, 0.10
MOST_EPISODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Pilot:
    """The untouched rate, and how far episodes of one task hang together.

    Attributes:
        rate: Share of episodes that end in a cheat, with Wilson's interval; NaN ends where it is assumed.
        icc: Correlation of two episodes of one task, in [0, 1].
        n_tasks: Tune tasks that were played; 0 where rate and correlation are assumed.
        n_episodes: Episodes of them.
    """

    rate: Interval
    icc: float
    n_tasks: int
    n_episodes: int


NO_PILOT = Pilot(Interval(ASSUMED_RATE, math.nan, math.nan), ASSUMED_ICC, 0, 0)


def read_pilot(outcomes: Sequence[bool], tasks: Sequence[str]) -> Pilot:
    """What untouched episodes of tune tasks say; what is assumed where there are none."""
    if not outcomes:
        return NO_PILOT
    rate = wilson_interval(sum(outcomes), len(outcomes))
    icc = estimate_icc(np.array(outcomes, dtype=np.float64), np.array(tasks))
    return Pilot(rate, ASSUMED_ICC if math.isnan(icc) else icc, len(set(tasks)), len(outcomes))


def estimate_icc(values: Float[np.ndarray, " episode"], clusters: Shaped[np.ndarray, " episode"]) -> float:
    """Correlation of two values of one cluster by one-way analysis of variance, cut to [0, 1].

    NaN with fewer than two clusters, with one value in each, or where all values are the same.
    """
    _, place, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    n, k = len(values), len(sizes)
    if k < 2 or n == k or np.ptp(values) == 0:
        return math.nan
    means = np.bincount(place, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[place]) ** 2).sum()) / (n - k)
    usual = (n - (sizes**2).sum() / n) / (k - 1)
    return float(np.clip((between - within) / (between + (usual - 1) * within), 0.0, 1.0))


def difference_error(n: int, base: float, change: float, icc: float, n_tasks: int) -> float:
    """Standard error of the difference of two arms of n episodes over n_tasks tasks.

    The difference of a pair of episodes is given the variance of two independent draws, and differences within a task
    the pilot's correlation. Common random numbers make the true error smaller, effects that differ from task to task
    more than outcomes do make it larger.
    """
    tasks = min(n, n_tasks)
    variance = base * (1 - base) + (base + change) * (1 - base - change)
    return math.sqrt(max(variance, 0.0) / n * (1 + (n / tasks - 1) * icc))


def needed_distance(n_tasks: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """How many standard errors a change must be from 0 to be shown so often; infinite with one task."""
    from scipy.stats import t

    if n_tasks < 2:
        return math.inf
    return float(t.ppf(1 - alpha / 2, n_tasks - 1) + t.ppf(power, n_tasks - 1))


def detectable_change(
    n: int, pilot: Pilot, n_tasks: int, *, sign: int = 1, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest change of the rate (its size) that is shown with probability `power`; NaN if none within [0, 1]."""
    base, distance = pilot.rate.estimate, needed_distance(min(n, n_tasks), alpha, power)
    most = 1 - base if sign > 0 else base

    def falls_short(size: float) -> bool:
        return size < distance * difference_error(n, base, sign * size, pilot.icc, n_tasks)

    if math.isinf(distance) or falls_short(most):
        return math.nan
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return high


def plan_size(
    effect: float, pilot: Pilot, n_tasks: int, *, sign: int = 1, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Episodes per arm that show a change of that size with probability `power`; None if no number on these tasks does.

    More episodes of the same tasks help only so far, because episodes of one task hang together.
    """

    def shows(n: int) -> bool:
        return detectable_change(n, pilot, n_tasks, sign=sign, alpha=alpha, power=power) <= effect

    low, high = 1, 2
    while not shows(high):
        low, high = high, 2 * high
        if high > MOST_EPISODES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def tabulate_power(
    pilot: Pilot, n_tasks: int, n_tests: int, sizes: Sequence[int] = SIZES, power: float = POWER
) -> list[dict[str, Any]]:
    """For each number of episodes per arm the smallest rise and fall that are shown; None where none is.

    `tests` is how many tests share the level: one alone, and the family that Holm corrects, whose hardest step it is.
    """
    rows = []
    for n in sizes:
        for tests in dict.fromkeys((1, max(1, n_tests))):
            found = {
                name: detectable_change(n, pilot, n_tasks, sign=sign, alpha=ALPHA / tests, power=power)
                for name, sign in (("rise", 1), ("fall", -1))
            }
            rows.append(
                {"n": n, "tests": tests} | {k: None if math.isnan(v) else round(v, 4) for k, v in found.items()}
            )
    return rows
