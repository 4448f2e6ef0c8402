"""Planted groups stand and noise does not, p is uniform where nothing is planted, and statements say what they test."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted_stories import EMOTIONS, SHARED, plant_features, plant_stories
from scipy.cluster.hierarchy import linkage, to_tree
from scipy.stats import kstest, pearsonr

from emosae.atlas.axes import describe_axes, exchange, place_on_axes, relate
from emosae.atlas.emotions import measure_geometry, rate_emotions
from emosae.atlas.profiles import MOST_LONE, Profiles, profile_by_features, profile_by_vectors
from emosae.atlas.statements import compare_with_sets, judge_statements, list_sets
from emosae.atlas.tree import build_tree, join_emotions, list_groups
from emosae.errors import UserError
from emosae.selectivity import auroc_all, emotion_vectors, rank_features
from emosae.selectivity.layers import normalise_resid
from emosae.selectivity.layout import lay_out
from emosae.selectivity.overlap import compare_profiles
from emosae.stories import load_norms, load_taxonomy
from emosae.stories.families import STATEMENTS

NAMES = ("afraid", "angry", "calm", "excited", "grieving", "joyful", "proud", "sad")


def plant_profiles(seed: int, *, shared: float, names: tuple[str, ...] = NAMES, n_topics: int = 12) -> Profiles:
    """Neighbours in pairs (0-1, 2-3, ...) share a direction of that strength; every topic adds noise."""
    rng = np.random.default_rng(seed)
    common = np.repeat(rng.normal(size=(len(names) // 2, 40)), 2, axis=0)
    own = rng.normal(size=(len(names), 40))
    total = shared * common + own + 1.5 * rng.normal(size=(n_topics, len(names), 40))
    return Profiles(names, total, np.ones((n_topics, len(names))), around_stories=False)


def test_groups_and_heights_are_those_of_average_linkage() -> None:
    cosine = plant_profiles(0, shared=0.5).compare()
    merges = join_emotions(cosine)
    groups = list_groups(merges, NAMES)
    _, theirs = to_tree(linkage(1 - cosine[np.triu_indices(8, 1)], "average"), rd=True)
    assert set(groups) == {frozenset(NAMES[leaf] for leaf in node.pre_order()) for node in theirs if node.count > 1}
    below = [frozenset({name}) for name in NAMES] + groups
    for left, right, height, _ in merges:
        pairs = [(NAMES.index(a), NAMES.index(b)) for a in below[int(left)] for b in below[int(right)]]
        assert height == pytest.approx(np.mean([1 - cosine[pair] for pair in pairs]))


def test_planted_pairs_have_full_support_and_noise_has_little() -> None:
    rng = np.random.default_rng(0)
    planted, noise = plant_profiles(1, shared=3.0), plant_profiles(2, shared=0.0)
    noise = Profiles(NAMES, noise.total - noise.total.mean(axis=0) * 0.9, noise.count, noise.around_stories)
    rows = build_tree(planted, noise, n_draws=100, rng=rng).to_pylist()
    pairs = {tuple(row["members"]): row for row in rows if row["n_leaves"] == 2}
    assert set(pairs) == {NAMES[at : at + 2] for at in range(0, 8, 2)}
    assert min(row["support"] for row in pairs.values()) > 0.95
    assert max(row["support_vectors"] for row in pairs.values()) < 0.6
    of_noise = build_tree(noise, planted, n_draws=100, rng=rng).to_pylist()
    assert np.mean([row["support"] for row in of_noise[:-1]]) < 0.5
    assert min(row["support"] for row in of_noise) < 0.3
    assert (rows[-1]["support"], rows[-1]["node"], len(rows[-1]["members"])) == (1.0, 14, 8)


def test_without_features_or_topics_no_support_is_claimed() -> None:
    empty = Profiles(NAMES, np.zeros((5, 8, 0)), np.ones((5, 8)), around_stories=True)
    one_topic = plant_profiles(0, shared=1.0, n_topics=1)
    for row in build_tree(empty, one_topic, n_draws=10, rng=np.random.default_rng(0)).to_pylist():
        assert (row["support"], row["support_vectors"]) == (None, None)


@pytest.fixture(scope="module")
def world():
    stories = plant_stories(copies=1)
    features = [plant_features(stories, np.random.default_rng(3), sae=name, n_noise=10) for name in ("a", "b")]
    selectivity = rank_features(features, stories, rng=np.random.default_rng(0), permutations=31, top=8)
    return stories, features, selectivity


def test_similarity_by_features_is_the_cosine_of_confirm_aurocs(world) -> None:
    stories, features, selectivity = world
    part = lay_out(stories).part("confirm")
    chosen = [
        (
            table,
            sorted(
                {
                    r["feature_idx"]
                    for r in selectivity.candidates.to_pylist()
                    if r["sae"] == table.sae and r["q_bh"] < 0.05 and r["auroc"] > 0.5
                }
            ),
        )
        for table in features
    ]
    auroc = np.concatenate([auroc_all(t.mean[part.rows][:, own], part.label, part.n_emotions) for t, own in chosen])
    ours = profile_by_features(selectivity, features, 0.05)
    assert ours.emotions == EMOTIONS
    np.testing.assert_allclose(ours.compare(), compare_profiles(auroc), atol=1e-6)


def test_profiles_by_vectors_are_the_emotion_vectors(world) -> None:
    stories, features, selectivity = world
    resid = features[0].resid_mean
    theirs = emotion_vectors(normalise_resid(resid), stories)
    ours = profile_by_vectors(selectivity.stories, resid.double().numpy())
    np.testing.assert_allclose(ours.centre(), torch.stack([theirs[name] for name in EMOTIONS]).numpy(), atol=1e-6)


def test_profiles_are_around_the_mean_emotion_or_the_mean_story() -> None:
    count = np.array([[1.0, 3.0]])
    by_emotion, by_story = (Profiles(("a", "b"), np.array([[[2.0], [18.0]]]), count, flag) for flag in (False, True))
    np.testing.assert_allclose(by_emotion.centre()[:, 0], [-2, 2])
    np.testing.assert_allclose(by_story.centre()[:, 0], [-3, 1])


def test_a_weight_of_two_is_a_topic_that_stands_twice() -> None:
    once = plant_profiles(0, shared=1.0, n_topics=3)
    again = Profiles(NAMES, once.total[[0, 0, 2]], once.count[[0, 0, 2]], once.around_stories)
    np.testing.assert_allclose(once.compare(np.array([2.0, 0.0, 1.0])), again.compare())


@pytest.mark.parametrize(("n_stories", "n_topics"), [(40, 40), (1200, MOST_LONE)])
def test_stories_without_a_topic_are_a_hundred_topics_at_most(n_stories: int, n_topics: int) -> None:
    rng = np.random.default_rng(0)
    emotion = [("calm", "sad", "angry", "proud")[row % 4] for row in range(n_stories)]
    columns = {"emotion": emotion, "split": ["tune"] * n_stories, "topic": pa.nulls(n_stories, pa.string())}
    resid = rng.normal(size=(n_stories, 3))
    found = profile_by_vectors(pa.table(columns), resid)
    assert found.n_topics == n_topics
    assert found.count.sum(axis=0).tolist() == [n_stories / 4] * 4
    assert n_stories == n_topics or (found.count == n_stories / 4 / n_topics).all()
    unit = resid / np.linalg.norm(resid, axis=1, keepdims=True)
    mean = np.stack([unit[np.array(emotion) == name].mean(axis=0) for name in found.emotions])
    np.testing.assert_allclose(found.centre(), mean - mean.mean(axis=0))


@pytest.mark.filterwarnings("error")
def test_without_confirm_topics_no_emotion_is_like_another_and_it_is_said() -> None:
    none = Profiles(NAMES, np.zeros((0, 8, 5)), np.zeros((0, 8)), around_stories=True)
    assert not none.compare().any()
    assert not Profiles(NAMES, none.total, none.count, around_stories=False).compare().any()
    told = judge_statements(none, none, np.zeros(8), rng=np.random.default_rng(0))["verdict"].to_pylist()
    assert "not testable here: no topic is kept for confirming" in told


def test_correlations_agree_with_scipy_and_the_formula_of_partial_correlation() -> None:
    rng = np.random.default_rng(0)
    length = rng.normal(size=20)
    a, b = length + rng.normal(size=20), 0.5 * length + rng.normal(size=20)
    found = relate(a, b, length, n_draws=199, rng=rng)
    theirs = pearsonr(a, b)
    assert found["r"] == pytest.approx(theirs.statistic)
    interval = theirs.confidence_interval(0.95)
    assert (found["lo"], found["hi"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    ab, al, bl = (np.corrcoef(one, other)[0, 1] for one, other in ((a, b), (a, length), (b, length)))
    assert found["r_partial"] == pytest.approx((ab - al * bl) / np.sqrt((1 - al**2) * (1 - bl**2)))


@pytest.mark.parametrize("with_length", [False, True])
def test_p_is_uniform_where_nothing_goes_with_the_axis(with_length: bool) -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(400):
        length = rng.normal(size=15)
        nuisance = np.stack([np.ones(15), length], axis=1)[:, : 1 + with_length]
        a, b = length * with_length + rng.normal(size=15), length * with_length + rng.normal(size=15)
        found.append(exchange(a, b, nuisance, n_draws=199, rng=rng)[1])
    assert kstest(found, "uniform").pvalue > 0.01


def test_what_goes_with_length_alone_is_found_out() -> None:
    rng = np.random.default_rng(0)
    length = rng.normal(size=40)
    score, valence = length + 0.2 * rng.normal(size=40), length + 0.2 * rng.normal(size=40)
    found = relate(score, valence, length, n_draws=999, rng=rng)
    assert found["p"] < 0.01
    assert found["p_partial"] > 0.05


def test_axes_are_turned_by_valence_and_say_how_much_they_hold() -> None:
    rng = np.random.default_rng(0)
    valence, arousal = rng.normal(size=(2, 12))
    valence, arousal = valence - valence.mean(), arousal - arousal.mean()
    vectors = -5 * np.outer(valence, np.eye(6)[0]) - 2 * np.outer(arousal, np.eye(6)[1])
    measures = {"valence": valence, "arousal": arousal, "story_length": np.full(12, 80.0)}
    scores, variance = place_on_axes(vectors, measures)
    assert variance.sum() == pytest.approx(1)
    sources = dict.fromkeys(measures, "planted")
    rows = describe_axes(scores, variance, measures, sources, n_draws=199, rng=rng).to_pylist()
    first = {row["measure"]: row for row in rows if row["axis"] == 1}
    assert first["valence"]["r"] > 0.9
    assert first["valence"]["p"] == pytest.approx(1 / 200)
    assert first["story_length"]["r"] is None
    assert first["valence"]["r_partial"] == pytest.approx(first["valence"]["r"])


@pytest.mark.parametrize(("first", "second", "is_seen"), [(0, 1, True), (0, 2, False)])
def test_a_planted_pair_is_seen_and_a_lone_member_is_named(first: int, second: int, is_seen: bool) -> None:
    names = ("grieving", "sad", "afraid", "angry", "calm", "proud", "bored", "joyful")
    flat = plant_profiles(0, shared=0.0, names=names)
    total = flat.total.copy()
    total[:, [first, second]] += 3 * np.random.default_rng(1).normal(size=40)
    planted = Profiles(names, total, flat.count, around_stories=False)
    valence = np.array([load_taxonomy()[name].valence for name in names])
    grief, joy = judge_statements(planted, planted, valence, rng=np.random.default_rng(0)).to_pylist()
    assert (grief["members"], grief["is_seen"]) == (["grieving", "sad"], is_seen)
    assert grief["overlap_lo"] < grief["overlap"] < grief["overlap_hi"]
    assert (grief["overlap"] > grief["null_hi"]) == is_seen
    assert (grief["p"] == pytest.approx(1 / 28)) == is_seen
    assert (joy["is_seen"], joy["verdict"]) == (None, "not testable here: only one member (joyful)")


def test_too_few_emotions_or_no_feature_is_said() -> None:
    few = plant_profiles(0, shared=1.0, names=("excited", "grieving", "joyful", "sad"))
    empty = Profiles(NAMES, np.zeros((8, 8, 0)), np.ones((8, 8)), around_stories=True)
    rng = np.random.default_rng(0)
    assert "form only 6 sets" in judge_statements(few, few, np.zeros(4), rng=rng)["verdict"][0].as_py()
    assert "no feature was discovered" in judge_statements(empty, empty, np.zeros(8), rng=rng)["verdict"][0].as_py()


@pytest.mark.parametrize(("size", "limit"), [(2, 20_000), (3, 99)])
def test_p_of_a_set_is_uniform_where_labels_mean_nothing(size: int, limit: int) -> None:
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        cosine = np.triu(rng.uniform(-1, 1, (12, 12)), 1)
        members = rng.choice(12, size, replace=False).tolist()
        found.append(compare_with_sets(cosine + cosine.T, members, list_sets(range(12), members, rng, limit=limit))[2])
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_families_are_words_of_the_taxonomy_that_do_not_meet() -> None:
    for family in STATEMENTS:
        assert family.words <= set(load_taxonomy())
    for a, b in combinations(STATEMENTS, 2):
        assert not a.words & b.words


def test_norms_are_the_users_alone_and_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("emotion,valence,arousal\nsad,-0.7,-0.4\njoyful,0.9,0.5\n")
    found = rate_emotions(("calm", "joyful", "sad"), load_norms(path))
    np.testing.assert_allclose(found["valence"], [np.nan, 0.9, -0.7])
    assert np.isfinite(rate_emotions(("calm", "saudade"), None)["valence"]).tolist() == [True, False]
    with pytest.raises(UserError, match=r"atlas\.norms: rates none of the run's emotions: calm"):
        rate_emotions(("calm",), load_norms(path))
    path.write_text("emotion,valence,arousal\nsad,2,5\n")
    with pytest.raises(UserError, match=r"line 2: valence is 2, off the scale -1\.\.1 of own ratings"):
        load_norms(path)


def test_the_geometry_of_a_planted_world_says_what_was_planted(world) -> None:
    _, features, selectivity = world
    found = measure_geometry(selectivity, features, rng=np.random.default_rng(0))
    pairs = {(row["emotion_a"], row["emotion_b"]): row["by_features"] for row in found.similarity.to_pylist()}
    assert max(pairs, key=pairs.__getitem__) == SHARED
    assert found.tree.to_pylist()[0]["members"] == list(SHARED)
    assert found.emotions["emotion"].to_pylist() == list(EMOTIONS)
    assert {"valence", "arousal", "axis1", "axis2", "story_length"} <= set(found.emotions.column_names)
