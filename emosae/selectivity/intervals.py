"""AUROC of one feature with an interval that respects topics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

MIN_INTERVAL_TOPICS = 6
"""Topics with the emotion below which no interval is claimed."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An AUROC (ties one half, 0.5 is chance) and its interval; NaN where it cannot be had."""

    value: float
    lo: float
    hi: float


NO_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))


def jackknife_interval(
    acts: Float[np.ndarray, " story"],
    is_positive: Bool[np.ndarray, " story"],
    topic: Int[np.ndarray, " story"],
    *,
    level: float = 0.95,
    min_topics: int = 2,
) -> Interval:
    """AUROC of the positive stories against the others, with its delete-one-topic interval.

    The jackknife is made on the logit, with t at (topics - 1) degrees of freedom; topics are those that hold
    a positive story. Where no topic makes a difference (AUROC 0 or 1, whichever is left out) the jackknife
    knows nothing, and Newcombe's score interval for separated samples stands in.

    Returns:
        Value NaN without positive or without other stories; limits NaN under `min_topics` topics.
    """
    wins, pairs = _wins_by_topic(acts, is_positive, topic)
    if pairs.sum() == 0:
        return NO_INTERVAL
    value = float(wins.sum() / pairs.sum())
    n_topics = int((np.bincount(topic[is_positive]) > 0).sum())
    left_wins, left_pairs = _leave_one_out(wins), _leave_one_out(pairs)
    if n_topics < max(2, min_topics) or (left_pairs == 0).any():
        return Interval(value, float("nan"), float("nan"))
    left = _logit(left_wins, left_pairs)
    n = len(left)
    spread = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    if spread < 1e-9 or value in (0.0, 1.0):
        return _score_interval(value, int(is_positive.sum()), int((~is_positive).sum()), level)
    centre = float(_logit(wins.sum(), pairs.sum()))
    reach = _t_quantile(level, n_topics - 1) * spread
    return Interval(value, _expit(centre - reach), _expit(centre + reach))


def _wins_by_topic(
    acts: Float[np.ndarray, " story"],
    is_positive: Bool[np.ndarray, " story"],
    topic: Int[np.ndarray, " story"],
) -> tuple[Float[np.ndarray, "topic topic"], Float[np.ndarray, "topic topic"]]:
    """Pairs won (ties one half) and pairs, by the topic of the positive and of the other story."""
    _, topic = np.unique(topic, return_inverse=True)
    n_topics = int(topic.max(initial=-1)) + 1
    positive, negative = acts[is_positive], acts[~is_positive]
    of_positive, of_negative = topic[is_positive], topic[~is_positive]
    wins = np.zeros((n_topics, n_topics))
    for member in range(n_topics):
        rivals = np.sort(negative[of_negative == member])
        beaten = np.searchsorted(rivals, positive, "left") + np.searchsorted(rivals, positive, "right")
        wins[:, member] = np.bincount(of_positive, beaten / 2, minlength=n_topics)
    counts = [np.bincount(which, minlength=n_topics) for which in (of_positive, of_negative)]
    return wins, np.outer(*counts).astype(np.float64)


def _leave_one_out(table: Float[np.ndarray, "topic topic"]) -> Float[np.ndarray, " topic"]:
    """Sum of the table without row and column of each topic."""
    return table.sum() - table.sum(axis=0) - table.sum(axis=1) + np.diag(table)


def _logit(wins: Float[np.ndarray, "*any"] | float, pairs: Float[np.ndarray, "*any"] | float) -> np.ndarray:
    """Log odds, one half added to each side so that a clean separation stays finite."""
    return np.asarray(np.log((wins + 0.5) / (pairs - wins + 0.5)))


def _expit(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


def _t_quantile(level: float, df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2))


def _score_interval(value: float, n_positive: int, n_other: int, level: float) -> Interval:
    """Newcombe's (2006, method 5) interval: the AUROCs that the observed one does not reject."""
    from scipy.optimize import root_scalar
    from scipy.special import ndtri

    quantile = float(ndtri(0.5 + level / 2))
    mean_size = (n_positive + n_other) / 2

    def distance(auroc: float) -> float:
        bend = (1 - auroc) / (2 - auroc) + auroc / (1 + auroc)
        variance = auroc * (1 - auroc) * (1 + (mean_size - 1) * bend) / (n_positive * n_other)
        return abs(value - auroc) - quantile * float(np.sqrt(variance))

    lo = 0.0 if value == 0 else root_scalar(distance, bracket=(1e-12, min(value, 1 - 1e-9) - 1e-12)).root
    hi = 1.0 if value == 1 else root_scalar(distance, bracket=(max(value, 1e-9) + 1e-12, 1 - 1e-12)).root
    return Interval(value, float(lo), float(hi))
