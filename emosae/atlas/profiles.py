"""What tells an emotion from the others, as a vector that can be had without any topic or with topics drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from emosae.features import StoryFeatures
from emosae.selectivity import Selectivity
from emosae.selectivity.directions import leading_components
from emosae.stories import NEUTRAL

Square = Float[np.ndarray, "emotion emotion"]
Weights = Float[np.ndarray, " topic"]

NEUTRAL_VARIANCE = 0.5
"""Share of the variance of neutral text that is projected out of emotion vectors."""
MOST_LONE = 100
"""Topics that stories without one are dealt into, at most: sums are held for every topic and emotion."""


@dataclass(frozen=True, eq=False, slots=True)
class Profiles:
    """Sums of some coordinates of the stories of every emotion, topic by topic.

    A story without a topic is a topic of its own; more than MOST_LONE of them are dealt into as many topics.

    Attributes:
        emotions: Names, sorted.
        total: The sums.
        count: How many stories they are of.
        around_stories: Whether profiles are deviations from the mean story; else from the mean of the emotions.
    """

    emotions: tuple[str, ...]
    total: Float[np.ndarray, "topic emotion axis"]
    count: Float[np.ndarray, "topic emotion"]
    around_stories: bool

    @property
    def n_topics(self) -> int:
        """How many topics there are."""
        return len(self.count)

    def centre(self, weight: Weights | None = None) -> Float[np.ndarray, "emotion axis"]:
        """Mean of every emotion's stories less the common mean; 0 for an emotion that has none left.

        Args:
            weight: How often each topic counts; once if none.
        """
        weight = np.ones(self.n_topics) if weight is None else weight
        total, count = np.tensordot(weight, self.total, 1), weight @ self.count
        mean = total / np.maximum(count, 1e-12)[:, None]
        present = count > 0
        if not present.any():
            return mean
        common = total.sum(axis=0) / count.sum() if self.around_stories else mean[present].mean(axis=0)
        return np.where(present[:, None], mean - common, 0.0)

    def compare(self, weight: Weights | None = None) -> Square:
        """Cosine of every two emotions' profiles, in [-1, 1]; 0 where one of them has no length."""
        profile = self.centre(weight)
        length = np.linalg.norm(profile, axis=1)
        scale = np.outer(length, length)
        product = profile @ profile.T
        cosine = np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-18)
        return np.clip((cosine + cosine.T) / 2, -1, 1)


def profile_by_features(selectivity: Selectivity, features: Sequence[StoryFeatures], alpha: float) -> Profiles:
    """By the features that were discovered for some emotion, on confirm topics, where none of them was chosen.

    A coordinate is the mid-rank of a story's mean activation among the confirm stories. An emotion's mean rank around
    the mean story is its AUROC around chance, up to a factor of its own, so the cosines are those of AUROC profiles.
    """
    from scipy.stats import rankdata

    chosen = _read_stories(selectivity.stories, ("confirm",))
    ranks = [np.zeros((len(chosen.rows), 0))]
    for table in features:
        acts = table.mean[chosen.rows][:, _list_discovered(selectivity.candidates, table.sae, alpha)].toarray()
        ranks.append(rankdata(acts, axis=0).reshape(acts.shape))
    return chosen.sum_up(np.concatenate(ranks, axis=1), around_stories=True)


def profile_by_vectors(stories: pa.Table, resid_mean: Float[np.ndarray, "story d_in"]) -> Profiles:
    """By difference-of-means vectors of discover and tune, with half of the variance of neutral text projected out.

    Every story's residual is taken at length 1, so that no story counts for more by its length.
    """
    normal = resid_mean / np.maximum(np.linalg.norm(resid_mean, axis=1, keepdims=True), 1e-12)
    chosen = _read_stories(stories, ("discover", "tune"))
    basis = leading_components(normal[chosen.neutral], NEUTRAL_VARIANCE)
    kept = normal[chosen.rows]
    return chosen.sum_up(kept - kept @ basis.T @ basis, around_stories=False)


@dataclass(frozen=True, eq=False, slots=True)
class _Chosen:
    """Stories of some splits: their rows, their emotion and topic, and the rows of neutral text."""

    emotions: tuple[str, ...]
    rows: Int[np.ndarray, " story"]
    is_of: Bool[np.ndarray, "story emotion"]
    topic: Int[np.ndarray, " story"]
    neutral: Int[np.ndarray, " neutral"]

    def sum_up(self, coordinates: Float[np.ndarray, "story axis"], *, around_stories: bool) -> Profiles:
        n_topics = int(self.topic.max(initial=-1)) + 1
        total = np.zeros((n_topics, len(self.emotions), coordinates.shape[1]))
        count = np.zeros((n_topics, len(self.emotions)))
        for place in range(len(self.emotions)):
            own = self.is_of[:, place]
            np.add.at(total[:, place], self.topic[own], coordinates[own])
            np.add.at(count[:, place], self.topic[own], 1.0)
        return Profiles(self.emotions, total, count, around_stories)


def _read_stories(stories: pa.Table, splits: Sequence[str]) -> _Chosen:
    emotion, split = (np.array(stories[name].to_pylist()) for name in ("emotion", "split"))
    is_in = np.isin(split, splits)
    rows = np.flatnonzero(is_in & (emotion != NEUTRAL))
    emotions = tuple(sorted(set(emotion.tolist()) - {NEUTRAL}))
    topics = stories["topic"].to_pylist()
    names = _name_topics([topics[row] for row in rows], emotion[rows].tolist())
    return _Chosen(
        emotions=emotions,
        rows=rows,
        is_of=emotion[rows][:, None] == np.array(emotions)[None],
        topic=np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int64),
        neutral=np.flatnonzero(is_in & (emotion == NEUTRAL)),
    )


def _name_topics(topics: Sequence[str | None], emotions: Sequence[str]) -> list[str]:
    """A name for each story's topic; stories without one are dealt out emotion by emotion."""
    lone = sorted((place for place, topic in enumerate(topics) if topic is None), key=lambda place: emotions[place])
    part = {place: number % MOST_LONE for number, place in enumerate(lone)}
    return [f"story {part[place]}" if topic is None else f"topic {topic}" for place, topic in enumerate(topics)]


def _list_discovered(candidates: pa.Table, sae: str, alpha: float) -> list[int]:
    """The features of an SAE that were discovered for an emotion, once each."""
    columns = (candidates[name].to_pylist() for name in ("sae", "feature_idx", "q_bh", "auroc"))
    return sorted(
        {idx for own, idx, q, auroc in zip(*columns, strict=True) if own == sae and q < alpha and auroc > 0.5}
    )
