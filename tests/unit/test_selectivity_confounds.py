"""A feature that follows a word, a token, a place, a valence or a person is told from one that follows the emotion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import PlantedSae, planted_lm
from planted_stories import EMOTIONS, plant_features, plant_stories, wrap_acts
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from emosae.features import measure_firings, pool_features
from emosae.selectivity import list_masked_words, mask_stories, rank_features
from emosae.stories import Story, load_taxonomy

PAIR = ("calm", "joyful")
CUES = {"calm": "breathes", "joyful": "laughs"}
CUE, MEANING = 0, 2
UNPLEASANT = ("afraid", "grieving", "sad")


def rank_rows(tables: list, stories: list[Story], **options) -> list[dict]:
    found = rank_features(tables, stories, rng=np.random.default_rng(0), permutations=31, **options)
    return found.candidates.to_pylist()


def write_stories() -> list[Story]:
    """An emotion has a cue word in all its stories, and words that mean it, each of which stands in one story only."""
    stories = []
    for at, story in enumerate(plant_stories(copies=1, n_neutral=0, emotions=PAIR)):
        meant = " ".join(f"{story.emotion}{at}x{k}" for k in "abc")
        stories.append(replace(story, text=f"one goes home {CUES[story.emotion]} {meant}"))
    return stories


def make_model(stories: list[Story]):
    """Residuals are the word's: axes for the cue of each emotion, for the meaning of each, and one for the rest."""
    words = sorted({word for story in stories for word in story.text.split()})
    vectors = torch.zeros(len(words), 5)
    for row, word in enumerate(words):
        axis = next((at for at, own in enumerate(PAIR) if word == CUES[own]), None)
        meant = next((MEANING + at for at, own in enumerate(PAIR) if word.startswith(own)), 4)
        vectors[row, meant if axis is None else axis] = 1.0
    sae = PlantedSae(torch.eye(5), torch.zeros(5), torch.eye(5), torch.zeros(5))
    return planted_lm(vectors, words), sae


def test_the_lexical_ban_catches_a_cue_word_and_leaves_meaning_alone() -> None:
    stories = write_stories()
    lm, sae = make_model(stories)
    words = list_masked_words(stories, count=3)
    masked = mask_stories(stories, set().union(*words.values()))
    tables = [list(pool_features(lm, {"toy": sae}, texts).features.values()) for texts in (stories, masked)]
    rows = {(r["emotion"], r["feature_idx"]): r for r in rank_rows(tables[0], stories, masked=tables[1])}
    for place, emotion in enumerate(PAIR):
        cue, meaning = rows[emotion, CUE + place], rows[emotion, MEANING + place]
        assert cue["auroc_confirm"] == meaning["auroc_confirm"] == 1.0
        assert cue["lexical_drop"] == pytest.approx(0.5)
        assert cue["lexical_drop_lo"] > 0.1
        assert meaning["lexical_drop"] == pytest.approx(0.0)


def test_stories_whose_masked_text_is_missing_are_left_out_of_both_sides() -> None:
    stories = plant_stories()
    table = plant_features(stories, np.random.default_rng(0))
    kept = [row for row, s in enumerate(stories) if s.split == "confirm" and s.emotion != "neutral" and row % 3]
    acts = np.random.default_rng(1).random((len(kept), table.d_sae))
    ids = tuple(stories[row].id for row in kept)
    masked = replace(wrap_acts(acts[::-1], [stories[row] for row in kept[::-1]]), story_ids=ids[::-1])
    emotion = np.array([stories[row].emotion for row in kept])
    for row in rank_rows([table], stories, masked=[masked]):
        own, at = emotion == row["emotion"], row["feature_idx"]
        before = roc_auc_score(own, table.mean.toarray()[kept, at])
        assert row["lexical_drop"] == pytest.approx(before - roc_auc_score(own, acts[:, at].astype(np.float32)))
    assert {row["lexical_drop"] for row in rank_rows([table], stories)} == {None}


