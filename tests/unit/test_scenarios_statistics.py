"""Intervals that mean what they say: against scipy, and against repeated draws with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp

from emosae.scenarios.statistics import (
    Interval,
    adjust_holm,
    clustered_mean,
    spearman_interval,
    wilson_interval,
)


@given(n=st.integers(1, 400), share=st.floats(0, 1))
def test_wilson_is_scipys(n: int, share: float) -> None:
    successes = round(share * n)
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    found = wilson_interval(successes, n)
    assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.lo <= found.estimate <= found.hi


def test_no_trials_say_nothing() -> None:
    found = wilson_interval(0, 0)
    assert np.isnan(found.estimate)
    assert (found.lo, found.hi) == (0.0, 1.0)


def test_clusters_of_one_are_a_t_test(rng: np.random.Generator) -> None:
    values = rng.choice([-1.0, 0.0, 1.0], size=60)
    expected = ttest_1samp(values, 0)
    found = clustered_mean(values, np.arange(60))
    ci = expected.confidence_interval()
    assert (found.lo, found.hi, found.p) == pytest.approx((ci.low, ci.high, expected.pvalue))


def test_equal_clusters_are_a_t_test_of_their_means(rng: np.random.Generator) -> None:
    values = rng.uniform(-1, 1, size=(12, 5))
    expected = ttest_1samp(values.mean(axis=1), 0)
    found = clustered_mean(values.ravel(), np.repeat(np.arange(12), 5))
    assert (found.estimate, found.p) == pytest.approx((values.mean(), expected.pvalue))


def test_order_and_names_of_clusters_do_not_matter(rng: np.random.Generator) -> None:
    values, clusters = rng.uniform(-1, 1, size=40), rng.integers(0, 9, size=40)
    order = rng.permutation(40)
    named = np.array([f"task {c}" for c in clusters])
    expected = clustered_mean(values, clusters)
    found = clustered_mean(values[order], named[order])
    assert (found.estimate, found.lo, found.hi) == pytest.approx((expected.estimate, expected.lo, expected.hi))


@pytest.mark.parametrize(("n_clusters", "spread"), [(50, 0.0), (50, 0.3), (20, 0.3)])
def test_the_interval_covers_the_truth_as_often_as_it_says(
    rng: np.random.Generator, n_clusters: int, spread: float
) -> None:
    """Paired differences of two Bernoulli arms whose effect varies by task; 4 episodes a task."""
    truth = np.clip(0.2 + np.random.default_rng(1).normal(0, spread, 100_000), -0.4, 0.6).mean() if spread else 0.2
    covered = 0
    for _ in range(400):
        effect = np.clip(0.2 + rng.normal(0, spread, size=(n_clusters, 1)), -0.4, 0.6)
        base = rng.random((n_clusters, 4)) < 0.4
        other = rng.random((n_clusters, 4)) < 0.4 + effect
        found = clustered_mean((other.astype(float) - base).ravel(), np.repeat(np.arange(n_clusters), 4))
        covered += found.lo <= truth <= found.hi
    assert 0.92 <= covered / 400 <= 0.98


def test_clusters_that_hang_together_widen_the_interval() -> None:
    values = np.repeat([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 50)
    alone = clustered_mean(values, np.arange(300))
    together = clustered_mean(values, np.repeat(np.arange(6), 50))
    assert together.hi - together.lo > 5 * (alone.hi - alone.lo)


def test_unanimous_clusters_are_not_certain() -> None:
    few, many = (clustered_mean(np.zeros(4 * n), np.repeat(np.arange(n), 4), 0.90) for n in (10, 50))
    assert not few.is_within(0.10)
    assert many.is_within(0.10)
    assert many.hi > 0.03
    assert few.p == 1.0
    assert clustered_mean(np.ones(40), np.arange(40)).p < 1e-9


def test_one_cluster_says_nothing() -> None:
    assert clustered_mean(np.ones(9), np.zeros(9)) == Interval(1.0, -1.0, 1.0, 1.0)


def test_holm_by_hand() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p: list[float]) -> None:
    adjusted = adjust_holm(p)
    assert all(raw <= one <= min(1.0, len(p) * raw) + 1e-12 for raw, one in zip(p, adjusted, strict=True))
    assert adjusted[p.index(min(p))] == min(adjusted)


def test_spearman_covers_and_knows_its_limits(rng: np.random.Generator) -> None:
    x = np.arange(40.0)
    found = spearman_interval(x, x + rng.normal(0, 10, 40))
    assert 0.5 < found.lo < found.estimate < found.hi < 1
    assert spearman_interval(x, x**3).estimate == pytest.approx(1.0)
    assert np.isnan(spearman_interval(x, np.ones(40)).estimate)
    assert np.isnan(spearman_interval(x[:3], x[:3]).estimate)


def test_spearman_covers_a_known_correlation(rng: np.random.Generator) -> None:
    truth, covered = 6 / np.pi * np.arcsin(0.7 / 2), 0  # of a bivariate normal with correlation 0.7
    for _ in range(300):
        x, noise = rng.normal(size=(2, 60))
        found = spearman_interval(x, 0.7 * x + np.sqrt(1 - 0.49) * noise)
        covered += found.lo <= truth <= found.hi
    assert 0.91 <= covered / 300 <= 0.98


def test_the_level_is_used() -> None:
    values, clusters = np.array([0.0, 1.0, 0.0, 1.0, 1.0]), np.arange(5)
    narrow, wide = clustered_mean(values, clusters, 0.90), clustered_mean(values, clusters, 0.95)
    ratio = t.ppf(0.975, 4) / t.ppf(0.95, 4)
    assert wide.estimate - max(-1.0, wide.lo) == pytest.approx(ratio * (narrow.estimate - narrow.lo), rel=1e-6)
