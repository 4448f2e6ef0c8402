"""The detection limit keeps its word: what is planted just above it is found in most redraws, what is below is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_stories import EMOTIONS, plant_stories, wrap_acts

from emosae.features import StoryFeatures
from emosae.selectivity import auroc_all, bh, measure_detection, van_elteren
from emosae.selectivity.detection import COLUMNS, FOUND_SHARE, STRENGTHS, find_critical_p
from emosae.selectivity.layout import lay_out
from emosae.stories import Story

N_FEATURES, GAIN = 120, 8.0


class ShiftedStories:
    """A direction of strength s adds GAIN times s to the activation of every story."""

    def __init__(self, table: StoryFeatures, stories: Sequence[Story]) -> None:
        rows = [table.story_ids.index(story.id) for story in stories]
        self.acts = table.mean.toarray()[rows]

    def pool(self, sae: str, feature_idx: int, strength: float, /) -> np.ndarray:
        return self.acts[:, feature_idx].astype(np.float64) + GAIN * strength


def draw_table(stories: Sequence[Story], seed: int, n_features: int = N_FEATURES) -> StoryFeatures:
    rng = np.random.default_rng(seed)
    shape = (len(stories), n_features)
    return wrap_acts(rng.exponential(1.0, shape) * (rng.random(shape) < 0.5), stories)


def measure(table: StoryFeatures, stories: Sequence[Story], **options) -> list[dict]:
    read = options.pop("read", partial(ShiftedStories, table))
    rng = np.random.default_rng(1)
    found = measure_detection([table], stories, read, rng=rng, **options)
    assert found.schema == COLUMNS
    return found.to_pylist()


def find_planted(stories: Sequence[Story], strength: float, n_redraws: int = 30) -> tuple[float, float]:
    """Share of redraws in which feature 0, planted for the first emotion, is found, and its mean AUROC."""
    discover = lay_out(stories).part("discover")
    found, auroc = [], []
    for seed in range(100, 100 + n_redraws):
        acts = draw_table(stories, seed).mean.toarray()
        acts[[story.emotion == EMOTIONS[0] for story in stories], 0] += GAIN * strength
        read = wrap_acts(acts, stories).mean[discover.rows]
        q = bh(van_elteren(read, discover.label, discover.block).p_upper)
        auroc.append(auroc_all(read, discover.label)[0, 0])
        found.append(q[0, 0] < 0.05 and auroc[-1] > 0.5)
    return float(np.mean(found)), float(np.mean(auroc))


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plant_stories(n_topics=48, copies=1, n_neutral=0)


@pytest.fixture(scope="module")
def limits(stories: list[Story]) -> list[dict]:
    return measure(draw_table(stories, 0), stories, n_spikes=40)


@pytest.fixture(scope="module")
def limit(limits: list[dict]) -> dict:
    return limits[0]


def average(limits: Sequence[dict]) -> float:
    return float(np.mean([row["detection_limit_auroc"] for row in limits]))


def test_what_lies_above_the_limit_is_found_in_most_redraws_and_what_lies_below_is_not(
    stories: list[Story], limit: dict
) -> None:
    above, auroc = find_planted(stories, 1.2 * limit["detection_limit_strength"])
    below, _ = find_planted(stories, 0.3 * limit["detection_limit_strength"])
    assert above >= 0.8
    assert below <= 0.3
    assert auroc > limit["detection_limit_auroc"]


def test_the_limit_in_auroc_is_what_such_features_have_on_average(stories: list[Story], limit: dict) -> None:
    share, auroc = find_planted(stories, limit["detection_limit_strength"])
    assert share == pytest.approx(FOUND_SHARE, abs=0.2)
    assert limit["detection_limit_auroc"] == pytest.approx(auroc, abs=0.03)
    assert limit["detection_limit_auroc_confirm"] == pytest.approx(auroc, abs=0.06)
    assert FOUND_SHARE <= limit["share_found"] <= 1


def test_exchanged_labels_do_not_move_the_limit(stories: list[Story], limit: dict) -> None:
    rng = np.random.default_rng(5)
    by_topic = {story.topic: [] for story in stories}
    for place, story in enumerate(stories):
        by_topic[story.topic].append(place)
    shuffled = list(stories)
    for places in by_topic.values():
        for place, other in zip(places, rng.permutation(places), strict=True):
            shuffled[place] = replace(stories[place], emotion=stories[other].emotion)
    other = measure(draw_table(stories, 0), shuffled, n_spikes=40)[0]
    assert other["detection_limit_auroc"] == pytest.approx(limit["detection_limit_auroc"], abs=0.04)


def test_more_stories_lower_the_limit(limits: list[dict]) -> None:
    many = plant_stories(n_topics=144, copies=1, n_neutral=0)
    assert average(measure(draw_table(many, 0), many)) < average(limits) - 0.05


def test_more_features_raise_the_limit(stories: list[Story], limits: list[dict]) -> None:
    wide = measure(draw_table(stories, 0, 10 * N_FEATURES), stories)
    assert wide[0]["p_needed"] == pytest.approx(limits[0]["p_needed"] / 10)
    assert average(wide) > average(limits) + 0.02


def test_a_feature_that_is_selective_already_is_never_spiked(stories: list[Story]) -> None:
    acts = draw_table(stories, 0).mean.toarray()
    acts[:, :20] += 5 * np.array([story.emotion == EMOTIONS[0] for story in stories])[:, None]
    table, asked = wrap_acts(acts, stories), set()

    class Watched(ShiftedStories):
        def pool(self, sae: str, feature_idx: int, strength: float, /) -> np.ndarray:
            asked.add((self.acts[0, 0] > 4, feature_idx))
            return super().pool(sae, feature_idx, strength)

    rows = measure(table, stories, read=partial(Watched, table), n_spikes=200)
    assert not [index for is_first, index in asked if is_first and index < 20]
    assert rows[0]["n_spikes"] <= N_FEATURES - 20


def test_what_no_strength_brings_out_has_no_limit(stories: list[Story]) -> None:
    table = draw_table(stories, 0)

    class Deaf(ShiftedStories):
        def pool(self, sae: str, feature_idx: int, strength: float, /) -> np.ndarray:
            return super().pool(sae, feature_idx, 0.0)

    rows = measure(table, stories, read=partial(Deaf, table))
    assert {row["share_found"] for row in rows} == {0.0}
    assert {row["detection_limit_auroc"] for row in rows} == {None}


def test_where_nothing_can_be_tested_there_is_no_limit() -> None:
    single = [story for story in plant_stories(n_neutral=0) if story.emotion in EMOTIONS[:2]]
    silent = wrap_acts(np.zeros((len(single), 4)), single)
    rows = measure(silent, single)
    assert [(row["n_spikes"], row["p_needed"], row["detection_limit_auroc"]) for row in rows] == [(0, None, None)] * 2


@given(
    p=st.lists(st.floats(1e-9, 1), min_size=2, max_size=40),
    alpha=st.floats(0.01, 0.3),
    factor=st.sampled_from([0.5, 0.999, 1.001, 2.0]),
)
def test_the_bar_is_where_benjamini_hochberg_puts_it(p: list[float], alpha: float, factor: float) -> None:
    values = np.array([*p, 1.0])
    bar = find_critical_p(values[:, None], alpha)
    values[-1] = min(1.0, bar * factor)
    assert (bh(values)[-1] < alpha) == (values[-1] < bar)


def test_the_table_holds_a_row_per_emotion_on_the_grid(stories: list[Story]) -> None:
    rows = measure(draw_table(stories, 0), stories)
    assert [row["emotion"] for row in rows] == list(EMOTIONS)
    assert all(row["detection_limit_strength"] in STRENGTHS for row in rows)
    assert {row["n_spikes"] for row in rows} == {10}
    assert pa.Table.from_pylist(rows, schema=COLUMNS).num_rows == len(EMOTIONS)
