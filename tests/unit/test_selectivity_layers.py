"""The layer that holds the emotions wins, and a feature is set against simpler methods on the same stories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted_stories import EMOTIONS, plant_features, plant_stories
from sklearn.metrics import roc_auc_score

from emosae.errors import UserError
from emosae.hooks import sort_hooks
from emosae.selectivity import (
    Selectivity,
    compare_baselines,
    jackknife_difference,
    measure_baselines,
    rank_features,
    score_baselines,
    sweep_layers,
)
from emosae.selectivity.layers import normalise_resid
from emosae.stories import Story

HOOKS = tuple(f"blocks.{layer}.hook_resid_post" for layer in range(3))
HELD = HOOKS[1]


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plant_stories()


@pytest.fixture(scope="module")
def tables(stories: list[Story]) -> list:
    """Features that know nothing at the first hook, and emotions at the second."""
    rng = np.random.default_rng(0)
    weak = plant_features(stories, rng, sae="weak", hook_name=HOOKS[0], strength=0.0, resid_noise=30.0)
    return [weak, plant_features(stories, rng, sae="strong", hook_name=HELD, strength=4.0)]


@pytest.fixture(scope="module")
def ranked(stories: list[Story], tables: list) -> Selectivity:
    return rank_features(tables, stories, rng=np.random.default_rng(1), permutations=31, top=3)


def rows_of(table: pa.Table, **wanted) -> list[dict]:
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def sweep(stories: list[Story], tables: list, ranked: Selectivity, last: torch.Tensor) -> pa.Table:
    resid = {HOOKS[0]: tables[0].resid_mean, HELD: tables[1].resid_mean, HOOKS[2]: last}
    return sweep_layers(tables, resid, stories, ranked.candidates)


def test_the_layer_that_holds_the_emotions_wins(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    noise = torch.randn(len(stories), 12, generator=torch.Generator().manual_seed(0))
    found = sweep(stories, tables, ranked, noise)
    for method in ("difference_of_means", "sae_feature"):
        for emotion in (None, *EMOTIONS):
            assert [row["hook_name"] for row in rows_of(found, method=method, emotion=emotion, chosen=True)] == [HELD]
    lost = [row["auroc_confirm"] for row in rows_of(found, method="difference_of_means", hook_name=HOOKS[2])]
    assert abs(np.mean(lost) - 0.5) < 0.1
    assert {row["hook_name"] for row in rows_of(found, method="sae_feature")} == set(HOOKS[:2])


def test_the_layer_is_not_chosen_on_confirm(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    """A hook that is perfect on confirm and knows nothing on tune does not win, and is reported as it is."""
    last = tables[1].resid_mean.clone()
    split, emotion = (np.array([getattr(story, name) for story in stories]) for name in ("split", "emotion"))
    axes = torch.from_numpy(emotion[:, None] == np.array(EMOTIONS)).float()
    last[split == "tune"] = torch.randn(last.shape, generator=torch.Generator().manual_seed(0))[split == "tune"]
    last[split == "confirm"] = torch.nn.functional.pad(axes, (0, 6))[split == "confirm"]
    found = sweep(stories, tables, ranked, last)
    assert {row["hook_name"] for row in rows_of(found, chosen=True)} == {HELD}
    vectors = rows_of(found, method="difference_of_means", emotion=None)
    confirm = {row["hook_name"]: row["auroc_confirm"] for row in vectors}
    assert confirm[HOOKS[2]] > confirm[HELD]


def test_lengths_of_residuals_do_not_matter(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    scale = torch.rand(len(stories), 1, generator=torch.Generator().manual_seed(1)) * 50 + 0.1
    one, other = (sweep(stories, tables, ranked, tables[1].resid_mean * by) for by in (1.0, scale))
    assert one["auroc_confirm"].to_pylist() == pytest.approx(other["auroc_confirm"].to_pylist())
    assert normalise_resid(torch.zeros(2, 3)).abs().max() == 0


def test_of_equal_layers_the_earlier_is_chosen(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    found = sweep(stories, tables, ranked, tables[1].resid_mean)
    assert {row["hook_name"] for row in rows_of(found, chosen=True)} == {HELD}


def test_residuals_of_other_stories_are_refused(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    with pytest.raises(UserError, match=r"blocks\.2.*pool them again"):
        sweep(stories, tables, ranked, torch.zeros(3, 12))


def test_hooks_are_in_the_models_order() -> None:
    names = ["blocks.10.hook_resid_post", "blocks.2.hook_resid_post", "blocks.2.hook_resid_pre"]
    assert sort_hooks(names) == names[::-1]
    with pytest.raises(UserError, match="hook layer 3: is not of the form"):
        sort_hooks(["layer 3"])


def test_a_feature_beats_noise_ties_with_its_equal_and_loses_to_the_truth(
    stories: list[Story], tables: list, ranked: Selectivity
) -> None:
    confirm = [story for story in stories if story.split == "confirm" and story.emotion in EMOTIONS]
    own = np.array([[story.emotion == emotion for emotion in EMOTIONS] for story in confirm], dtype=np.float64)
    rng = np.random.default_rng(2)
    words = score_baselines(tables, stories)[0]
    chosen = ranked.summary.to_pylist()
    row_of = {story.id: row for row, story in enumerate(stories)}
    picked = [row_of[story.id] for story in confirm]
    same = np.stack([tables[1].mean.toarray()[picked, row["feature_idx"]] for row in chosen], axis=1)
    others = {"noise": rng.normal(size=own.shape), "equal": 2.0 * same, "truth": own}
    scores = [replace(words, baseline=name, scores=table) for name, table in others.items()]
    found = compare_baselines(tables, stories, ranked.summary, scores)
    assert {row["outcome"] for row in rows_of(found, baseline="noise")} == {"beats"}
    assert {(row["difference"], row["outcome"]) for row in rows_of(found, baseline="equal")} == {(0.0, "ties")}
    assert all(row["difference"] <= 0 for row in rows_of(found, baseline="truth"))


def test_differences_are_those_of_the_tables(stories: list[Story], tables: list, ranked: Selectivity) -> None:
    scores = score_baselines(tables, stories)
    auroc = {
        (row["baseline"], row["hook_name"], row["emotion"]): row["auroc_confirm"]
        for row in measure_baselines(tables, stories, scores).to_pylist()
    }
    best = {row["emotion"]: row["auroc_confirm"] for row in ranked.summary.to_pylist()}
    found = compare_baselines(tables, stories, ranked.summary, scores).to_pylist()
    assert len(found) == 6 * len(EMOTIONS)
    for row in found:
        expected = best[row["emotion"]] - auroc[row["baseline"], row["hook_name"], row["emotion"]]
        assert row["difference"] == pytest.approx(expected)
        assert row["difference_lo"] <= row["difference"] <= row["difference_hi"]


def draw_pair(rng: np.random.Generator, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two scores that share what topics and stories do to them, one of them better by `gain`."""
    topic = np.repeat(np.arange(8), 20)
    own = np.tile(np.arange(20) < 2, 8)
    shared = rng.normal(0, 0.6, (8, 2))[topic, own.astype(int)] + rng.normal(0, 0.9, 160)
    one, other = (rise * own + shared + rng.normal(0, 0.6, 160) for rise in (1.7 + gain, 1.7))
    return one, other, own, topic


