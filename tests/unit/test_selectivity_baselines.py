"""Simpler methods are measured on the same splits, and never see confirm before it is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_stories import EMOTIONS, plant_features, plant_stories, wrap_acts
from sklearn.metrics import roc_auc_score

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity import (
    emotion_vectors,
    find_predictive_words,
    list_masked_words,
    mask_stories,
    mask_words,
    measure_baselines,
    score_baselines,
)
from emosae.stories import Story


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plant_stories(copies=1)


@pytest.fixture(scope="module")
def table(stories: list[Story]) -> StoryFeatures:
    return plant_features(stories, np.random.default_rng(0))


def test_difference_of_means_finds_the_planted_axes_centred_over_emotions(
    stories: list[Story], table: StoryFeatures
) -> None:
    vectors = emotion_vectors(table.resid_mean, stories, neutral_variance=0.0)
    assert list(vectors) == list(EMOTIONS)
    assert torch.stack(list(vectors.values())).sum(dim=0).abs().max() < 1e-5
    for place, vector in enumerate(vectors.values()):
        expected = torch.full((len(vector),), 0.0)
        expected[: len(EMOTIONS)] = -2.0 / len(EMOTIONS)
        expected[place] += 2.0
        assert torch.cosine_similarity(vector, expected, dim=0) > 0.9


def test_what_varies_in_neutral_text_is_projected_out(stories: list[Story], table: StoryFeatures) -> None:
    resid = table.resid_mean.clone()
    resid[:, 0] += 50 * torch.randn(len(resid), generator=torch.Generator().manual_seed(0))
    resid[:, -1] += 1.0
    before, after = (emotion_vectors(resid, stories, neutral_variance=share) for share in (0.0, 0.5))
    assert max(vector[0].abs() for vector in before.values()) > 1
    assert max(vector[0].abs() for vector in after.values()) < 0.05
    assert all(vector.norm() > 0.5 for vector in after.values())


def test_vectors_do_not_see_confirm(stories: list[Story], table: StoryFeatures) -> None:
    resid = table.resid_mean.clone()
    resid[[story.split == "confirm" for story in stories]] = 1e3
    one, other = emotion_vectors(table.resid_mean, stories), emotion_vectors(resid, stories)
    for emotion in EMOTIONS:
        torch.testing.assert_close(one[emotion], other[emotion])


def test_baselines_are_confirm_aurocs(stories: list[Story], table: StoryFeatures) -> None:
    other = replace(table, sae="other", hook_name="blocks.1.hook_resid_post")
    rows = measure_baselines([table, replace(table, sae="twin"), other], stories).to_pylist()
    assert len(rows) == (1 + 2 * 4 + 3) * len(EMOTIONS)
    vectors = emotion_vectors(table.resid_mean, stories)
    kept = np.array([story.split == "confirm" and not story.is_neutral for story in stories])
    for row in rows:
        own = np.array([story.emotion == row["emotion"] for story in stories])[kept]
        if row["baseline"] == "difference_of_means":
            scores = (table.resid_mean @ vectors[row["emotion"]]).numpy()[kept]
            assert row["auroc_confirm"] == pytest.approx(roc_auc_score(own, scores))
        assert row["auroc_confirm_lo"] < row["auroc_confirm"] <= row["auroc_confirm_hi"]
        assert (row["sae"] is not None) == (row["baseline"] == "sparse_probe")
        assert row["auroc_typical"] is None
    words = {row["emotion"]: row["auroc_confirm"] for row in rows if row["baseline"] == "bag_of_words"}
    assert words == pytest.approx(dict.fromkeys(EMOTIONS, 1.0))
    assert {row["hook_name"] for row in rows} == {None, table.hook_name, other.hook_name}


def test_predictive_words_are_the_planted_ones_and_masking_removes_them(stories: list[Story]) -> None:
    found = find_predictive_words(stories, count=1)
    assert found == {
        "afraid": ("trembles",),
        "calm": ("breathes",),
        "grieving": ("weeps",),
        "joyful": ("laughs",),
        "proud": ("beams",),
        "sad": ("sighs",),
    }
    assert mask_words("She SIGHS and sighs, sighing.\nHe weeps.", ["sighs", "weeps"]) == "She and, sighing.\nHe."


def test_two_emotions_have_both_their_words() -> None:
    pair = plant_stories(copies=1, n_neutral=0, emotions=("calm", "joyful"))
    assert find_predictive_words(pair, count=1) == {"calm": ("breathes",), "joyful": ("laughs",)}


def test_stories_without_words_or_with_one_discover_emotion_are_refused(stories: list[Story]) -> None:
    with pytest.raises(UserError, match="no words"):
        find_predictive_words([replace(story, text="...") for story in stories])
    with pytest.raises(UserError, match="fewer than two emotions"):
        find_predictive_words([s for s in stories if s.emotion == "calm" or s.split != "discover"])
    with pytest.raises(UserError, match="neutral_variance"):
        emotion_vectors(torch.zeros(len(stories), 3), stories, neutral_variance=2.0)


def test_phrases_and_parts_of_words_are_masked() -> None:
    words = ["fed up", "fear", "can't"]
    assert mask_words("Fed\nup? A fear-filled, fearnought life is Fed-Up.", words) == "? A, fearnought life is."
    assert mask_words("She can\u2019t; the fear's gone.", words) == "She; the gone."


def test_a_ban_takes_predictive_words_forms_and_synonyms_from_all_confirm_stories_alike(stories: list[Story]) -> None:
    words = list_masked_words(stories, count=1)
    assert list(words) == list(EMOTIONS)
    assert {"trembles", "afraid", "terror"} <= set(words["afraid"])
    marked = [replace(story, text=f"terror {story.text}") for story in stories]
    masked = mask_stories(marked, set().union(*words.values()))
    assert [s.id for s in masked] == [s.id for s in stories if s.split == "confirm" and not s.is_neutral]
    signs = {"terror", "trembles", "breathes", "weeps", "laughs", "beams", "sighs"}
    assert not any(signs & set(story.text.split()) for story in masked)
    assert all(story.text.startswith("At place") and story.text.endswith("goes home.") for story in masked)


def test_nothing_is_chosen_on_confirm(stories: list[Story], table: StoryFeatures) -> None:
    """Other labels there, in the same stories, leave every score as it was."""
    turned = dict(zip(EMOTIONS, EMOTIONS[1:] + EMOTIONS[:1], strict=True)) | {"neutral": "neutral"}
    other = [replace(s, emotion=turned[s.emotion]) if s.split == "confirm" else s for s in stories]
    for one, two in zip(score_baselines([table], stories), score_baselines([table], other), strict=True):
        assert one.baseline == two.baseline
        np.testing.assert_array_equal(one.scores, two.scores)


def test_what_a_confirm_story_scores_does_not_depend_on_the_others(stories: list[Story], table: StoryFeatures) -> None:
    rng = np.random.default_rng(1)
    read = [row for row, s in enumerate(stories) if s.split == "confirm" and not s.is_neutral]
    spoilt = read[::2]
    acts, resid = table.mean.toarray(), table.resid_mean.numpy().copy()
    acts[spoilt], resid[spoilt] = (rng.exponential(50.0, (len(spoilt), t.shape[1])) for t in (acts, resid))
    other = wrap_acts(acts, stories, resid=resid)
    told = [replace(s, text="laughs weeps") if row in spoilt else s for row, s in enumerate(stories)]
    for one, two in zip(score_baselines([table], stories), score_baselines([other], told), strict=True):
        np.testing.assert_allclose(one.scores[1::2], two.scores[1::2], rtol=1e-6)


def test_an_emotion_that_a_split_lacks_is_null_and_the_others_are_not(
    stories: list[Story], table: StoryFeatures
) -> None:
    for lacking in (("discover", "tune"), ("tune",), ("confirm",)):
        kept = [row for row, s in enumerate(stories) if s.emotion != "sad" or s.split not in lacking]
        told = [stories[row] for row in kept]
        few = wrap_acts(table.mean.toarray()[kept], told, resid=table.resid_mean.numpy()[kept])
        rows = measure_baselines([few], told).to_pylist()
        null = {row["emotion"] for row in rows if row["auroc_confirm"] is None}
        assert null == ({"sad"} if lacking != ("tune",) else set())
