"""Choose features on discover, fix their hardest rival on discover + tune, read confirm once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS, NO_INTERVAL, Interval, jackknife_interval
from emosae.selectivity.layout import Layout, Part
from emosae.selectivity.ranks import Acts, FeatureByEmotion, auroc_all, spearman
from emosae.selectivity.screen import Screen, average_by_emotion

Column = Float[np.ndarray, " pick"]


@dataclass(frozen=True, eq=False, slots=True)
class Picks:
    """The features of one SAE chosen for each emotion, best first within an emotion."""

    feature_idx: Int[np.ndarray, " pick"]
    emotion: Int[np.ndarray, " pick"]
    rank: Int[np.ndarray, " pick"]


@dataclass(frozen=True, eq=False, slots=True)
class Rivals:
    """The emotion that each pick tells worst from its own, and how well it does.

    Attributes:
        emotion: The rival; -1 where there is no other emotion with a story.
        auroc: AUROC of the pick's emotion against the rival alone, on discover + tune.
    """

    emotion: Int[np.ndarray, " pick"]
    auroc: Column


@dataclass(frozen=True, eq=False, slots=True)
class Confirmed:
    """What the confirm stories say of the picks, once everything is chosen.

    Attributes:
        overall: AUROC against all other emotions.
        rival: AUROC against the rival that was fixed before.
        p: Within-topic upper tail.
        feature_idx: The distinct features among the picks.
        profile: AUROC of those features for every emotion against the rest.
    """

    overall: tuple[Interval, ...]
    rival: tuple[Interval, ...]
    p: Column
    feature_idx: Int[np.ndarray, " feature"]
    profile: FeatureByEmotion


def choose_picks(screen: Screen, top: int) -> Picks:
    """The `top` tested features with the highest AUROC above 0.5 per emotion; Cohen's d settles ties."""
    feature_idx, emotion, rank = [], [], []
    for number in range(screen.auroc.shape[1]):
        auroc, effect = np.round(screen.auroc[:, number], 9), screen.cohens_d[:, number]
        eligible = np.flatnonzero(screen.tested[:, number] & (auroc > 0.5))
        best = eligible[np.lexsort((eligible, -effect[eligible], -auroc[eligible]))][:top]
        feature_idx.append(best)
        emotion.append(np.full(len(best), number))
        rank.append(np.arange(1, len(best) + 1))
    return Picks(*(np.concatenate(parts).astype(np.int64) for parts in (feature_idx, emotion, rank)))


def fix_rivals(acts: Acts, part: Part, picks: Picks) -> Rivals:
    """Find each pick's hardest rival on discover + tune.

    It stays fixed: a minimum over many rivals that is taken anew on confirm would read far below the truth.
    """
    rival = np.full(len(picks.emotion), -1, dtype=np.int64)
    lowest = np.full(len(picks.emotion), np.nan)
    columns = csc_array(acts)
    counts = part.stories_per_emotion
    for own in np.unique(picks.emotion):
        chosen = np.flatnonzero(picks.emotion == own)
        dense = columns[:, picks.feature_idx[chosen]].toarray()
        for other in np.flatnonzero(counts > 0):
            if other == own:
                continue
            auroc = _pair_auroc(dense[part.label == own], dense[part.label == other])
            harder = np.isnan(lowest[chosen]) | (auroc < lowest[chosen])
            lowest[chosen[harder]], rival[chosen[harder]] = auroc[harder], other
    return Rivals(rival, lowest)