def test_pairing_narrows_the_interval_and_equal_scores_rarely_differ() -> None:
    rng, wrong, n = np.random.default_rng(0), 0, 120
    for _ in range(n):
        one, other, own, topic = draw_pair(rng, 0.0)
        gap = jackknife_difference(one, other, own, topic)
        assert gap.value == pytest.approx(roc_auc_score(own, one) - roc_auc_score(own, other))
        mirrored = jackknife_difference(other, one, own, topic)
        assert (mirrored.lo, mirrored.hi) == pytest.approx((-gap.hi, -gap.lo))
        wrong += not gap.lo <= 0 <= gap.hi
    assert wrong <= 0.1 * n
    shuffled = rng.permutation(own.sum())
    apart = other.copy()
    apart[own] = other[own][shuffled]
    loose = jackknife_difference(one, apart, own, topic)
    assert gap.hi - gap.lo < loose.hi - loose.lo + 1e-9


def test_a_separated_score_has_an_interval_and_few_topics_have_none() -> None:
    rng = np.random.default_rng(3)
    one, _, own, topic = draw_pair(rng, 1.0)
    perfect = own.astype(np.float64)
    gap = jackknife_difference(perfect, one, own, topic)
    assert gap.lo < gap.value < gap.hi
    same = jackknife_difference(perfect, perfect, own, topic)
    assert same.lo < 0 == same.value < same.hi
    assert np.isnan(jackknife_difference(one, perfect, own, topic, min_topics=9).lo)
    assert np.isnan(jackknife_difference(one, one, np.zeros(160, dtype=bool), topic).value)
