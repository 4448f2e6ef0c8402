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


def test_two_sided_p_counts_both_tails_and_is_symmetric() -> None:
    acts, labels, topics = draw_stories(np.random.default_rng(4))
    one = van_elteren(sparse.csr_array(acts), labels, topics)
    mirrored = van_elteren(sparse.csr_array(-acts), labels, topics)
    np.testing.assert_allclose(mirrored.p_two_sided, one.p_two_sided, atol=1e-12)
    np.testing.assert_allclose(one.p_upper + mirrored.p_upper, 1.0)
    assert (one.p_two_sided <= 1).all()


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