def read_confirm(table: StoryFeatures, confirm: Part, picks: Picks, rivals: Rivals) -> Confirmed:
    """Read the confirm stories of one SAE, once and choosing nothing, as `measure_confounds` does beside it."""
    features, place = np.unique(picks.feature_idx, return_inverse=True)
    acts = csc_array(table.mean[confirm.rows])[:, features]
    test = confirm.units().test(acts)
    profile = auroc_all(acts, confirm.label, confirm.n_emotions)
    cells = (place, picks.emotion)
    dense = acts.toarray()
    triples = list(zip(place.tolist(), picks.emotion.tolist(), rivals.emotion.tolist(), strict=True))
    return Confirmed(
        overall=tuple(_measure(dense[:, k], confirm, own, None) for k, own, _ in triples),
        rival=tuple(_measure(dense[:, k], confirm, own, other) for k, own, other in triples),
        p=test.p_upper[cells],
        feature_idx=features,
        profile=profile,
    )


def describe_picks(table: StoryFeatures, layout: Layout, picks: Picks) -> dict[str, Column]:
    """What discover + tune say of the picks beside the tests: size on each kind of text, and length."""
    part, neutral_rows = layout.part("discover", "tune"), layout.neutral_rows("discover", "tune")
    features, place = np.unique(picks.feature_idx, return_inverse=True)
    columns = csc_array(table.mean)[:, features]
    acts, neutral = columns[part.rows], columns[neutral_rows]
    means = average_by_emotion(acts, part.label, part.n_emotions)[place]
    others = means.copy()
    others[np.arange(len(place)), picks.emotion] = -np.inf
    others[np.isnan(others)] = -np.inf
    has_neutral = len(neutral_rows) > 0
    return {
        "mean_pos": means[np.arange(len(place)), picks.emotion],
        "mean_other_max": others.max(axis=1, initial=-np.inf),
        "mean_neutral": _column_means(neutral)[place] if has_neutral else np.full(len(place), np.nan),
        "fire_rate_neutral": _column_means(neutral.sign())[place] if has_neutral else np.full(len(place), np.nan),
        "auroc_neutral": _against_neutral(acts.toarray(), neutral.toarray(), part, place, picks.emotion),
        "length_corr": spearman(acts, table.n_tokens[part.rows].astype(np.float64))[place],
    }


def _measure(acts: Float[np.ndarray, " story"], part: Part, own: int, other: int | None) -> Interval:
    """AUROC of one emotion against the rest or one rival; no interval under MIN_INTERVAL_TOPICS topics."""
    if other is not None and other < 0:
        return NO_INTERVAL
    kept = slice(None) if other is None else (part.label == own) | (part.label == other)
    is_positive = part.label[kept] == own
    return jackknife_interval(acts[kept], is_positive, part.block[kept], min_topics=MIN_INTERVAL_TOPICS)


def _pair_auroc(positive: Float[np.ndarray, "a k"], other: Float[np.ndarray, "b k"]) -> Float[np.ndarray, " k"]:
    from scipy.stats import rankdata

    n, m = len(positive), len(other)
    total = rankdata(np.concatenate([positive, other]), axis=0)[:n].sum(axis=0)
    return (total - n * (n + 1) / 2) / (n * m)


def _against_neutral(
    acts: Float[np.ndarray, "story feature"],
    neutral: Float[np.ndarray, "other feature"],
    part: Part,
    place: Int[np.ndarray, " pick"],
    emotion: Int[np.ndarray, " pick"],
) -> Column:
    if not len(neutral):
        return np.full(len(place), np.nan)
    table = np.stack([_pair_auroc(acts[part.label == own], neutral) for own in range(part.n_emotions)], axis=1)
    return table[place, emotion]


def _column_means(acts: csc_array) -> Float[np.ndarray, " feature"]:
    return np.asarray(acts.mean(axis=0, dtype=np.float64)).ravel()


def as_intervals(name: str, intervals: Sequence[Interval]) -> dict[str, Column]:
    """Three columns, `name`, `name_lo` and `name_hi`."""
    table = np.array([(one.value, one.lo, one.hi) for one in intervals], dtype=np.float64).reshape(-1, 3)
    return {f"{name}{suffix}": table[:, place] for place, suffix in enumerate(("", "_lo", "_hi"))}
