"""AUROC of one score, and the difference of two, with intervals that respect topics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

MIN_INTERVAL_TOPICS = 6
"""Topics with the emotion below which no interval is claimed."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An AUROC (ties one half, 0.5 is chance) or a difference of two, and its interval; NaN where it cannot be had."""

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
    found = _leave_topics_out(acts, is_positive, topic)
    if found is None:
        return NO_INTERVAL
    if not found.can_vary(min_topics):
        return Interval(found.value, float("nan"), float("nan"))
    if found.is_separated:
        return _score_interval(found.value, int(is_positive.sum()), int((~is_positive).sum()), level)
    reach = _t_quantile(level, found.n_topics - 1) * _spread(found.left)
    return Interval(found.value, _expit(found.logit - reach), _expit(found.logit + reach))


def jackknife_difference(
    first: Float[np.ndarray, " story"],
    second: Float[np.ndarray, " story"],
    is_positive: Bool[np.ndarray, " story"],
    topic: Int[np.ndarray, " story"],
    *,
    level: float = 0.95,
    min_topics: int = 2,
) -> Interval:
    """AUROC of one score less that of another on the same stories, with its delete-one-topic interval.

    The jackknife is made on the difference of the logits, so what both scores owe to a topic cancels; t has
    (topics - 1) degrees of freedom. Its ends are carried back to AUROC around the mean of the two logits, which moves
    no end across 0. Where a score separates the stories the jackknife knows nothing of it, and the two intervals are
    squared and added instead, as if the scores were read on different stories.

    Returns:
        Value in [-1, 1], 0 if the two are equally good; NaN and NaN limits as in `jackknife_interval`.
    """
    one, other = (_leave_topics_out(acts, is_positive, topic) for acts in (first, second))
    if one is None or other is None:
        return NO_INTERVAL
    value = one.value - other.value
    if not one.can_vary(min_topics):
        return Interval(value, float("nan"), float("nan"))
    if one.is_separated or other.is_separated:
        ends = [jackknife_interval(acts, is_positive, topic, level=level) for acts in (first, second)]
        return _square_and_add(*ends)
    reach = _t_quantile(level, one.n_topics - 1) * _spread(one.left - other.left)
    middle, gap = (one.logit + other.logit) / 2, one.logit - other.logit
    lo, hi = (_expit(middle + end / 2) - _expit(middle - end / 2) for end in (gap - reach, gap + reach))
    return Interval(value, min(lo, value), max(hi, value))


@dataclass(frozen=True, eq=False, slots=True)
class _LeftOut:
    """AUROC of one score, and its logit with all topics and without each of them."""

    value: float
    logit: float
    left: Float[np.ndarray, " topic"]
    n_topics: int

    def can_vary(self, min_topics: int) -> bool:
        """Whether enough topics hold a positive story, and each can be left out."""
        return self.n_topics >= max(2, min_topics) and bool(np.isfinite(self.left).all())

    @property
    def is_separated(self) -> bool:
        """Whether no topic makes a difference, so that the jackknife knows nothing."""
        return self.value in (0.0, 1.0) or _spread(self.left) < 1e-9


def _leave_topics_out(
    acts: Float[np.ndarray, " story"],
    is_positive: Bool[np.ndarray, " story"],
    topic: Int[np.ndarray, " story"],
) -> _LeftOut | None:
    """Nothing without a positive and another story; NaN stands for a topic that leaves no pair behind."""
    wins, pairs = _wins_by_topic(acts, is_positive, topic)
    if pairs.sum() == 0:
        return None
    n_topics = int((np.bincount(topic[is_positive]) > 0).sum())
    left_wins, left_pairs = _leave_one_out(wins), _leave_one_out(pairs)
    left = np.where(left_pairs > 0, _logit(left_wins, left_pairs), np.nan)
    return _LeftOut(float(wins.sum() / pairs.sum()), float(_logit(wins.sum(), pairs.sum())), left, n_topics)


def _spread(left: Float[np.ndarray, " topic"]) -> float:
    """Standard error of a statistic from its values without each topic."""
    n = len(left)
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def _square_and_add(one: Interval, other: Interval) -> Interval:
    """Interval of the difference of two estimates that are taken to be independent."""
    value = one.value - other.value
    below = np.hypot(one.value - one.lo, other.hi - other.value)
    above = np.hypot(one.hi - one.value, other.value - other.lo)
    return Interval(value, max(-1.0, float(value - below)), min(1.0, float(value + above)))


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
