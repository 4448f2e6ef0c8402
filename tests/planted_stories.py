"""A corpus whose features are planted: one per emotion, one that two emotions share, and many that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import csr_array

from emosae.features import StoryFeatures
from emosae.stories import NEUTRAL, Story, assign_splits

EMOTIONS = ("afraid", "calm", "grieving", "joyful", "proud", "sad")
SHARED = ("grieving", "sad")
SHARED_FEATURE = len(EMOTIONS)
LENGTH_FEATURE = SHARED_FEATURE + 1
FIRST_NOISE = LENGTH_FEATURE + 1


def plant_stories(
    *,
    n_topics: int = 24,
    copies: int = 2,
    n_neutral: int = 24,
    emotions: Sequence[str] = EMOTIONS,
    has_topics: bool = True,
) -> list[Story]:
    """Every emotion on every topic, then neutral text without a topic; the word that names an emotion is never used."""
    felt = [
        Story(
            f"{emotion}/{topic}/{copy}", emotion, f"topic {topic}" if has_topics else None, _write(emotion, topic, copy)
        )
        for emotion in emotions
        for topic in range(n_topics)
        for copy in range(copies)
    ]
    neutral = [Story(f"neutral/{n}", NEUTRAL, None, f"the bus number {n} stops here") for n in range(n_neutral)]
    return assign_splits([*felt, *neutral], "planted")


def plant_features(
    stories: Sequence[Story],
    rng: np.random.Generator,
    *,
    sae: str = "planted",
    hook_name: str = "blocks.0.hook_resid_post",
    strength: float = 2.0,
    n_noise: int = 40,
    resid_noise: float = 1.0,
) -> StoryFeatures:
    """Feature e fires for emotion e; the next one for both of SHARED, the next grows with length, the rest is noise."""
    n = len(stories)
    emotion = np.array([story.emotion for story in stories])
    n_tokens = rng.integers(40, 120, n)
    acts = rng.exponential(1.0, (n, FIRST_NOISE + n_noise)) * (rng.random((n, FIRST_NOISE + n_noise)) < 0.35)
    for place, name in enumerate(EMOTIONS):
        acts[:, place] += strength * (emotion == name) * rng.exponential(1.0, n)
    acts[:, SHARED_FEATURE] += strength * np.isin(emotion, SHARED) * (0.5 + rng.exponential(1.0, n))
    acts[:, LENGTH_FEATURE] = n_tokens / 20 + rng.normal(0, 0.3, n)
    resid = np.stack([emotion == name for name in EMOTIONS], axis=1) * 2.0
    resid = np.pad(resid, ((0, 0), (0, 6))) + rng.normal(0, resid_noise, (n, len(EMOTIONS) + 6))
    return wrap_acts(acts, stories, sae=sae, hook_name=hook_name, n_tokens=n_tokens, resid=resid)


def wrap_acts(
    acts: np.ndarray,
    stories: Sequence[Story],
    *,
    sae: str = "planted",
    hook_name: str = "blocks.0.hook_resid_post",
    n_tokens: np.ndarray | None = None,
    resid: np.ndarray | None = None,
) -> StoryFeatures:
    """A table of activations as the record that pooling returns."""
    table = csr_array(acts, dtype=np.float32)
    return StoryFeatures(
        sae=sae,
        hook_name=hook_name,
        story_ids=tuple(story.id for story in stories),
        n_tokens=np.full(len(stories), 50) if n_tokens is None else n_tokens,
        mean=table,
        max=table * 3,
        fraction=table.sign() * 0.5,
        top=pa.table({"feature_idx": [0], "rank": [1], "story_id": [stories[0].id], "token_pos": [0], "value": [1.0]}),
        resid_mean=torch.zeros(len(stories), 4) if resid is None else torch.from_numpy(resid).float(),
    )


def _write(emotion: str, topic: int, copy: int) -> str:
    sign = {"afraid": "trembles", "calm": "breathes", "grieving": "weeps", "joyful": "laughs", "proud": "beams"}
    return f"At place {topic} one of {copy + 2} people {sign.get(emotion, 'sighs')} and goes home."
