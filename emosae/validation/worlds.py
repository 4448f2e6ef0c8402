"""Dictionaries whose emotion features are planted: what is true of each feature is known to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri

from emosae.features import StoryFeatures
from emosae.stories import Story, assign_splits

EMOTIONS = ("afraid", "calm", "grieving", "joyful", "proud", "sad")
SHARED = (EMOTIONS.index("grieving"), EMOTIONS.index("sad"))
"""The two emotions for which one feature rises alike: a discovery for either is right."""

_PLANTED_RATE = 0.2
_VARIED_RATES = (0.2, 0.5, 0.1, 0.35, 0.14, 0.25)
_VARIED_LIFTS = (0.3, 0.6, 0.9, 1.2, 1.5, 1.8)
_NOISE_RATES = (0.08, 0.6)
_GROUP = 10
_SILENT = -1e3


@dataclass(frozen=True, slots=True)
class World:
    """A kind of dictionary and corpus; activations are rectified normal numbers whose story-level deviation is 1.

    Attributes:
        effect: Lift of a planted feature in stories of its emotion, in deviations; 0 plants nothing.
        copies: Stories per emotion and topic.
        lean: Share of stories in [0, 1) whose emotion is their topic's favourite instead: 0 is balanced.
        absorbed: Share of an emotion's stories that a second feature takes over; there the first is silent.
        split: Features that share an emotion's stories, one of them lifted in each story.
        n_noise: Features that know no emotion; they fire in 8% to 60% of stories.
        n_topics: Half of them discover, a sixth tune, a third confirm.
        correlation: Of the noise of features that are in one group of ten, planted ones among them; in [0, 1).
        topic_sd: How far a feature's mean moves from topic to topic, whatever the emotion.
        cell_sd: How far it moves from one topic and emotion to another, the same for all stories of the cell.
        varied: Whether lifts run from 0.3 to 1.8 times `effect` over the emotions and the planted features fire in 10%
            to 50% of stories where nothing lifts them, instead of 20%.
    """

    effect: float = 0.0
    copies: int = 1
    lean: float = 0.0
    absorbed: float = 0.0
    split: int = 1
    n_noise: int = 100
    n_topics: int = 24
    correlation: float = 0.5
    topic_sd: float = 0.7
    cell_sd: float = 0.3
    varied: bool = False

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of an emotion's stories that each of its features carries."""
        return (1 - self.absorbed, self.absorbed) if self.absorbed else (1 / self.split,) * self.split

    @property
    def n_features(self) -> int:
        """Carriers of each emotion, then the shared feature, then noise."""
        return len(self.shares) * len(EMOTIONS) + 1 + self.n_noise

    @property
    def lifts(self) -> Float[np.ndarray, " feature"]:
        """How far each feature rises in the stories that lift it, in deviations."""
        own = self.effect * np.array(_VARIED_LIFTS if self.varied else (1.0,) * len(EMOTIONS))
        return np.concatenate([np.repeat(own, len(self.shares)), [self.effect], np.zeros(self.n_noise)])

    @property
    def rates(self) -> Float[np.ndarray, " feature"]:
        """Share of stories in which each feature fires where nothing lifts it."""
        own = np.array(_VARIED_RATES if self.varied else (_PLANTED_RATE,) * len(EMOTIONS))
        noise = np.geomspace(*_NOISE_RATES, self.n_noise)
        return np.concatenate([np.repeat(own, len(self.shares)), [_PLANTED_RATE], noise])

    @property
    def sd(self) -> float:
        """Deviation of a feature's activation before it is rectified, over stories of all topics."""
        return float(np.sqrt(1 + self.topic_sd**2 + self.cell_sd**2))


@dataclass(frozen=True, eq=False, slots=True)
class Population:
    """What is true of a world's features in infinitely many stories on infinitely many topics.

    Attributes:
        threshold: Where each feature begins to fire.
        pair: AUROC of each emotion (first) against each other one; ties one half, 0.5 on the diagonal if alike.
        auroc: AUROC of each emotion against the rest; above 0.5 is a true discovery, all else a false one.
    """

    threshold: Float[np.ndarray, " feature"]
    pair: Float[np.ndarray, "feature emotion emotion"]
    auroc: Float[np.ndarray, "feature emotion"]

    @property
    def is_true(self) -> Bool[np.ndarray, "feature emotion"]:
        """Which features rise with which emotions."""
        return self.auroc > 0.5 + 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Planted:
    """One draw from a world."""

    stories: tuple[Story, ...]
    features: StoryFeatures


@lru_cache(maxsize=64)
def describe(world: World) -> Population:
    """Compute the truth of a world by quadrature: two stories of different topics, one of each emotion."""
    threshold = world.sd * ndtri(1 - world.rates)
    weights = _mix(world)
    features = list(zip(threshold.tolist(), world.lifts.tolist(), strict=True))
    of_kind = {one: _compare_kinds(world, *one) for one in set(features)}
    kinds = np.stack([of_kind[one] for one in features])
    pair = np.einsum("fei,fij,foj->feo", weights, kinds, weights)
    own = np.einsum("fee->fe", pair)
    return Population(threshold, pair, (pair.sum(axis=2) - own) / (len(EMOTIONS) - 1))


