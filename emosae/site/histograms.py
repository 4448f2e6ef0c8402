"""How strongly each feature fires in the stories of each emotion, as counts that a page can draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from emosae.features import StoryFeatures

BINS = 12
"""Bins of equal width between 0 and the feature's strongest story, beside the one of silent stories."""


@dataclass(frozen=True, eq=False, slots=True)
class Histograms:
    """Counts of stories by their strongest activation, for some features of one SAE.

    Attributes:
        sae: Name of the dictionary.
        feature_idx: The features, in the order of the rows.
        emotions: Emotions of the stories, neutral text among them.
        n_stories: Stories of each emotion.
        counts: Stories in each bin: the first holds those where the feature is silent, bin `b` of the others those
            whose strongest activation lies above (b - 1) / BINS and up to b / BINS of `top`.
        top: Strongest activation of each feature in any story; 0 if it never fires.
    """

    sae: str
    feature_idx: tuple[int, ...]
    emotions: tuple[str, ...]
    n_stories: tuple[int, ...]
    counts: Int[np.ndarray, "feature emotion bin"]
    top: Float[np.ndarray, " feature"]


def count_peaks(table: StoryFeatures, feature_idx: Sequence[int], emotion_of: Mapping[str, str]) -> Histograms:
    """Count the stories of each emotion by the strongest activation of each feature in them.

    Args:
        table: One SAE's activations; all its stories are counted, whatever their split.
        feature_idx: The features that are wanted.
        emotion_of: Emotion of every story, by id.
    """
    emotions, emotion = np.unique([emotion_of[story_id] for story_id in table.story_ids], return_inverse=True)
    n_stories = np.bincount(emotion, minlength=len(emotions))
    columns = table.max.tocsc()
    counts = np.zeros((len(feature_idx), len(emotions), BINS + 1), dtype=np.int64)
    top = np.zeros(len(feature_idx))
    for place, feature in enumerate(feature_idx):
        start, stop = columns.indptr[feature : feature + 2]
        values, rows = columns.data[start:stop], columns.indices[start:stop]
        rows, values = rows[values > 0], values[values > 0]
        if len(values):
            top[place] = values.max()
            bins = np.clip(np.ceil(values / values.max() * BINS), 1, BINS).astype(np.int64)
            np.add.at(counts[place], (emotion[rows], bins), 1)
    counts[:, :, 0] = n_stories - counts[:, :, 1:].sum(axis=2)
    return Histograms(
        sae=table.sae,
        feature_idx=tuple(feature_idx),
        emotions=tuple(str(name) for name in emotions),
        n_stories=tuple(n_stories.tolist()),
        counts=counts,
        top=top,
    )
