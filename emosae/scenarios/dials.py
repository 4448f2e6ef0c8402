"""Dials: which feature may be turned for an emotion. Everything here is judged on discover + tune stories only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosae.axes import Direction
from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.sae import Dictionary
from emosae.selectivity import auroc_all, emotion_vectors
from emosae.stories import NEUTRAL, Story

MIN_AUROC = 0.8
MAX_OTHER = 0.75
MAX_NEUTRAL = 0.5
MIN_COSINE = 0.1


@dataclass(frozen=True, eq=False)
class Dial:
    """One feature that stands for an emotion, or several of one SAE, and what it was chosen by.

    Attributes:
        emotion: What the dial is called.
        sae: Name of the dictionary.
        hook_name: Where it reads and writes.
        feature_idx: The features; auroc, cosine and score are those of the first.
        max_act: The strongest activation of each on any discover or tune story; doses are multiples of it.
        auroc: One-vs-rest on discover + tune, 0.5 is chance.
        cosine: Of its direction with the emotion's difference-of-means vector, in [-1, 1].
        score: (mean on its own stories - largest mean on another emotion's) x (direction . unit vector), in units of
            the mean residual norm; what candidates are ordered by.
        text_gain: How much likelier turning it up makes its emotion's stories than others', in nats per token, see
            `measure_text_gains`; NaN where it was not measured.
    """

    emotion: str
    sae: str
    hook_name: str
    feature_idx: tuple[int, ...]
    max_act: tuple[float, ...]
    auroc: float
    cosine: float
    score: float
    text_gain: float = math.nan

    def joined(self, other: Dial) -> Dial:
        """Both dials' features as one, this one's first; they must be of the same SAE."""
        features, peaks = self.feature_idx + other.feature_idx, self.max_act + other.max_act
        return replace(self, feature_idx=features, max_act=peaks, text_gain=math.nan)


def with_pairs(dials: Sequence[Dial]) -> list[Dial]:
    """The dials, and every two of one SAE as one: an SAE may hold one state in two features."""
    pairs = [a.joined(b) for a, b in itertools.combinations(dials, 2) if a.sae == b.sae]
    return [*dials, *pairs]


@dataclass(frozen=True, eq=False)
class _Profile:
    """Means per emotion of every feature of one SAE on discover + tune stories."""

    own: Float[np.ndarray, " d_sae"]
    other: Float[np.ndarray, " d_sae"]
    neutral: Float[np.ndarray, " d_sae"]
    auroc: Float[np.ndarray, " d_sae"]
    max_act: Float[np.ndarray, " d_sae"]


def _choosing_rows(stories: Sequence[Story]) -> tuple[Int[np.ndarray, " row"], np.ndarray]:
    """Rows of the stories that choices may look at, and the emotion of each."""
    rows = np.array([i for i, story in enumerate(stories) if story.split in ("discover", "tune")])
    return rows, np.array([stories[row].emotion for row in rows])


def _emotion_means(table: StoryFeatures, stories: Sequence[Story]) -> dict[str, Float[np.ndarray, " d_sae"]]:
    rows, names = _choosing_rows(stories)
    mean = table.mean[rows]
    return {name: np.asarray(mean[names == name].mean(axis=0)).ravel() for name in set(names.tolist())}


def _profile(table: StoryFeatures, stories: Sequence[Story], emotion: str) -> _Profile:
    rows, names = _choosing_rows(stories)
    mean = table.mean[rows]
    felt = names != NEUTRAL
    by_emotion = _emotion_means(table, stories)
    others = [value for name, value in by_emotion.items() if name not in (emotion, NEUTRAL)]
    silent = np.zeros(mean.shape[1])
    labels = (names[felt] == emotion).astype(np.int64)
    return _Profile(
        own=by_emotion[emotion],
        other=np.max(others, axis=0),
        neutral=by_emotion.get(NEUTRAL, silent),
        auroc=auroc_all(mean[felt], labels, 2)[:, 1],
        max_act=np.asarray(table.max[rows].max(axis=0).todense()).ravel(),
    )


def find_silent(
    table: StoryFeatures, stories: Sequence[Story], format_mean: Float[np.ndarray, " d_sae"]
) -> Bool[np.ndarray, " d_sae"]:
    """Features that neutral and format text leave as silent as a dial must be, by the emotion that each likes best.

    A control that writes the format's own words breaks the text and proves nothing, so controls pass the same filter.
    """
    means = _emotion_means(table, stories)
    neutral = means.pop(NEUTRAL, np.zeros_like(format_mean))
    return np.maximum(neutral, format_mean) < MAX_NEUTRAL * np.max(list(means.values()), axis=0)


def find_candidates(
    emotions: Sequence[str],
    features: Sequence[StoryFeatures],
    dictionaries: Mapping[str, Dictionary],
    stories: Sequence[Story],
    format_means: Mapping[str, Float[np.ndarray, " d_sae"]],
    *,
    per_sae: int = 3,
) -> dict[str, list[Dial]]:
    """The best features of every SAE for each emotion, best first; an emotion without a fit one is left out.

    Fit is a feature with AUROC over 0.8, at most 0.75 of its mean on any other emotion and 0.5 on neutral and on
    format text, and a cosine over 0.1 with the emotion's difference-of-means vector. Selectivity alone picks features
    that say "such a word comes next"; the agreement with the vector mends that.

    Args:
        emotions: Names of the dials.
        features: Pooled activations per SAE.
        dictionaries: The SAEs by name.
        stories: With their splits, in the order of the rows of ``features``.
        format_means: Per SAE, each feature's mean activation on format text (task statements, chat markers' text).
        per_sae: At most so many of one SAE.
    """
    known = {story.emotion for story in stories}
    if strangers := [emotion for emotion in emotions if emotion not in known]:
        raise UserError(f"no stories of {', '.join(strangers)}: name emotions that the story file has")
    found: dict[str, list[Dial]] = {}
    for table in features:
        vectors = emotion_vectors(table.resid_mean, stories)
        norm = float(table.resid_mean.norm(dim=1).mean())
        for emotion in emotions:
            fit = _fit_features(
                emotion, table, stories, dictionaries[table.sae], vectors[emotion], format_means[table.sae], norm
            )
            if fit:
                found.setdefault(emotion, []).extend(fit[:per_sae])
    return {emotion: sorted(dials, key=lambda dial: -dial.score) for emotion, dials in found.items()}


def _fit_features(
    emotion: str,
    table: StoryFeatures,
    stories: Sequence[Story],
    dictionary: Dictionary,
    vector: Direction,
    format_mean: Float[np.ndarray, " d_sae"],
    resid_norm: float,
) -> list[Dial]:
    profile = _profile(table, stories, emotion)
    selective = (profile.auroc > MIN_AUROC) & (profile.other < MAX_OTHER * profile.own)
    silent = np.maximum(profile.neutral, format_mean) < MAX_NEUTRAL * profile.own
    fit = np.flatnonzero(selective & silent & (profile.max_act > 0))
    unit: Tensor = vector / vector.norm()
    dials = []
    for feature_idx in fit.tolist():
        direction = dictionary.direction(feature_idx)
        along = float(torch.dot(direction.cpu().float(), unit))
        cosine = along / float(direction.norm())
        if cosine > MIN_COSINE:
            dials.append(
                Dial(
                    emotion=emotion,
                    sae=table.sae,
                    hook_name=table.hook_name,
                    feature_idx=(feature_idx,),
                    max_act=(float(profile.max_act[feature_idx]),),
                    auroc=float(profile.auroc[feature_idx]),
                    cosine=cosine,
                    score=float(profile.own[feature_idx] - profile.other[feature_idx]) * along / resid_norm,
                )
            )
    return sorted(dials, key=lambda dial: -dial.score)
