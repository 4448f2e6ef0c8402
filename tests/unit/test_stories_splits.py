"""No topic is in two splits, the quota is met, and a stored assignment never moves."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.errors import UserError
from emosae.stories import NEUTRAL, QUOTA, SPLITS, Story, assign_splits


def tell(topics: set[str], emotions: tuple[str, ...] = ("calm", "sad")) -> list[Story]:
    return [Story(f"{e}/{t}", e, t, "text") for t in sorted(topics) for e in emotions]


def splits_by_topic(stories: list[Story]) -> dict[str | None, set[str | None]]:
    topics = {story.topic for story in stories}
    return {topic: {story.split for story in stories if story.topic == topic} for topic in topics}


some_topics = st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=40)


@given(topics=some_topics, salt=st.text(max_size=5))
def test_a_topic_is_in_one_split_and_the_quota_is_met(topics: set[str], salt: str) -> None:
    by_topic = splits_by_topic(assign_splits(tell(topics), salt))
    assert all(len(splits) == 1 for splits in by_topic.values())
    counts = Counter(next(iter(splits)) for splits in by_topic.values())
    for name, quota in zip(SPLITS, QUOTA, strict=True):
        exact = len(topics) * quota / sum(QUOTA)
        assert math.floor(exact) <= counts[name] <= math.ceil(exact)


@given(old=some_topics, new=some_topics, salt=st.text(max_size=5), other_salt=st.text(max_size=5))
def test_added_topics_never_move_stored_ones(old: set[str], new: set[str], salt: str, other_salt: str) -> None:
    stored = assign_splits(tell(old), salt)
    added = tell(old | new, emotions=("proud",))
    grown = assign_splits([*added, *stored], other_salt)
    assert grown[len(added) :] == stored
    assert all(len(splits) == 1 for splits in splits_by_topic(grown).values())


@given(old=some_topics, new=some_topics)
def test_added_topics_fill_what_the_quota_lacks(old: set[str], new: set[str]) -> None:
    stored = [replace(story, split="confirm") for story in tell(old)]
    grown = splits_by_topic(assign_splits([*stored, *tell(new - old)], "salt"))
    counts = Counter(next(iter(splits)) for splits in grown.values())
    goal = math.ceil(len(grown) * QUOTA[2] / sum(QUOTA))
    assert counts["confirm"] <= max(len(old), goal)


@given(topics=some_topics, order=st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(topics: set[str], order) -> None:
    stories = tell(topics)
    shuffled = order.sample(stories, len(stories))
    assert set(assign_splits(stories, "salt")) == set(assign_splits(shuffled, "salt"))


def test_twenty_four_topics_are_cut_twelve_four_eight_and_the_salt_matters() -> None:
    stories = tell({f"topic {number}" for number in range(24)})
    counts = Counter(story.split for story in assign_splits(stories, "a"))
    assert [counts[name] // 2 for name in SPLITS] == [12, 4, 8]
    assert assign_splits(stories, "a") != assign_splits(stories, "b")


def test_stories_without_a_topic_are_cut_within_their_emotion() -> None:
    stories = [Story(f"{e}{n}", e, None, "text") for e in ("calm", "sad", NEUTRAL) for n in range(24)]
    counts = Counter((story.emotion, story.split) for story in assign_splits(stories, "salt"))
    assert {counts[e, name] for e in ("calm", "sad", NEUTRAL) for name in ("discover",)} == {12}
    assert {counts[e, "confirm"] for e in ("calm", "sad", NEUTRAL)} == {8}


def test_neutral_topics_do_not_use_up_the_quota_of_the_others() -> None:
    neutral = [Story(f"n{n}", NEUTRAL, f"dialogue {n}", "text") for n in range(50)]
    stories = assign_splits([*tell({f"topic {n}" for n in range(24)}), *neutral], "salt")
    counts = Counter(story.split for story in stories if story.emotion == "calm")
    assert [counts[name] for name in SPLITS] == [12, 4, 8]


def test_a_topic_stored_in_two_splits_is_refused_by_name() -> None:
    first, second = tell({"rain"})
    with pytest.raises(UserError, match="topic 'rain' is stored in two splits, tune and confirm"):
        assign_splits([replace(first, split="tune"), replace(second, split="confirm")], "salt")


def test_an_impossible_quota_is_refused() -> None:
    with pytest.raises(UserError, match="quota"):
        assign_splits(tell({"rain"}), "salt", (0, 0, 0))
