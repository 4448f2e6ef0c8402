"""Everything that discover stories say of every feature and emotion; nothing here sees another split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from emosae.features import StoryFeatures
from emosae.selectivity.exchange import Units
from emosae.selectivity.layout import Part
from emosae.selectivity.multiplicity import bh, label_blind_filter
from emosae.selectivity.permutation import Draws, Tested, check_tail, max_t, permute_ranks, share_below, shuffle_within
from emosae.selectivity.ranks import (
    Acts,
    BlockRanks,
    FeatureByEmotion,
    VanElteren,
    auroc_all,
    one_hot,
    standardise_ranks,
)

TAIL_LEVELS = (1e-4, 1e-3, 0.01, *(round(0.05 * step, 2) for step in range(1, 21)))
"""Nominal levels at which the analytic tail is checked by exchanging labels; the upper ones cut a histogram in 20."""

_TAIL_DRAWS = 4


@dataclass(frozen=True, eq=False, slots=True)
class Screen:
    """One SAE's features on discover, feature x emotion throughout; NaN where a test was not made.

    Attributes:
        tested: Passed the label-blind filter.
        auroc: One against the rest; ties one half, 0.5 is chance.
        z: Van Elteren's within-topic deviate.
        p: Its analytic upper tail.
        p_perm: Its tail by exchanging labels within topics.
        q: Benjamini-Hochberg over all SAEs, features and emotions tested.
        p_maxt: Against the largest z of all SAEs and features, times the emotions tested.
        cohens_d: Standardised difference of mean activation, emotion less rest.
        fire_rate_pos: Share of the emotion's stories in which the feature fires.
        fire_rate_neg: The same for the other emotions' stories.
        tail: Share of null tests with a p of at most each of TAIL_LEVELS.
        reached: The same share of the tests that were made.
    """

    tested: Tested
    auroc: FeatureByEmotion
    z: FeatureByEmotion
    p: FeatureByEmotion
    p_perm: FeatureByEmotion
    q: FeatureByEmotion
    p_maxt: FeatureByEmotion
    cohens_d: FeatureByEmotion
    fire_rate_pos: FeatureByEmotion
    fire_rate_neg: FeatureByEmotion
    tail: Float[np.ndarray, " level"]
    reached: Float[np.ndarray, " level"]


def screen_features(
    features: Sequence[StoryFeatures], discover: Part, *, permutations: int, rng: np.random.Generator
) -> list[Screen]:
    """Test every feature of every SAE on the discover stories, as one family."""
    units = discover.units()
    draws = shuffle_within(units.label, units.block, permutations, rng)
    pairs = [_screen_one(table.mean[discover.rows], discover, units, draws) for table in features]
    screens = [screen for screen, _ in pairs]
    p_maxt = max_t([s.z for s in screens], [s.tested for s in screens], [largest for _, largest in pairs])
    q = np.split(bh(np.concatenate([s.p for s in screens])), np.cumsum([len(s.p) for s in screens])[:-1])
    return [replace(s, q=one, p_maxt=other) for s, one, other in zip(screens, q, p_maxt, strict=True)]


def average_by_emotion(acts: Acts, label: Int[np.ndarray, " story"], n_emotions: int) -> FeatureByEmotion:
    """Mean over each emotion's stories; NaN where it has none."""
    counts = np.bincount(label, minlength=n_emotions)
    total = (acts.T @ one_hot(label, n_emotions)).toarray()
    return np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)


def make_tests(acts: Acts, ranks: BlockRanks, part: Part, units: Units) -> tuple[VanElteren, Tested]:
    """Test every feature for every emotion, and say which of these tests count.

    Args:
        acts: Story x feature.
        ranks: Of the units.
        part: The stories.
        units: What is exchanged.
    """
    test = standardise_ranks(ranks, units.label, units.n_emotions)
    can = (test.informative_blocks > 0) & (units.per_emotion >= 2)
    return test, label_blind_filter(acts, part.stories_per_emotion) & can


def _screen_one(acts: Acts, part: Part, units: Units, draws: Draws) -> tuple[Screen, Float[np.ndarray, "draw emotion"]]:
    ranks = units.rank(acts)
    test, tested = make_tests(acts, ranks, part, units)
    null = permute_ranks(ranks, units.label, draws, tested)
    levels = np.array(TAIL_LEVELS)
    tails = [check_tail(ranks, draw, tested, levels) for draw in draws[:_TAIL_DRAWS]]
    rate_pos, rate_neg = _split_means(acts.astype(bool).astype(np.float64), part)
    unknown = np.full(tested.shape, np.nan)
    p = np.where(tested, test.p_upper, np.nan)
    screen = Screen(
        tested=tested,
        auroc=auroc_all(acts, part.label, part.n_emotions),
        z=test.z,
        p=p,
        p_perm=null.p,
        q=unknown,
        p_maxt=unknown,
        cohens_d=_standardise_difference(acts, part),
        fire_rate_pos=rate_pos,
        fire_rate_neg=rate_neg,
        tail=np.mean(tails, axis=0) if tails else np.full(len(levels), np.nan),
        reached=share_below(p[tested], levels),
    )
    return screen, null.largest


def _split_means(acts: Acts, part: Part) -> tuple[FeatureByEmotion, FeatureByEmotion]:
    """Mean over an emotion's stories, and over all others'."""
    counts = part.stories_per_emotion
    inside = average_by_emotion(acts, part.label, part.n_emotions)
    total = np.asarray(acts.sum(axis=0)).reshape(-1, 1)
    rest = len(part.label) - counts
    outside = (total - np.nan_to_num(inside) * counts) / np.where(rest > 0, rest, np.nan)
    return inside, outside


def _standardise_difference(acts: Acts, part: Part) -> FeatureByEmotion:
    """Cohen's d with the pooled standard deviation; 0 where the feature does not vary."""
    counts = part.stories_per_emotion
    rest = len(part.label) - counts
    inside, outside = _split_means(acts, part)
    squares_in, squares_out = _split_means(acts.power(2), part)
    scatter = counts * (squares_in - inside**2) + rest * (squares_out - outside**2)
    spread = np.sqrt(np.maximum(scatter, 0) / max(1, len(part.label) - 2))
    difference = inside - outside
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 1e-12)
