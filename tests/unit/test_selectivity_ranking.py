"""What was planted is found and confirmed, noise is not, and confirm is read once, after every choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from planted_stories import (
    EMOTIONS,
    FIRST_NOISE,
    LENGTH_FEATURE,
    SHARED,
    SHARED_FEATURE,
    plant_features,
    plant_stories,
    wrap_acts,
)
from scipy import stats
from sklearn.metrics import roc_auc_score

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity import Selectivity, overlap_matrix, rank_features
from emosae.store import Stage
from emosae.stories import Story

CONTRACT = {
    "sae",
    "feature_idx",
    "emotion",
    "rank",
    "auroc",
    "auroc_min_rival",
    "rival",
    "cohens_d",
    "fire_rate_pos",
    "fire_rate_neg",
    "p_perm",
    "q_bh",
    "p_maxt",
    "auroc_confirm",
    "auroc_confirm_lo",
    "auroc_confirm_hi",
    "auroc_rival_confirm",
    "auroc_rival_confirm_lo",
    "auroc_rival_confirm_hi",
    "length_corr",
    "lexical_drop",
}


def rank(features: Sequence[StoryFeatures], stories: Sequence[Story], **options) -> Selectivity:
    return rank_features(features, stories, rng=np.random.default_rng(7), **{"permutations": 127, **options})


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plant_stories()


@pytest.fixture(scope="module")
def planted(stories: list[Story]) -> list[StoryFeatures]:
    rng = np.random.default_rng(0)
    return [plant_features(stories, rng, sae=sae, n_noise=n) for sae, n in (("first", 40), ("second", 25))]


@pytest.fixture(scope="module")
def ranked(stories: list[Story], planted: list[StoryFeatures]) -> Selectivity:
    return rank(planted, stories)


def rows_of(table: pa.Table, **wanted) -> list[dict]:
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def test_the_contract_is_kept(ranked: Selectivity) -> None:
    assert set(ranked.candidates.column_names) >= CONTRACT
    assert ranked.looks == len(EMOTIONS)
    assert ranked.notes == ()
    assert set(ranked.summary["notes"].to_pylist()) == {""}


def test_every_planted_feature_is_first_and_confirmed(ranked: Selectivity) -> None:
    for place, emotion in enumerate(EMOTIONS):
        for sae in ("first", "second"):
            (best,) = rows_of(ranked.candidates, sae=sae, emotion=emotion, rank=1)
            assert best["feature_idx"] == place
            assert best["q_bh"] < 0.05
            assert best["p_perm"] == 1 / 128
            assert best["p_maxt"] <= 0.05
            assert best["auroc_confirm_lo"] > 0.5
            assert best["cohens_d"] > 0.5
            assert best["mean_pos"] > best["mean_other_max"] > 0
    assert set(ranked.summary["feature_idx"].to_pylist()) == set(range(len(EMOTIONS)))


def test_the_shared_feature_is_found_for_both_and_rivalled_by_the_other(ranked: Selectivity) -> None:
    for own, other in (SHARED, SHARED[::-1]):
        (row,) = rows_of(ranked.candidates, sae="first", emotion=own, feature_idx=SHARED_FEATURE)
        assert row["rival"] == other
        assert row["auroc_confirm_lo"] > 0.6
        assert row["auroc_rival_confirm_lo"] < 0.5 < row["auroc_rival_confirm_hi"]


def test_overlap_stands_out_for_the_emotions_that_share_a_feature(ranked: Selectivity) -> None:
    for column in ("cosine", "jaccard"):
        names, matrix = overlap_matrix(ranked.overlap, column)
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1.0)
        np.fill_diagonal(matrix, -1)
        assert {names[i] for i in np.unravel_index(matrix.argmax(), matrix.shape)} == set(SHARED)


def test_noise_is_not_discovered_and_length_is_reported(ranked: Selectivity) -> None:
    false = [r for r in ranked.candidates.to_pylist() if r["feature_idx"] >= FIRST_NOISE and r["q_bh"] < 0.05]
    assert len(false) <= 1
    length = [r["length_corr"] for r in ranked.candidates.to_pylist() if r["feature_idx"] == LENGTH_FEATURE]
    assert all(value > 0.9 for value in length)
    others = [r["length_corr"] for r in ranked.candidates.to_pylist() if r["feature_idx"] < SHARED_FEATURE]
    assert max(map(abs, others)) < 0.3


def test_columns_agree_with_scikit_learn_and_numpy(
    ranked: Selectivity, stories: list[Story], planted: list[StoryFeatures]
) -> None:
    acts = planted[0].mean.toarray()
    emotion, split = (np.array([getattr(story, name) for story in stories]) for name in ("emotion", "split"))
    (row,) = rows_of(ranked.candidates, sae="first", emotion="proud", rank=1)
    column, own = acts[:, row["feature_idx"]], emotion == "proud"
    felt, early = emotion != "neutral", np.isin(split, ("discover", "tune"))
    for name, kept in (("auroc", felt & (split == "discover")), ("auroc_confirm", felt & (split == "confirm"))):
        assert row[name] == pytest.approx(roc_auc_score(own[kept], column[kept]))
    pair = own | (emotion == row["rival"])
    for name, kept in (("auroc_min_rival", pair & early), ("auroc_rival_confirm", pair & (split == "confirm"))):
        assert row[name] == pytest.approx(roc_auc_score(own[kept], column[kept]))
    a, b = column[own & (split == "discover")], column[felt & ~own & (split == "discover")]
    pooled = np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2))
    assert row["cohens_d"] == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-4)
    assert row["fire_rate_pos"] == pytest.approx((a > 0).mean())
    assert row["fire_rate_neg"] == pytest.approx((b > 0).mean())
    assert row["mean_neutral"] == pytest.approx(column[~felt & early].mean(), rel=1e-4)
    kept = early & (own | ~felt)
    assert row["auroc_neutral"] == pytest.approx(roc_auc_score(own[kept], column[kept]))
    expected = stats.spearmanr(column[felt & early], planted[0].n_tokens[felt & early]).statistic
    assert row["length_corr"] == pytest.approx(expected)


def test_confirm_changes_nothing_but_what_is_said_of_confirm(
    ranked: Selectivity, stories: list[Story], planted: list[StoryFeatures]
) -> None:
    rng = np.random.default_rng(1)
    is_confirm = np.array([story.split == "confirm" for story in stories])
    acts = planted[0].mean.toarray()
    acts[is_confirm] = rng.exponential(1.0, (is_confirm.sum(), acts.shape[1]))
    other = rank([replace(planted[0], mean=type(planted[0].mean)(acts)), planted[1]], stories)
    told = [name for name in ranked.candidates.column_names if "confirm" in name or name.startswith("auroc_same_")]
    assert other.candidates.drop_columns(told).equals(ranked.candidates.drop_columns(told))
    assert not other.candidates.equals(ranked.candidates)
    assert other.profiles.equals(ranked.profiles)
    first = [row["auroc_confirm"] for row in rows_of(other.candidates, sae="first", rank=1)]
    assert max(abs(value - 0.5) for value in first) < 0.25


def test_tune_moves_rivals_but_not_the_selection(stories: list[Story], planted: list[StoryFeatures]) -> None:
    acts = planted[0].mean.toarray()
    acts[[story.split == "tune" for story in stories]] *= 0
    one, other = rank(planted[:1], stories), rank([replace(planted[0], mean=type(planted[0].mean)(acts))], stories)
    same = ["sae", "feature_idx", "emotion", "rank", "auroc", "p_perm", "q_bh", "p_maxt"]
    assert one.candidates.select(same).equals(other.candidates.select(same))
    assert one.candidates["auroc_min_rival"] != other.candidates["auroc_min_rival"]


def test_shuffled_labels_give_no_discoveries(stories: list[Story], planted: list[StoryFeatures]) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(5):
        named = {story.id: story for story in stories}
        for topic in sorted({story.topic for story in stories if story.topic}):
            block = [story for story in stories if story.topic == topic]
            labels = rng.permutation([story.emotion for story in block])
            named |= {s.id: replace(s, emotion=str(e)) for s, e in zip(block, labels, strict=True)}
        result = rank(planted, list(named.values()), permutations=31)
        found.append(sum(result.summary["n_discovered"].to_pylist()))
    assert sum(count > 0 for count in found) <= 1


def test_permuting_features_permutes_rows(
    ranked: Selectivity, stories: list[Story], planted: list[StoryFeatures]
) -> None:
    order = {t.sae: np.random.default_rng(3).permutation(t.mean.shape[1]) for t in planted}
    moved = [replace(table, mean=table.mean[:, order[table.sae]]) for table in planted]
    back = [order[row["sae"]][row["feature_idx"]] for row in rank(moved, stories).candidates.to_pylist()]
    assert back == ranked.candidates["feature_idx"].to_pylist()


def test_few_topics_are_noted_and_capped(recwarn: pytest.WarningsRecorder) -> None:
    stories = plant_stories(n_topics=9, copies=4)
    result = rank([plant_features(stories, np.random.default_rng(0))], stories)
    assert result.notes == ("9 topics, fewer than 12",)
    assert set(result.summary["verdict_cap"].to_pylist()) == {"detected"}
    assert set(result.candidates["verdict_cap"].to_pylist()) == {"detected"}
    assert all(note.endswith("verdict capped at detected") for note in result.summary["notes"].to_pylist())
    assert result.candidates["auroc_confirm_lo"].null_count == len(result.candidates)
    assert result.candidates["auroc_confirm"].null_count == 0
    assert not recwarn.list


def test_stories_without_topics_are_ranked_and_capped() -> None:
    stories = plant_stories(has_topics=False)
    result = rank([plant_features(stories, np.random.default_rng(0))], stories)
    assert "288 stories have no topic" in result.notes[0]
    assert rows_of(result.candidates, emotion="calm", rank=1)[0]["feature_idx"] == EMOTIONS.index("calm")
    assert set(result.candidates["verdict_cap"].to_pylist()) == {"detected"}


def test_an_emotion_that_cannot_be_tested_is_noted(recwarn: pytest.WarningsRecorder) -> None:
    stories = [s for s in plant_stories(n_neutral=0) if s.emotion != "proud" or s.split == "confirm"]
    result = rank([plant_features(stories, np.random.default_rng(0))], stories)
    (row,) = rows_of(result.summary, emotion="proud")
    assert (row["n_tested"], row["feature_idx"], row["auroc_confirm"]) == (0, None, None)
    assert "not tested" in row["notes"]
    assert result.looks == len(EMOTIONS) - 1
    assert result.candidates["mean_neutral"].null_count == len(result.candidates)
    assert not recwarn.list


def test_silent_features_are_no_candidates(stories: list[Story]) -> None:
    result = rank([wrap_acts(np.zeros((len(stories), 5)), stories)], stories)
    assert len(result.candidates) == 0
    assert result.looks == 0
    assert set(result.candidates.column_names) >= CONTRACT
    assert result.summary["emotion"].to_pylist() == list(EMOTIONS)


def test_masked_text_gives_the_lexical_drop(stories: list[Story], planted: list[StoryFeatures]) -> None:
    assert rank(planted, stories).candidates["lexical_drop"].null_count > 0
    acts = planted[0].mean.toarray()
    acts[:, 0] = 0
    masked = replace(planted[0], mean=type(planted[0].mean)(acts))
    rows = rank(planted[:1], stories, masked=[masked]).candidates.to_pylist()
    for row in rows:
        expected = row["auroc_confirm"] - 0.5 if row["feature_idx"] == 0 else 0.0
        assert row["lexical_drop"] == pytest.approx(expected)


def test_a_ranking_is_saved_and_loaded(ranked: Selectivity, tmp_path: Path) -> None:
    ranked.save(Stage(tmp_path / "selectivity"))
    again = Selectivity.load(Stage(tmp_path / "selectivity"))
    assert again.candidates.equals(ranked.candidates)
    assert again.summary.equals(ranked.summary)
    assert (again.looks, again.notes) == (ranked.looks, ranked.notes)


def test_the_same_seed_gives_the_same_tables(
    ranked: Selectivity, stories: list[Story], planted: list[StoryFeatures]
) -> None:
    assert rank(planted, stories).candidates.equals(ranked.candidates)


def test_tables_of_other_stories_twins_and_loose_stories_are_refused(
    stories: list[Story], planted: list[StoryFeatures]
) -> None:
    with pytest.raises(UserError, match="features of first: are not of these stories"):
        rank(planted[:1], stories[::-1])
    with pytest.raises(UserError, match="SAEs with the same name: first"):
        rank([planted[0], planted[0]], stories)
    loose = [replace(stories[0], split=None), *stories[1:]]
    with pytest.raises(UserError, match="stories without a split: afraid/0/0"):
        rank(planted, loose)
    with pytest.raises(UserError, match="no SAE"):
        rank([], stories)
