"""Rank statistics agree with scikit-learn, scipy and brute force, ties and silent stories included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from emosae.selectivity import order, permutation
from emosae.selectivity.permutation import permute_ranks, shuffle_within
from emosae.selectivity.ranks import auroc_all, pearson3_upper, rank_within, spearman, van_elteren

tied_acts = hnp.arrays(
    np.float64,
    st.tuples(st.integers(6, 14), st.integers(1, 4)),
    elements=st.sampled_from([-1.0, 0, 0, 0, 1, 2.5]),
)


def draw_stories(
    rng: np.random.Generator, n_stories: int = 60, n_features: int = 7, n_emotions: int = 4, n_topics: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sparse activations with ties and a few negative ones, labels, and topics that depend on the labels."""
    acts = np.round(rng.exponential(1.0, (n_stories, n_features)) * (rng.random((n_stories, n_features)) < 0.5), 1)
    acts[:, 0] -= 0.2 * (rng.random(n_stories) < 0.3)
    labels = np.arange(n_stories) % n_emotions
    topics = (labels + rng.integers(0, 3, n_stories)) % n_topics
    return acts, labels, topics


def block_scores(acts: np.ndarray, topics: np.ndarray) -> np.ndarray:
    """Dense van Elteren scores of one feature: mid-rank in the topic, centred, over (stories + 1)."""
    scores = np.zeros(len(acts))
    for topic in np.unique(topics):
        inside = topics == topic
        scores[inside] = (stats.rankdata(acts[inside]) - (inside.sum() + 1) / 2) / (inside.sum() + 1)
    return scores


@given(acts=tied_acts)
def test_auroc_agrees_with_scikit_learn_with_ties(acts: np.ndarray) -> None:
    labels = np.arange(len(acts)) % 3
    ours = auroc_all(sparse.csr_array(acts), labels)
    for feature, emotion in itertools.product(range(acts.shape[1]), range(3)):
        assert ours[feature, emotion] == pytest.approx(roc_auc_score(labels == emotion, acts[:, feature]))


def test_a_silent_feature_scores_one_half_and_a_clean_one_scores_one() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    acts = np.zeros((6, 2))
    acts[:2, 1] = [0.5, 3.0]
    assert auroc_all(sparse.csr_array(acts), labels).tolist() == [[0.5] * 3, [1.0, 0.25, 0.25]]


def test_auroc_of_an_absent_emotion_is_nan() -> None:
    assert np.isnan(auroc_all(sparse.csr_array(np.eye(2)), np.array([0, 2]))[:, 1]).all()


def test_stored_zeros_count_as_silent() -> None:
    labels = np.array([0, 0, 1, 1])
    stored = sparse.csr_array((np.array([0.0, 1.0]), (np.array([2, 0]), np.array([0, 0]))), shape=(4, 1))
    assert auroc_all(stored, labels)[0, 0] == 0.75


def test_permuting_stories_changes_nothing_and_permuting_features_permutes_rows() -> None:
    rng = np.random.default_rng(0)
    acts, labels, topics = draw_stories(rng)
    story, feature = rng.permutation(len(acts)), rng.permutation(acts.shape[1])
    one = van_elteren(sparse.csr_array(acts), labels, topics)
    other = van_elteren(sparse.csr_array(acts[story][:, feature]), labels[story], topics[story])
    np.testing.assert_allclose(other.z, one.z[feature], atol=1e-12)
    np.testing.assert_allclose(other.p_upper, one.p_upper[feature], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_topic_z_is_the_mann_whitney_deviate(seed: int) -> None:
    acts, labels, _ = draw_stories(np.random.default_rng(seed))
    ours = van_elteren(sparse.csr_array(acts), labels, np.zeros(len(acts), dtype=np.int64))
    for feature, emotion in itertools.product(range(acts.shape[1]), range(4)):
        positive = labels == emotion
        column = acts[:, feature]
        theirs = stats.mannwhitneyu(
            column[positive],
            column[~positive],
            alternative="greater",
            method="asymptotic",
            use_continuity=False,
        )
        assert ours.z[feature, emotion] == pytest.approx(stats.norm.isf(theirs.pvalue), abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_with_several_topics_z_is_the_weighted_sum_of_their_rank_sums(seed: int) -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(seed))
    ours = van_elteren(sparse.csr_array(acts), labels, topics)
    for feature, emotion in itertools.product(range(acts.shape[1]), range(4)):
        scores, total, variance = block_scores(acts[:, feature], topics), 0.0, 0.0
        for topic in np.unique(topics):
            inside = topics == topic
            n, n_positive = inside.sum(), (inside & (labels == emotion)).sum()
            total += scores[inside & (labels == emotion)].sum()
            variance += n_positive * (n - n_positive) / n * scores[inside].var(ddof=1)
        assert ours.z[feature, emotion] == pytest.approx(total / np.sqrt(variance))


def test_variance_and_skewness_are_those_of_all_exchanges_within_topics() -> None:
    acts = np.array([0.0, 0, 3, 1, 0, 0, 0, 5])[:, None]
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 1])
    topics = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = block_scores(acts[:, 0], topics)
    sums = np.array(
        [
            scores[list(first)].sum() + scores[4 + second]
            for first in itertools.combinations(range(4), 2)
            for second in range(4)
        ]
    )
    ours = van_elteren(sparse.csr_array(acts), labels, topics)
    assert ours.z[0, 0] == pytest.approx(scores[labels == 0].sum() / sums.std())
    assert ours.skew[0, 0] == pytest.approx(stats.skew(sums))
    assert ours.skew[0, 1] == pytest.approx(-stats.skew(sums))


