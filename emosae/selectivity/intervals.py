"""AUROC of one score, and the difference of two, with intervals that respect topics.

The AUROC that is meant is that of a story of the emotion on one topic and another story on another, both topics drawn
from all that might have been asked about.
"""

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
    a positive story. Chance of the single pair of topics, which leaving out one topic at a time counts twice, is
    counted once (see `_pair_share`). Where no topic makes a difference (AUROC 0 or 1, whichever is left out) the
    jackknife knows nothing, and Newcombe's score interval for separated samples stands in.

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
    reach = _t_quantile(level, found.n_topics - 1) * _spread(found.left, _pair_share(found.gain, found.counts))
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
    (topics - 1) degrees of freedom, and what the jackknife counts twice is counted once. The ends are carried back
    to AUROC around the mean of the two logits, which moves no end across 0. Where a score separates the stories the
    jackknife knows nothing of it, and the two intervals are squared and added instead, as if the scores were read on
    different stories.

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
    share = _pair_share(one.gain - other.gain, one.counts)
    reach = _t_quantile(level, one.n_topics - 1) * _spread(one.left - other.left, share)
    middle, gap = (one.logit + other.logit) / 2, one.logit - other.logit
    lo, hi = (_expit(middle + end / 2) - _expit(middle - end / 2) for end in (gap - reach, gap + reach))
    return Interval(value, min(lo, value), max(hi, value))


@dataclass(frozen=True, eq=False, slots=True)
class _LeftOut:
    """AUROC of one score, and its logit with all topics and without each of them.

    Attributes:
        value: The AUROC.
        logit: Its logit.
        left: The logit without each topic.
        gain: By topic of the positive and of the other story, what their pairs add to the logit: 0 on average.
        counts: Positive stories and others of each topic.
        n_topics: Topics that hold a positive story.
    """

    value: float
    logit: float
    left: Float[np.ndarray, " topic"]
    gain: Float[np.ndarray, "topic topic"]
    counts: Float[np.ndarray, "two topic"]
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
    wins, counts = _wins_by_topic(acts, is_positive, topic)
    pairs = np.outer(*counts)
    total = pairs.sum()
    if total == 0:
        return None
    left_wins, left_pairs = _leave_one_out(wins), _leave_one_out(pairs)
    left = np.where(left_pairs > 0, _logit(left_wins, left_pairs), np.nan)
    value, logit = float(wins.sum() / total), float(_logit(wins.sum(), total))
    slope = 1 / (_expit(logit) * _expit(-logit))
    gain = slope * (wins - value * pairs) / total
    return _LeftOut(value, logit, left, gain, counts, int((counts[0] > 0).sum()))


def _spread(left: Float[np.ndarray, " topic"], pair_share: float = 0.0) -> float:
    """Standard error of a statistic from its values without each topic, less a share of the variance."""
    n = len(left)
    return float(np.sqrt((1 - pair_share) * (n - 1) / n * ((left - left.mean()) ** 2).sum()))


def _pair_share(gain: Float[np.ndarray, "topic topic"], counts: Float[np.ndarray, "two topic"]) -> float:
    """Share of a jackknife's variance that belongs to pairs of topics and is counted twice, from 0 to 1/2.

    What a pair of topics adds to the AUROC is the sum of what the positive's topic adds to all its pairs, of what the
    other's topic adds, and of a rest. Leaving out a topic removes the rest from a row and from a column of pairs, so
    the jackknife has its variance once too often (Efron and Stein 1981 show that it errs to this side). That matters
    where few pairs decide: near 1, and against a single rival. Two-way clustered errors subtract it likewise (Cameron,
    Gelbach and Miller 2011).
    """
    weights = counts / counts.sum(axis=1, keepdims=True)
    of_positive, of_other = gain.sum(axis=1), gain.sum(axis=0)
    rest = gain - np.outer(of_positive, weights[1]) - np.outer(weights[0], of_other)
    n_positive, n_other = (counts > 0).sum(axis=1)
    n = gain.shape[0]
    if min(n_positive, n_other) < 2:
        return 0.0
    twice = (rest**2).sum() * n_positive / (n_positive - 1) * n_other / (n_other - 1)
    whole = ((of_positive + of_other) ** 2).sum() * n / (n - 1)
    return float(min(0.5, twice / whole)) if whole > 0 else 0.0


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
) -> tuple[Float[np.ndarray, "topic topic"], Float[np.ndarray, "two topic"]]:
    """Pairs won (ties one half) by the topic of the positive and of the other story; positives and others by topic."""
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
    return wins, np.array(counts, dtype=np.float64)


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
