"""Stories that nobody here wrote are read, split and ranked by their words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emosae.selectivity import measure_baselines
from emosae.selectivity.layout import lay_out
from emosae.selectivity.words import fit_words
from emosae.stories import NEUTRAL, SPLITS, assign_splits, load_stories

pytestmark = [pytest.mark.shared, pytest.mark.integration]


def test_the_shared_corpus_is_read_and_split_by_topic(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "emotion_stories_20"
    stories = assign_splits(load_stories(folder / "stories.jsonl", folder / "neutral_dialogues.jsonl"), "emosae")
    counts = Counter(story.emotion for story in stories)
    assert counts.pop(NEUTRAL) == 50
    assert set(counts.values()) == {150}
    assert len({story.id for story in stories}) == 3050
    topics = {(story.topic, story.split) for story in stories if not story.is_neutral}
    assert [sum(split == name for _, split in topics) for name in SPLITS] == [15, 5, 10]
    layout = lay_out(stories)
    assert layout.notes == ()
    rows = [row["auroc_confirm"] for row in measure_baselines([], stories).to_pylist()]
    assert np.min(rows) > 0.8
    assert len(fit_words(layout, layout.part("discover")).words) > 1000
