"""Probes and single directions reach what was planted for them, agree with scikit-learn, and chance stays chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_stories import EMOTIONS, FIRST_NOISE, plant_features, plant_stories, wrap_acts
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emosae.features import StoryFeatures
from emosae.features.untrained import UntrainedDictionary, count_active
from emosae.sae import Dictionary
from emosae.selectivity import (
    compare_baselines,
    emotion_vectors,
    measure_baselines,
    rank_features,
    score_baselines,
    score_random_features,
    score_random_model,
)
from emosae.selectivity.directions import score_best_component, score_best_dimension, score_vectors
from emosae.selectivity.layout import Layout, lay_out
from emosae.selectivity.probes import STRENGTHS, _choose_strength, _fit_and_score, probe_features, probe_resid
from emosae.selectivity.random_controls import DRAWS
from emosae.stories import Story


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plant_stories()


@pytest.fixture(scope="module")
def layout(stories: list[Story]) -> Layout:
    return lay_out(stories)


@pytest.fixture(scope="module")
def table(stories: list[Story]) -> StoryFeatures:
    return plant_features(stories, np.random.default_rng(0), strength=4.0, n_noise=120)


def auroc_of(scores: np.ndarray, layout: Layout) -> list[float]:
    label = layout.part("confirm").label
    return [float(roc_auc_score(label == place, scores[:, place])) for place in range(len(layout.emotions))]


def plant_axes(layout: Layout, rng: np.random.Generator, *, nuisance: float = 0.0) -> np.ndarray:
    """A residual per story: an axis per emotion, hidden under one loud direction that leans on all of them."""
    n, width = len(layout.stories), len(EMOTIONS)
    clean = np.eye(width + 1)[layout.label][:, :width] * 2 + rng.normal(0, 0.5, (n, width))
    loud = rng.normal(0, nuisance, (n, 1))
    return np.concatenate([clean + loud, loud + rng.normal(0, 0.1, (n, 1))], axis=1)


def test_a_linear_probe_sees_past_what_drowns_the_vector(layout: Layout) -> None:
    resid = plant_axes(layout, np.random.default_rng(1), nuisance=20.0)
    vectors = emotion_vectors(torch.from_numpy(resid).float(), layout.stories, neutral_variance=0.0)
    drowned = score_vectors(vectors, torch.from_numpy(resid).float(), layout, layout.part("confirm"))
    assert min(auroc_of(probe_resid(resid, layout), layout)) > 0.95
    assert np.mean(auroc_of(drowned, layout)) < 0.9


@pytest.mark.parametrize("width", [5, 700])
def test_a_linear_probe_is_scikit_learns(layout: Layout, width: int) -> None:
    """Also where there are more dimensions than stories, which are then folded away before the fit."""
    rng = np.random.default_rng(2)
    fit, confirm = layout.part("discover", "tune"), layout.part("confirm")
    resid = rng.normal(0, 3, (len(layout.stories), width)) + 5
    resid[:, :5] += np.eye(7)[layout.label][:, :5]
    found = _fit_and_score(resid[fit.rows], fit.label, resid[confirm.rows], 10.0, len(layout.emotions))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=10.0 / width, max_iter=5000, tol=1e-8))
    p = theirs.fit(resid[fit.rows], fit.label).predict_proba(resid[confirm.rows])
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), p, atol=0.01)


def test_the_penalty_is_the_best_on_tune(layout: Layout) -> None:
    rng = np.random.default_rng(3)
    resid = rng.normal(size=(len(layout.stories), 150))
    resid[:, :6] += 0.5 * np.eye(7)[layout.label][:, :6]
    early, tune = layout.part("discover"), layout.part("tune")
    merits = {}
    for strength in STRENGTHS:
        scores = _fit_and_score(resid[early.rows], early.label, resid[tune.rows], strength, len(layout.emotions))
        merits[strength] = np.mean([roc_auc_score(tune.label == e, scores[:, e]) for e in range(len(EMOTIONS))])
    assert max(merits.values()) - min(merits.values()) > 0.001
    assert merits[_choose_strength(resid, layout)] == pytest.approx(max(merits.values()))
    assert _choose_strength(np.zeros((len(layout.stories), 3)), layout) == STRENGTHS[0]


def test_a_sparse_probe_adds_up_features_that_tell_an_emotion_in_part(stories: list[Story], layout: Layout) -> None:
    """Each emotion has four features, each of which fires in a quarter of its stories."""
    rng = np.random.default_rng(4)
    n, quarter = len(stories), rng.integers(0, 4, len(stories))
    acts = (rng.random((n, 60)) < 0.01) * rng.exponential(1.0, (n, 60))
    for row, label in enumerate(layout.label):
        if label >= 0:
            acts[row, 4 * label + quarter[row]] += 1.0
    one, four = (auroc_of(probe_features(csr_array(acts), layout, k=k), layout) for k in (1, 4))
    assert max(one) < 0.75
    assert min(four) > 0.93


def test_one_dimension_is_found_with_its_sign_and_a_mixed_one_needs_components(layout: Layout) -> None:
    rng = np.random.default_rng(5)
    resid = rng.normal(size=(len(layout.stories), 120))
    resid[:, 7] -= 8.0 * (layout.label == EMOTIONS.index("proud"))
    found = auroc_of(score_best_dimension(resid, layout), layout)[EMOTIONS.index("proud")]
    assert found > 0.99
    mixed = resid @ np.linalg.qr(rng.normal(size=(120, 120)))[0]
    own = [auroc_of(score(mixed, layout), layout)[4] for score in (score_best_dimension, score_best_component)]
    assert own[0] < 0.97 < own[1]


def test_chance_is_chance(layout: Layout) -> None:
    noise = np.random.default_rng(6).normal(size=(len(layout.stories), 30))
    for score in (probe_resid, score_best_dimension, score_best_component):
        assert abs(np.mean(auroc_of(score(noise, layout), layout)) - 0.5) < 0.08
    assert abs(np.mean(auroc_of(probe_features(csr_array(np.abs(noise)), layout), layout)) - 0.5) < 0.08


def test_random_features_fire_as_often_and_know_nothing(stories: list[Story], table: StoryFeatures) -> None:
    summary = rank_features([table], stories, rng=np.random.default_rng(0), permutations=31, top=1).summary
    scores = score_random_features([table], stories, summary, np.random.default_rng(0))
    assert scores.typical is not None
    assert (np.abs(scores.typical - 0.5) < 0.06).all()
    rows = measure_baselines([table], stories, [scores]).to_pylist()
    assert [row["auroc_typical"] for row in rows] == pytest.approx(scores.typical.tolist())
    chosen = {row["emotion"]: row["auroc_confirm"] for row in summary.to_pylist()}
    assert all(row["auroc_confirm"] < chosen[row["emotion"]] for row in rows)


def test_random_features_are_matched_and_exclude_the_chosen_one(stories: list[Story], layout: Layout) -> None:
    """Half of the features fire in a tenth of the stories; the chosen one and its kind fire in half of them."""
    rng, n = np.random.default_rng(7), len(stories)
    acts = (rng.random((n, 120)) < np.repeat([0.1, 0.5], 60)) * rng.exponential(1.0, (n, 120))
    acts[:, 100] = 10.0 * (layout.label == 0) + (rng.random(n) < 0.4)
    wrapped = wrap_acts(acts, stories)
    summary = rank_features([wrapped], stories, rng=rng, permutations=31, top=1).summary
    assert summary.to_pylist()[0]["feature_idx"] == 100
    scores = score_random_features([wrapped], stories, summary, np.random.default_rng(0)).scores[:, 0]
    columns = acts[layout.part("confirm").rows].astype(np.float32)
    (drawn,) = np.flatnonzero((columns == scores[:, None].astype(np.float32)).all(axis=0))
    assert drawn >= 60
    assert drawn != 100
    assert DRAWS == 20


def test_a_random_model_is_ranked_by_the_same_rule(stories: list[Story], layout: Layout, table: StoryFeatures) -> None:
    feature, vector = score_random_model([table], stories)
    assert (feature.baseline, vector.baseline) == ("random_model", "random_model_vector")
    confirm = layout.part("confirm")
    best = rank_features([table], stories, rng=np.random.default_rng(0), permutations=31, top=1).summary.to_pylist()
    for place, row in enumerate(best):
        assert row["feature_idx"] < FIRST_NOISE
        np.testing.assert_array_equal(feature.scores[:, place], table.mean.toarray()[confirm.rows, row["feature_idx"]])
    silent = wrap_acts(np.zeros((len(stories), 3)), stories)
    assert np.isnan(score_random_model([silent], stories)[0].scores).all()


def test_of_two_saes_at_a_hook_the_probe_on_the_chosen_features_own_is_compared(
    stories: list[Story], table: StoryFeatures
) -> None:
    tables = [table, plant_features(stories, np.random.default_rng(1), sae="twin", strength=0.0)]
    summary = rank_features(tables, stories, rng=np.random.default_rng(0), permutations=31, top=1).summary
    found = compare_baselines(tables, stories, summary, score_baselines(tables, stories)).to_pylist()
    assert [row["emotion"] for row in found if row["baseline"] == "sparse_probe"] == list(EMOTIONS)


def test_an_untrained_dictionary_fires_with_k_features_about_its_centre() -> None:
    rng = torch.Generator().manual_seed(0)
    W_enc = torch.nn.functional.normalize(torch.randn(6, 40, generator=rng), dim=0)
    sae = UntrainedDictionary("toy", "blocks.0.hook_resid_post", W_enc, torch.full((6,), 3.0), 4)
    assert isinstance(sae, Dictionary)
    resid = 3 + torch.randn(50, 6, generator=rng)
    acts = sae.encode(resid)
    assert (acts > 0).sum(dim=1).max() <= 4
    torch.testing.assert_close(sae.encode(resid, torch.tensor([5, 2])), acts[:, [5, 2]])
    torch.testing.assert_close(sae.decode(acts) - sae.decode(0 * acts), acts @ W_enc.T)
    assert sae.encode(torch.full((1, 6), 3.0)).abs().max() == 0


def test_active_features_are_counted_by_token(stories: list[Story]) -> None:
    n_tokens = np.where(np.arange(len(stories)) == 0, 90, 10)
    acts = np.zeros((len(stories), 3))
    acts[0] = 1.0
    expected = 3 * 0.5 * 90 / n_tokens.sum()
    assert count_active(wrap_acts(acts, stories, n_tokens=n_tokens)) == pytest.approx(expected)