def plant(world: World, rng: np.random.Generator) -> Planted:
    """Draw a corpus and its dictionary."""
    topic, emotion = _draw_labels(world, rng)
    stories = _write_stories(world, topic, emotion)
    n, d_sae = len(topic), world.n_features
    group = np.arange(d_sae) % -(-d_sae // _GROUP)
    own = rng.standard_normal((n, d_sae)) * np.sqrt(1 - world.correlation)
    common = rng.standard_normal((n, group.max() + 1)) * np.sqrt(world.correlation)
    by_topic = rng.standard_normal((world.n_topics, d_sae)) * world.topic_sd
    by_cell = rng.standard_normal((world.n_topics * len(EMOTIONS), d_sae)) * world.cell_sd
    lifted, silent = _draw_carriers(world, emotion, rng)
    latent = own + common[:, group] + by_topic[topic] + by_cell[topic * len(EMOTIONS) + emotion]
    acts = np.maximum(0.0, latent + world.lifts * lifted - describe(world).threshold)
    acts[silent] = 0.0
    return Planted(stories, _as_features(acts, stories, rng))


def _mix(world: World) -> Float[np.ndarray, "feature emotion kind"]:
    """Share of each emotion's stories in which a feature is as always, lifted, or silenced."""
    weights = np.zeros((world.n_features, len(EMOTIONS), 3))
    for emotion in range(len(EMOTIONS)):
        for place, share in enumerate(world.shares):
            weights[emotion * len(world.shares) + place, emotion, 1] = share
        if world.absorbed:
            weights[emotion * len(world.shares), emotion, 2] = world.absorbed
    weights[len(world.shares) * len(EMOTIONS), SHARED, 1] = 1.0
    weights[..., 0] = 1 - weights.sum(axis=2)
    return weights


def _compare_kinds(world: World, threshold: float, lift: float) -> Float[np.ndarray, "kind kind"]:
    """Probability that a story of one kind outranks one of another, ties one half."""
    means = np.array([0.0, lift, _SILENT])[:, None]
    x = np.linspace(threshold, max(threshold, lift) + 9 * world.sd, 4001)
    density = np.exp(-(((x - means) / world.sd) ** 2) / 2) / (world.sd * np.sqrt(2 * np.pi))
    below = ndtr((x - means) / world.sd)
    wins = np.trapezoid(density[:, None] * below[None], x, axis=2)
    return wins + np.outer(below[:, 0], below[:, 0]) / 2


def _draw_labels(world: World, rng: np.random.Generator) -> tuple[Int[np.ndarray, " story"], Int[np.ndarray, " story"]]:
    """Topic and emotion of each story."""
    n_cells = world.n_topics * len(EMOTIONS)
    topic, emotion = np.divmod(np.repeat(np.arange(n_cells), world.copies), len(EMOTIONS))
    favourite = rng.permutation(np.arange(world.n_topics) % len(EMOTIONS))
    leans = rng.random(len(topic)) < world.lean
    return topic, np.where(leans, favourite[topic], emotion)


def _write_stories(
    world: World, topic: Int[np.ndarray, " story"], emotion: Int[np.ndarray, " story"]
) -> tuple[Story, ...]:
    splits = _cut_topics(world.n_topics)
    return tuple(
        Story(f"{n}", EMOTIONS[e], f"topic {t}", "planted", split=splits[t])
        for n, (t, e) in enumerate(zip(topic.tolist(), emotion.tolist(), strict=True))
    )


@lru_cache(maxsize=8)
def _cut_topics(n_topics: int) -> tuple[str | None, ...]:
    loose = [Story(f"{topic}", EMOTIONS[0], f"topic {topic}", "planted") for topic in range(n_topics)]
    return tuple(story.split for story in assign_splits(loose, "validation"))


def _draw_carriers(
    world: World, emotion: Int[np.ndarray, " story"], rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "story feature"], Bool[np.ndarray, "story feature"]]:
    """Which features each story lifts, and which it silences."""
    lifted = np.zeros((len(emotion), world.n_features), dtype=bool)
    silent = np.zeros_like(lifted)
    rows, first = np.arange(len(emotion)), emotion * len(world.shares)
    carrier = rng.choice(len(world.shares), len(emotion), p=world.shares)
    lifted[rows, first + carrier] = True
    if world.absorbed:
        silent[rows, first] = carrier == 1
    lifted[:, len(world.shares) * len(EMOTIONS)] = np.isin(emotion, SHARED)
    return lifted, silent


def _as_features(
    acts: Float[np.ndarray, "story feature"], stories: tuple[Story, ...], rng: np.random.Generator
) -> StoryFeatures:
    table = csr_array(acts, dtype=np.float32)
    names = ("feature_idx", "rank", "story_id", "token_pos", "value")
    return StoryFeatures(
        sae="planted",
        hook_name="planted",
        story_ids=tuple(story.id for story in stories),
        n_tokens=rng.integers(40, 120, len(stories)),
        mean=table,
        max=table,
        fraction=table.astype(bool).astype(np.float32),
        top=pa.table({name: pa.array([], pa.int64()) for name in names}),
        resid_mean=torch.zeros(len(stories), 1),
    )