def test_a_feature_of_valence_is_no_better_than_chance_within_it() -> None:
    stories = plant_stories()
    rng, n = np.random.default_rng(2), len(stories)
    is_bad = np.array([story.emotion in UNPLEASANT for story in stories])
    acts = np.stack([rng.random(n) + 1.0 * is_bad, rng.random(n) + np.array([s.emotion == "sad" for s in stories])], 1)
    rows = {(r["emotion"], r["feature_idx"]): r for r in rank_rows([wrap_acts(acts, stories)], stories)}
    taxonomy = load_taxonomy()
    kept = [i for i, s in enumerate(stories) if s.split == "confirm" and s.emotion in UNPLEASANT]
    assert all(taxonomy[name].valence < 0 for name in UNPLEASANT)
    assert not any(taxonomy[name].valence < 0 for name in set(EMOTIONS) - set(UNPLEASANT))
    for feature_idx, (low, high) in enumerate(((0.3, 0.7), (0.99, 1.0))):
        row = rows["sad", feature_idx]
        expected = roc_auc_score([stories[i].emotion == "sad" for i in kept], acts[kept, feature_idx])
        assert row["auroc_same_valence"] == pytest.approx(expected)
        assert low <= row["auroc_same_valence"] <= high
        assert row["auroc_confirm"] > 0.7


def test_a_feature_of_the_person_is_no_better_than_chance_within_it() -> None:
    rng = np.random.default_rng(3)
    stories = [
        replace(s, perspective="first" if rng.random() < (0.85 if s.emotion == "sad" else 0.3) else "third")
        for s in plant_stories(copies=4)
    ]
    acts = rng.random(len(stories)) + np.array([story.perspective == "first" for story in stories])
    (row,) = [r for r in rank_rows([wrap_acts(acts[:, None], stories)], stories) if r["emotion"] == "sad"]
    assert row["auroc_confirm"] > 0.7
    assert abs(row["auroc_same_perspective"] - 0.5) < 0.1
    untold = [replace(story, perspective=None) for story in stories]
    assert {r["auroc_same_perspective"] for r in rank_rows([wrap_acts(acts[:, None], untold)], untold)} == {None}


def test_emotions_that_the_taxonomy_lacks_have_no_valence() -> None:
    stories = plant_stories(emotions=("blurgh", "calm", "joyful"))
    acts = np.stack([[story.emotion == name for story in stories] for name in ("blurgh", "calm", "joyful")], axis=1)
    rows = {row["emotion"]: row for row in rank_rows([wrap_acts(acts.astype(np.float64), stories)], stories)}
    assert rows["blurgh"]["auroc_same_valence"] is None
    assert rows["calm"]["auroc_same_valence"] == 1.0


def test_firings_say_where_and_on_which_token() -> None:
    words = tuple("abcdef")
    lm = planted_lm(torch.eye(6), words)
    W_enc = torch.stack([torch.eye(6)[0], torch.eye(6)[5], torch.tensor([0, 3.0, 1, 1, 1, 0]), torch.zeros(6)], dim=1)
    sae = PlantedSae(W_enc, torch.zeros(4), W_enc.T.contiguous(), torch.zeros(6))
    texts = ("a b c d f", "a c d e b f", "a e b d c c f", "a d c b e f")
    stories = [Story(f"s{n}", "calm", "rain", text) for n, text in enumerate(texts)]
    rows = {row["feature_idx"]: row for row in measure_firings(lm, {"toy": sae}, stories).to_pylist()}
    assert set(rows) == {0, 1, 2}
    assert (rows[0]["top_token"], rows[0]["top_token_share"]) == ("a", 1.0)
    assert (rows[0]["position_corr"], rows[1]["position_corr"]) == (-1.0, 1.0)
    tokens = [(word, at / (len(text.split()) - 1)) for text in texts for at, word in enumerate(text.split())]
    fired = [place for word, place in tokens if word in "bcde"]
    quiet = [place for word, place in tokens if word not in "bcde"]
    expected = 2 * mannwhitneyu(fired, quiet).statistic / (len(fired) * len(quiet)) - 1
    assert rows[2]["position_corr"] == pytest.approx(expected)
    assert rows[2]["n_firings"] == len(fired)
    assert rows[2]["top_token"] == "b"
    assert rows[2]["top_token_share"] == pytest.approx(3 * 4 / (3 * 4 + len(fired) - 4))
    skipped = measure_firings(lm, {"toy": sae}, stories, skip_tokens=1).to_pylist()
    assert {row["feature_idx"] for row in skipped} == {1, 2}


def test_firings_reach_the_candidates() -> None:
    stories = plant_stories()
    table = plant_features(stories, np.random.default_rng(0))
    lm = planted_lm(torch.eye(2), ("a", "b"))
    sae = PlantedSae(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2))
    firings = measure_firings(lm, {"planted": sae}, [Story("s", "calm", "rain", "a b b")])
    rows = rank_rows([table], stories, firings=firings)
    told = {row["feature_idx"]: row for row in rows}
    assert (told[0]["position_corr"], told[0]["top_token"], told[0]["top_token_share"]) == (-1.0, "a", 1.0)
    assert {told[5][name] for name in ("position_corr", "top_token", "top_token_share")} == {None}
