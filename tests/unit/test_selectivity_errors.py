"""Error rates are what they say: permutation p, max-T, Benjamini-Hochberg, intervals, and the filter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

from emosae.selectivity.exchange import form_units
from emosae.selectivity.intervals import _pair_share, jackknife_interval
from emosae.selectivity.multiplicity import bh, label_blind_filter
from emosae.selectivity.permutation import (
    check_tail,
    max_t,
    permutation_p,
    permute_ranks,
    shuffle_within,
)
from emosae.selectivity.ranks import rank_within, standardise_ranks, van_elteren


def null_acts(rng: np.random.Generator, n_stories: int, n_features: int) -> sparse.csr_array:
    """Features that fire in 3% to 60% of stories, whatever the emotion."""
    rate = np.geomspace(0.03, 0.6, n_features)
    fires = rng.random((n_stories, n_features)) < rate
    return sparse.csr_array(rng.exponential(1.0, (n_stories, n_features)) * fires)


def test_shuffles_keep_the_emotions_of_each_topic_and_reach_all_of_them() -> None:
    labels, topics = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 1])
    draws = shuffle_within(labels, topics, 300, np.random.default_rng(0))
    assert (np.sort(draws[:, :3], axis=1) == [0, 1, 2]).all()
    assert (np.sort(draws[:, 3:], axis=1) == [0, 0, 1]).all()
    assert len(np.unique(draws, axis=0)) == 6 * 3


def test_permutation_p_is_that_of_all_exchanges() -> None:
    acts, labels = np.array([4.0, 3, 0, 1, 0, 2])[:, None], np.array([0, 0, 0, 1, 1, 1])
    ranks = stats.rankdata(acts[:, 0])
    sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(6), 3)])
    exact = (sums >= ranks[:3].sum() - 1e-9).mean()
    topics = np.zeros(6, dtype=np.int64)
    p = permutation_p(sparse.csr_array(acts), labels, topics, 20_000, np.random.default_rng(0))
    assert p[0, 0] == pytest.approx(exact, abs=0.015)


def test_permutation_p_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    acts = null_acts(rng, 60, 9)
    labels, topics = np.arange(60) % 3, np.arange(60) // 3 % 4
    draws = shuffle_within(labels, topics, 50, rng)
    ranks = rank_within(acts, topics)
    null = permute_ranks(ranks, labels, draws, np.ones((9, 3), dtype=bool))
    observed = van_elteren(acts, labels, topics).z
    each = np.stack([van_elteren(acts, draw, topics).z for draw in draws])
    np.testing.assert_allclose(null.p, (1 + (each >= observed - 1e-6).sum(axis=0)) / 51)
    np.testing.assert_allclose(null.largest, each.max(axis=1), atol=1e-4)


def test_permutation_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(1)
    p = permutation_p(null_acts(rng, 96, 400), rng.integers(0, 4, 96), np.arange(96) % 6, 199, rng).ravel()
    assert p.min() >= 1 / 200
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


def test_the_analytic_tail_holds_its_level_for_rarely_firing_features() -> None:
    rng = np.random.default_rng(2)
    labels, topics = np.arange(480) % 20, np.arange(480) // 20 % 12
    acts = null_acts(rng, 480, 400)
    tested = label_blind_filter(acts, np.bincount(labels))
    nominal = np.array([0.01, 1e-3, 1e-4])
    draws = shuffle_within(labels, topics, 12, rng)
    ranks = rank_within(acts, topics)
    observed = np.mean([check_tail(ranks, draw, tested, nominal) for draw in draws], axis=0)
    assert (observed < nominal * [1.25, 1.8, 4]).all()
    assert (observed[:2] > nominal[:2] * 0.5).all()


def test_max_t_controls_the_family_and_is_shared_between_saes() -> None:
    rng = np.random.default_rng(3)
    labels, topics = np.arange(80) % 4, np.arange(80) // 4 % 5
    rejected = 0
    for _ in range(60):
        draws = shuffle_within(labels, topics, 79, rng)
        ranks = [rank_within(null_acts(rng, 80, 25), topics) for _ in range(2)]
        tested = [np.ones((25, 4), dtype=bool)] * 2
        nulls = [permute_ranks(one, labels, draws, mask) for one, mask in zip(ranks, tested, strict=True)]
        z = [standardise_ranks(one, labels, 4).z for one in ranks]
        p = max_t(z, tested, [null.largest for null in nulls])
        rejected += min(table.min() for table in p) <= 0.1
    assert rejected <= stats.binom.ppf(0.999, 60, 0.1)


def test_max_t_counts_the_emotions_that_are_tested_for_every_feature() -> None:
    largest = np.tile(np.arange(99.0)[:, None], (1, 3))
    z = np.array([[98.5, 95.5, 10.0], [50.0, 97.5, 20.0]])
    (p,) = max_t([z], [np.ones((2, 3), dtype=bool)], [largest])
    np.testing.assert_allclose(p, [[0.03, 0.12, 1.0], [1.0, 0.06, 1.0]])
    (two,) = max_t([z], [np.array([[True, True, False]] * 2)], [largest])
    np.testing.assert_allclose(two[:, :2], [[0.02, 0.08], [1.0, 0.04]])
    assert np.isnan(two[:, 2]).all()


def test_max_t_holds_for_null_features_of_emotions_that_have_true_ones() -> None:
    rng = np.random.default_rng(8)
    labels, topics = np.arange(60) % 4, np.arange(60) // 4 % 5
    tested, wrong, runs = np.ones((24, 4), dtype=bool), 0, 120
    for _ in range(runs):
        acts = sparse.csr_array(rng.exponential(1.0, (60, 24)) + 6 * (labels[:, None] == np.arange(24)))
        ranks = rank_within(acts, topics)
        null = permute_ranks(ranks, labels, shuffle_within(labels, topics, 79, rng), tested)
        (p,) = max_t([standardise_ranks(ranks, labels, 4).z], [tested], [null.largest])
        assert (p[np.arange(4), np.arange(4)] <= 0.1).all()
        wrong += (p[4:] <= 0.1).any()
    assert wrong <= stats.binom.ppf(0.999, runs, 0.1)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_bh_agrees_with_scipy(p: list[float]) -> None:
    values = np.array(p)
    np.testing.assert_allclose(bh(values), stats.false_discovery_control(values), atol=1e-12)


def test_bh_leaves_untested_entries_out_of_the_family() -> None:
    q = bh(np.array([[0.01, np.nan], [0.04, np.nan]]))
    np.testing.assert_allclose(q, [[0.02, np.nan], [0.04, np.nan]])


def test_the_filter_sees_how_often_a_feature_fires_and_never_where() -> None:
    rng = np.random.default_rng(4)
    acts = null_acts(rng, 60, 30)
    counts = np.array([30, 20, 9, 1])
    kept = label_blind_filter(acts, counts)
    fires = (acts.toarray() > 0).sum(axis=0)
    np.testing.assert_array_equal(kept[:, :3], fires[:, None] >= counts[:3] / 2)
    assert not kept[:, 3].any()
    np.testing.assert_array_equal(label_blind_filter(acts[rng.permutation(60)], counts), kept)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.2])
def test_jackknife_intervals_cover_the_truth(shift: float) -> None:
    rng = np.random.default_rng(5)
    truth, covered, runs = stats.norm.cdf(shift / np.sqrt(2 + 2 * 0.3)), 0, 300
    topic = np.repeat(np.arange(8), 42)
    is_positive = np.tile(np.arange(42) < 6, 8)
    for _ in range(runs):
        effect = rng.normal(0, np.sqrt(0.3), (2, 8))[is_positive.astype(int), topic]
        acts = rng.normal(0, 1, len(topic)) + effect + shift * is_positive
        interval = jackknife_interval(acts, is_positive, topic)
        covered += interval.lo <= truth <= interval.hi
    assert 0.91 <= covered / runs <= 0.985


def test_jackknife_value_is_the_auroc_and_clean_separation_keeps_a_lower_limit() -> None:
    topic = np.repeat(np.arange(8), 10)
    is_positive = np.tile(np.arange(10) < 2, 8)
    clean = jackknife_interval(is_positive * 1.0, is_positive, topic)
    assert (clean.value, clean.hi) == (1.0, 1.0)
    assert 0.8 < clean.lo < 0.97
    silent = jackknife_interval(np.zeros(80), is_positive, topic)
    assert silent.value == 0.5
    assert silent.lo < 0.45
    assert silent.hi > 0.55
    reverse = jackknife_interval(is_positive * -1.0, is_positive, topic)
    assert (reverse.value, reverse.lo) == (0.0, 0.0)
    assert reverse.hi == pytest.approx(1 - clean.lo)


def test_few_topics_give_no_interval() -> None:
    acts, is_positive = np.arange(20.0), np.arange(20) % 2 == 0
    interval = jackknife_interval(acts, is_positive, np.arange(20) % 5, min_topics=6)
    assert interval.value == pytest.approx(0.45)
    assert np.isnan([interval.lo, interval.hi]).all()
    assert np.isnan(jackknife_interval(acts, acts < 0, np.arange(20) % 5).value)


def test_the_variance_of_pairs_is_counted_once() -> None:
    rng = np.random.default_rng(9)
    counts = np.array([rng.integers(1, 4, 30), rng.integers(1, 9, 30)]).astype(float)
    pairs = np.outer(*counts)
    own, other = (rng.normal(0, 1, 30) for _ in range(2))
    sides = pairs * (own[:, None] + other - np.average(own, weights=counts[0]) - np.average(other, weights=counts[1]))
    assert _pair_share(sides, counts) == pytest.approx(0, abs=1e-12)
    shares = []
    for _ in range(50):
        only_pairs = rng.normal(0, 1, (30, 30))
        shares.append(_pair_share(only_pairs - only_pairs.mean(), np.ones((2, 30))))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def alike(rng: np.random.Generator, cells: np.ndarray) -> sparse.csr_array:
    """Null features that all stories of a cell share almost wholly."""
    shared = rng.normal(0, 1, (int(cells.max()) + 1, 40))[cells]
    return sparse.csr_array(np.maximum(0, shared + rng.normal(0, 0.3, shared.shape)))


def test_one_story_a_cell_is_tested_as_it_stands() -> None:
    rng = np.random.default_rng(10)
    labels, topics, acts = np.arange(60) % 6, np.arange(60) // 6, null_acts(rng, 60, 20)
    units = form_units(labels, topics, rng.permutation(60), 6)
    ours, plain = units.test(acts), van_elteren(acts, labels, topics)
    assert units.n_left_out == 0
    assert units.label is labels
    for name in ("z", "skew", "p_upper"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))


def test_cells_are_cut_to_the_size_that_keeps_most_stories() -> None:
    sizes = {0: (4, 3, 3, 1), 1: (5,), 2: (1, 1, 2)}
    rows = [(t, e, 10 * t + e) for t, cells in sizes.items() for e, size in enumerate(cells) for _ in range(size)]
    topics, labels, cells = np.array(rows).T
    units = form_units(labels, topics, cells, 4)
    per_unit = np.bincount(units.member)
    found = [(int(t), int(e), int(n)) for t, e, n in zip(units.block, units.label, per_unit, strict=True)]
    assert found == [(0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 5), (2, 0, 1), (2, 1, 1), (2, 2, 1)]
    assert units.n_left_out == 3
    order = np.random.default_rng(0).permutation(len(rows))
    other = form_units(labels[order], topics[order], cells[order], 4)
    np.testing.assert_array_equal(other.label, units.label)


def test_cells_are_tested_by_the_exact_moments_of_their_exchange() -> None:
    rng = np.random.default_rng(11)
    labels, topics = np.tile(np.repeat(np.arange(3), 2), 3), np.repeat(np.arange(3), 6)
    cells = topics * 3 + labels
    acts = alike(rng, cells)
    units = form_units(labels, topics, cells, 3)
    ranks = np.stack([stats.rankdata(acts.toarray()[topics == t], axis=0) for t in range(3)])
    totals = ranks.reshape(3, 3, 2, -1).sum(axis=2)
    orders = list(itertools.permutations(range(3)))
    sums = np.array(
        [sum(totals[t, one[0]] for t, one in enumerate(each)) for each in itertools.product(orders, repeat=3)]
    )
    z = (totals[:, 0].sum(axis=0) - sums.mean(axis=0)) / sums.std(axis=0)
    test = units.test(acts)
    np.testing.assert_allclose(test.z[:, 0], z)
    np.testing.assert_allclose(test.skew[:, 0], stats.skew(sums, axis=0), atol=1e-9)


def test_stories_that_are_alike_reject_only_if_they_are_exchanged_one_by_one() -> None:
    rng = np.random.default_rng(12)
    cells = np.repeat(np.arange(60), 4)
    labels, topics = cells % 6, cells // 6
    found = {True: 0, False: 0}
    for _ in range(40):
        acts = alike(rng, cells)
        for whole in found:
            units = form_units(labels, topics, cells if whole else np.arange(len(cells)), 6)
            draws = shuffle_within(units.label, units.block, 79, rng)
            ranks, tested = units.rank(acts), np.ones((40, 6), dtype=bool)
            null = permute_ranks(ranks, units.label, draws, tested)
            (p,) = max_t([standardise_ranks(ranks, units.label, 6).z], [tested], [null.largest])
            found[whole] += bool((p <= 0.1).any())
    assert found[True] <= stats.binom.ppf(0.999, 40, 0.1)
    assert found[False] >= 30


@pytest.mark.slow
@pytest.mark.parametrize("design", ["balanced", "unbalanced", "no topics"])
def test_null_experiments_rarely_discover_anything_though_normal_tails_would(design: str) -> None:
    rng = np.random.default_rng(6)
    labels, topics = np.arange(480) % 20, np.arange(480) // 20 % 12
    if design == "unbalanced":
        labels = rng.permutation(np.minimum(rng.geometric(0.15, 480) - 1, 19))
    topics = topics if design != "no topics" else topics * 0
    found, by_normal_tail, runs = 0, 0, 30
    for _ in range(runs):
        acts = null_acts(rng, 480, 2000)
        tested = label_blind_filter(acts, np.bincount(labels, minlength=20))
        test = standardise_ranks(rank_within(acts, topics), labels, 20)
        found += np.nanmin(bh(np.where(tested, test.p_upper, np.nan))) < 0.05
        by_normal_tail += np.nanmin(bh(np.where(tested, stats.norm.sf(test.z), np.nan))) < 0.05
    assert found <= stats.binom.ppf(0.999, runs, 0.05)
    assert by_normal_tail >= 0.8 * runs


@pytest.mark.slow
@pytest.mark.parametrize(("n_topics", "n_positive"), [(4, 4), (6, 2), (8, 1), (8, 6)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.2, 3.5])
def test_jackknife_intervals_cover_from_four_topics_up(n_topics: int, n_positive: int, shift: float) -> None:
    rng = np.random.default_rng(7)
    truth, covered, runs = stats.norm.cdf(shift / np.sqrt(2 + 2 * 0.3)), 0, 600
    topic = np.repeat(np.arange(n_topics), 40)
    is_positive = np.tile(np.arange(40) < n_positive, n_topics)
    for _ in range(runs):
        effect = rng.normal(0, np.sqrt(0.3), (2, n_topics))[is_positive.astype(int), topic]
        acts = rng.normal(0, 1, len(topic)) + effect + shift * is_positive
        interval = jackknife_interval(acts, is_positive, topic)
        covered += interval.lo <= truth <= interval.hi
    assert 0.90 <= covered / runs <= 0.99
