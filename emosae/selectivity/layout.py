"""Which story is what: emotions, topics and splits as arrays, and what they do not allow to be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from emosae.errors import UserError
from emosae.selectivity.exchange import Units, form_units
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS
from emosae.selectivity.ranks import StoryLabels, count_labels
from emosae.stories import SPLITS, Story

MIN_TOPICS = 12
"""Topics below which no verdict goes beyond `detected`."""

CAP = "detected"


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """The stories with an emotion of some splits.

    Attributes:
        rows: Their rows in the tables of activations.
        label: Emotion of each.
        block: Topic of each, counted from 0; stories without a topic are one block.
        cell: The same number for stories that share emotion and topic; a story without a topic has its own.
        n_emotions: Emotions of the whole corpus; some may be absent here.
    """

    rows: Int[np.ndarray, " story"]
    label: StoryLabels
    block: StoryLabels
    cell: StoryLabels
    n_emotions: int

    @property
    def stories_per_emotion(self) -> Int[np.ndarray, " emotion"]:
        """How many stories each emotion has here."""
        return np.bincount(self.label, minlength=self.n_emotions)

    @property
    def topics_per_emotion(self) -> Int[np.ndarray, " emotion"]:
        """How many topics hold each emotion here."""
        return (count_labels(self.label, self.block, self.n_emotions) > 0).sum(axis=0)

    def units(self) -> Units:
        """What the tests within topics count as one observation."""
        return form_units(self.label, self.block, self.cell, self.n_emotions)


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """The corpus as the protocol sees it; emotions are sorted by name, and -1 labels neutral text."""

    stories: tuple[Story, ...]
    emotions: tuple[str, ...]
    label: StoryLabels

    def part(self, *splits: str) -> Part:
        """The stories with an emotion of these splits."""
        chosen = [i for i, story in enumerate(self.stories) if story.split in splits and not story.is_neutral]
        topics = [self.stories[row].topic or "" for row in chosen]
        block = np.unique(np.array(topics, dtype=str), return_inverse=True)[1].astype(np.int64)
        rows = np.array(chosen, dtype=np.int64)
        label = self.label[rows]
        cell = np.where(
            np.array(topics, dtype=str) == "", -1 - np.arange(len(rows)), block * len(self.emotions) + label
        )
        return Part(rows, label, block, cell, len(self.emotions))

    def neutral_rows(self, *splits: str) -> Int[np.ndarray, " story"]:
        """Rows of the neutral text of these splits."""
        rows = [i for i, story in enumerate(self.stories) if story.split in splits and story.is_neutral]
        return np.array(rows, dtype=np.int64)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the corpus does not allow, for every emotion at once."""
        felt = [story for story in self.stories if not story.is_neutral]
        n_topics = len({story.topic for story in felt if story.topic is not None})
        n_loose = sum(story.topic is None for story in felt)
        notes = []
        if n_loose:
            notes.append(f"{n_loose} stories have no topic: labels are exchanged among all of them")
        if n_topics < MIN_TOPICS:
            notes.append(f"{n_topics} topics, fewer than {MIN_TOPICS}")
        n_left_out = self.part("discover").units().n_left_out
        if n_left_out:
            notes.append(
                f"{n_left_out} discover stories are in no test: a topic's emotions are compared at equal number"
            )
        return tuple(notes)

    def emotion_notes(self) -> list[tuple[str, ...]]:
        """What the corpus does not allow for each emotion, the notes for all of them included."""
        units = self.part("discover").units()
        counts = count_labels(units.label, units.block, len(self.emotions))
        told = ((counts > 0) & (counts < counts.sum(axis=1, keepdims=True))).any(axis=0)
        testable = told & (units.per_emotion >= 2)
        confirm_topics = self.part("confirm").topics_per_emotion
        return [self._note(int(n), bool(can)) for n, can in zip(confirm_topics, testable, strict=True)]

    def _note(self, confirm_topics: int, is_testable: bool) -> tuple[str, ...]:
        notes = list(self.notes)
        if confirm_topics < MIN_INTERVAL_TOPICS:
            notes.append(f"{confirm_topics} confirm topics, fewer than {MIN_INTERVAL_TOPICS}: no interval")
        if notes:
            notes.append(f"verdict capped at {CAP}")
        if not is_testable:
            notes.append("not tested: on fewer than 2 discover topics, or never in a topic with another emotion")
        return tuple(notes)


def lay_out(stories: Sequence[Story]) -> Layout:
    """Read labels, topics and splits off the stories.

    Raises:
        UserError: Stories without a split, or fewer than two emotions; the message names them.
    """
    loose = [story.id for story in stories if story.split not in SPLITS]
    if loose:
        raise UserError(f"stories without a split: {', '.join(loose[:5])}: run assign_splits first")
    emotions = sorted({story.emotion for story in stories if not story.is_neutral})
    if len(emotions) < 2:
        found = ", ".join(emotions) or "none"
        raise UserError(f"emotions found: {found}: two are needed to tell them apart")
    place = {emotion: number for number, emotion in enumerate(emotions)}
    label = np.array([place.get(story.emotion, -1) for story in stories], dtype=np.int64)
    return Layout(tuple(stories), tuple(emotions), label)