def test_topics_with_one_emotion_carry_no_information() -> None:
    rng = np.random.default_rng(1)
    acts, labels, topics = draw_stories(rng)
    lone = rng.exponential(1.0, (9, acts.shape[1]))
    more_labels, more_topics = np.append(labels, np.zeros(9, int)), np.append(topics, np.full(9, 5))
    one = van_elteren(sparse.csr_array(acts), labels, topics)
    other = van_elteren(sparse.csr_array(np.vstack([acts, lone])), more_labels, more_topics)
    np.testing.assert_allclose(other.z, one.z)
    np.testing.assert_array_equal(other.informative_blocks, one.informative_blocks)


def test_a_topic_effect_moves_pooled_auroc_but_not_the_within_topic_test() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 200)
    topics = (rng.random(400) < np.where(labels == 0, 0.9, 0.1)).astype(np.int64)
    acts = sparse.csr_array(rng.exponential(1.0, (400, 20)) + 2.0 * topics[:, None])
    assert auroc_all(acts, labels)[:, 0].mean() > 0.8
    assert abs(van_elteren(acts, labels, topics).z[:, 0].mean()) < 0.8


def test_where_nothing_varies_z_is_zero_and_p_is_not_small() -> None:
    test = van_elteren(sparse.csr_array((6, 2)), np.arange(6) % 2, np.zeros(6, dtype=np.int64))
    assert (test.z == 0).all()
    assert (test.p_upper >= 0.5).all()


def test_exchanged_signs_exchange_the_tails() -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(4))
    one = van_elteren(sparse.csr_array(acts), labels, topics)
    mirrored = van_elteren(sparse.csr_array(-acts), labels, topics)
    np.testing.assert_allclose(one.p_upper + mirrored.p_upper, 1.0)


@given(z=st.floats(-6, 8), skew=st.floats(-2.5, 2.5))
def test_the_pearson_tail_agrees_with_scipy(z: float, skew: float) -> None:
    ours = pearson3_upper(np.array([[z]]), np.array([[skew]]))[0, 0]
    assert ours == pytest.approx(stats.pearson3.sf(z, skew), rel=1e-3, abs=1e-12)


def test_the_tail_of_a_rarely_firing_feature_is_right_where_the_normal_tail_is_not() -> None:
    acts = np.zeros((480, 1))
    acts[:12] = 1.0
    labels = np.ones(480, dtype=np.int64)
    labels[[*range(5), *range(100, 119)]] = 0
    exact = stats.hypergeom.sf(4, 480, 12, 24)
    test = van_elteren(sparse.csr_array(acts), labels, np.zeros(480, dtype=np.int64))
    assert test.p_upper[0, 0] == pytest.approx(exact, rel=0.6)
    assert stats.norm.sf(test.z[0, 0]) < exact / 1e3


def test_spearman_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    acts, _, _ = draw_stories(rng)
    length = rng.integers(40, 60, len(acts)).astype(np.float64)
    expected = [stats.spearmanr(column, length).statistic for column in acts.T]
    np.testing.assert_allclose(spearman(sparse.csr_array(acts), length), expected)
    assert (spearman(sparse.csr_array((60, 2)), length) == 0).all()


def test_activations_that_are_not_finite_are_refused_by_feature() -> None:
    acts = np.ones((3, 4))
    acts[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"features \[2\]"):
        rank_within(sparse.csr_array(acts), np.zeros(3, dtype=np.int64))


@given(acts=tied_acts, seed=st.integers(0, 99))
def test_centred_ranks_are_those_of_scipy_in_every_topic(acts: np.ndarray, seed: int) -> None:
    topics = np.random.default_rng(seed).integers(0, 3, len(acts))
    ranks = rank_within(sparse.csr_array(acts), topics)
    centred = ranks.offset.toarray() + ranks.silent[topics]
    for topic in np.unique(topics):
        inside = topics == topic
        expected = stats.rankdata(acts[inside], axis=0) - (inside.sum() + 1) / 2
        np.testing.assert_allclose(centred[inside], expected, atol=1e-12)
        np.testing.assert_allclose(ranks.square[topic], (expected**2).sum(axis=0), atol=1e-9)
        np.testing.assert_allclose(ranks.cube[topic], (expected**3).sum(axis=0), atol=1e-9)


