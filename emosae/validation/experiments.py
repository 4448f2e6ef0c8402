"""One simulation of each kind: draw a world, run the protocol's own code on it, and count where it was right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from emosae.selectivity.intervals import jackknife_difference
from emosae.selectivity.layout import lay_out
from emosae.selectivity.ranking import rank_features
from emosae.selectivity.screen import Screen, screen_features
from emosae.validation.worlds import EMOTIONS, SHARED, Planted, World, describe, plant

ALPHA = 0.05
"""False discovery rate and family-wise rate at which everything is tested."""
PERMUTATIONS = 239
"""Exchanges of labels: with six emotions a p of ALPHA / 6 can be reached exactly."""
BANDS = (0.5, 0.7, 0.85, 0.95, 1.0)
"""Coverage of planted features is counted by the true AUROC, in bands that begin here."""

_TOP = 3

Counts = Mapping[str, tuple[float, float]]
"""What one simulation adds to each measure: to the numerator and to the denominator of a ratio."""
Kind = Literal["errors", "intervals"]


def count_errors(world: World, rng: np.random.Generator) -> Counts:
    """Screen the discover stories of one draw.

    Returns:
        `fdp`: share of false discoveries, 0 if nothing is discovered. `familywise`: 1 if max-T rejects any feature for
        an emotion with which it does not rise. `power`, `power_maxt`: true features found; `overlap`: those of the
        shared feature.
    """
    planted = plant(world, rng)
    part = lay_out(planted.stories).part("discover")
    (screen,) = screen_features([planted.features], part, permutations=PERMUTATIONS, rng=rng)
    is_true = describe(world).is_true
    found, rejected = _discover(screen), screen.p_maxt <= ALPHA
    shared = np.zeros_like(is_true)
    shared[len(world.shares) * len(EMOTIONS), SHARED] = world.effect > 0
    return {
        "fdp": (float((found & ~is_true).sum() / max(1, found.sum())), 1.0),
        "familywise": (float((rejected & ~is_true).any()), 1.0),
        "power": _hits(found, is_true),
        "power_maxt": _hits(rejected, is_true),
        "overlap": _hits(found, shared),
    }


def count_covered(world: World, rng: np.random.Generator) -> Counts:
    """Rank one draw from end to end, and see which confirm intervals hold the truth.

    The truth is the AUROC of infinitely many stories on infinitely many topics.

    Returns:
        `noise`: intervals that hold it, of candidates that do not rise with the emotion; of those that do by bands of
        the truth (see `name_band`), and as `rival` against the rival that was fixed before; `difference`: those of an
        emotion's own feature less the shared one, for both emotions that share it.
    """
    planted, truth = plant(world, rng), describe(world)
    ranked = rank_features([planted.features], planted.stories, rng=rng, permutations=19, top=_TOP)
    counts: dict[str, tuple[float, float]] = {}

    def add(name: str, row: Mapping[str, Any], column: str, value: float) -> None:
        part, whole = counts.get(name, (0.0, 0.0))
        counts[name] = (part + float(row[f"{column}_lo"] <= value <= row[f"{column}_hi"]), whole + 1)

    for row in ranked.candidates.to_pylist():
        feature, own, rival = row["feature_idx"], EMOTIONS.index(row["emotion"]), EMOTIONS.index(row["rival"])
        value = float(truth.auroc[feature, own])
        if not truth.is_true[feature, own]:
            add("noise", row, "auroc_confirm", value)
            continue
        add(name_band(value), row, "auroc_confirm", value)
        add("rival", row, "auroc_rival_confirm", float(truth.pair[feature, own, rival]))
    return counts | {"difference": _compare_features(world, planted)}


def name_band(auroc: float) -> str:
    """The measure that counts planted features with this true AUROC."""
    at = int(np.searchsorted(BANDS, auroc, side="right")) - 1
    return f"AUROC {BANDS[at]:g} to {BANDS[at + 1]:g}"


EXPERIMENTS: Mapping[Kind, Callable[[World, np.random.Generator], Counts]] = {
    "errors": count_errors,
    "intervals": count_covered,
}


def _discover(screen: Screen) -> Bool[np.ndarray, "feature emotion"]:
    return (screen.q < ALPHA) & (screen.auroc > 0.5)


def _hits(
    found: Bool[np.ndarray, "feature emotion"], is_true: Bool[np.ndarray, "feature emotion"]
) -> tuple[float, float]:
    return float((found & is_true).sum()), float(is_true.sum())


def _compare_features(world: World, planted: Planted) -> tuple[float, float]:
    truth, confirm = describe(world).auroc, lay_out(planted.stories).part("confirm")
    shared = len(world.shares) * len(EMOTIONS)
    columns = planted.features.mean[confirm.rows]
    held = 0
    for emotion in SHARED:
        own = emotion * len(world.shares)
        acts = columns[:, [own, shared]].toarray().astype(np.float64).T
        gap = jackknife_difference(acts[0], acts[1], confirm.label == emotion, confirm.block)
        held += gap.lo <= truth[own, emotion] - truth[shared, emotion] <= gap.hi
    return float(held), float(len(SHARED))