@pytest.mark.parametrize("layout", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_any_layout_and_number_format_gives_the_same_and_is_left_as_it_was(layout: type, dtype: type) -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(5))
    acts = np.rint(acts * 10)
    given_acts = layout(acts.astype(dtype))
    given_acts.data[::7] = 0
    before = given_acts.copy()
    stored = sparse.csr_array(before.toarray().astype(np.float64))
    np.testing.assert_array_equal(auroc_all(given_acts, labels), auroc_all(stored, labels))
    np.testing.assert_array_equal(van_elteren(given_acts, labels, topics).z, van_elteren(stored, labels, topics).z)
    np.testing.assert_array_equal(given_acts.data, before.data)
    np.testing.assert_array_equal(given_acts.indices, before.indices)


def test_values_that_single_precision_cannot_tell_apart_are_no_ties() -> None:
    acts = np.array([[1.0, -1e300], [1 + 1e-12, -2e300], [1 - 1e-12, 1e300], [0, 0], [1 + 1e-12, 5.0]])
    labels = np.array([0, 1, 0, 1, 1])
    expected = [[roc_auc_score(labels == e, column) for e in range(2)] for column in acts.T]
    np.testing.assert_allclose(auroc_all(sparse.csr_array(acts), labels), expected, atol=1e-12)


@pytest.mark.parametrize("entries", [1, 3, 40])
def test_ranks_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch, entries: int) -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(6))
    table = sparse.csr_array(acts)
    auroc, test = auroc_all(table, labels), van_elteren(table, labels, topics)
    monkeypatch.setattr(order, "_ENTRIES", entries)
    np.testing.assert_array_equal(auroc_all(table, labels), auroc)
    np.testing.assert_array_equal(van_elteren(table, labels, topics).z, test.z)


@given(lengths=st.lists(st.integers(0, 9), max_size=20), most=st.integers(1, 5))
def test_tiles_hold_every_column_and_entry_once(lengths: list[int], most: int) -> None:
    indptr = np.cumsum([0, *lengths])
    tiles = list(order.cut_columns(indptr, most))
    columns = [k for run, _ in tiles for k in range(run.start, run.stop)]
    assert columns == list(range(len(lengths)))
    assert [k for _, entries in tiles for k in range(entries.start, entries.stop)] == list(range(sum(lengths)))
    assert all(1 <= run.stop - run.start <= most for run, _ in tiles)


@pytest.mark.parametrize("n_topics", [1, 4, 7])
def test_permutation_tables_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch, n_topics: int) -> None:
    rng = np.random.default_rng(7)
    acts, labels, topics = draw_stories(rng, n_topics=n_topics)
    ranks, draws = rank_within(sparse.csr_array(acts), topics), shuffle_within(labels, topics, 45, rng)
    tested = rng.random((7, 4)) < 0.7
    null = permute_ranks(ranks, labels, draws, tested)
    monkeypatch.setattr(permutation, "_CELLS", 20)
    monkeypatch.setattr(permutation, "_ADDITIONS", 90)
    monkeypatch.setattr(permutation, "_MOST_FEATURES", 2)
    other = permute_ranks(ranks, labels, draws, tested)
    np.testing.assert_array_equal(other.p, null.p)
    np.testing.assert_array_equal(other.largest, null.largest)


@pytest.mark.parametrize("n_topics", [1, 5])
def test_draws_that_tie_count_and_those_half_a_rank_below_do_not(n_topics: int) -> None:
    rng = np.random.default_rng(8)
    n_stories = 20_000
    labels, topics = np.arange(n_stories) % 1000, np.arange(n_stories) // 7 % n_topics
    acts = np.zeros((n_stories, 2))
    acts[rng.integers(0, n_stories, 1500), 0] = rng.integers(1, 4, 1500)
    acts[rng.integers(0, n_stories, 900), 1] = rng.normal(size=900)
    draws = shuffle_within(labels, topics, 60, rng)
    tested = np.zeros((2, 1000), dtype=bool)
    tested[:, :300] = True
    null = permute_ranks(rank_within(sparse.csr_array(acts), topics), labels, draws, tested)
    scores = np.stack([block_scores(column, topics) for column in acts.T])

    def add(draw: np.ndarray, feature: int) -> np.ndarray:
        return np.bincount(draw, scores[feature], minlength=1000)[:300]

    for feature in range(2):
        reached = sum(add(draw, feature) >= add(labels, feature) - 1e-9 for draw in draws)
        np.testing.assert_allclose(null.p[feature, :300], (1 + reached) / 61)
    assert np.isnan(null.p[:, 300:]).all()
    assert (null.largest[:, 300:] == -np.inf).all()


def test_more_draws_than_a_counter_holds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(9))
    monkeypatch.setattr(permutation, "_MOST_DRAWS", 1)
    same = np.tile(labels, (600, 1))
    null = permute_ranks(rank_within(sparse.csr_array(acts), topics), labels, same, np.ones((7, 4), dtype=bool))
    assert (null.p == 1).all()
