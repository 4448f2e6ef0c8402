"""What simpler methods reach on the same splits: words alone, and the difference-of-means vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity.candidates import as_intervals
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS, NO_INTERVAL, Interval, jackknife_interval
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.selectivity.tables import join_tables, repeat_text, tabulate
from emosae.selectivity.words import fit_words
from emosae.stories import Story

Scores = Float[np.ndarray, "story emotion"]


@dataclass(frozen=True, eq=False, slots=True)
class BaselineScores:
    """What a simpler method gives every confirm story for every emotion; NaN for an emotion that it does not know.

    Attributes:
        baseline: Name of the method.
        hook_name: Where it reads; none for words.
        scores: Higher is more of the emotion; the unit is the method's own.
    """

    baseline: str
    hook_name: str | None
    scores: Scores


def emotion_vectors(
    resid_mean: Float[Tensor, "story d_in"],
    stories: Sequence[Story],
    *,
    neutral_variance: float = 0.5,
    splits: Sequence[str] = ("discover", "tune"),
) -> dict[str, Float[Tensor, " d_in"]]:
    """Difference-of-means vector of every emotion, in residual units, from stories of the given splits only.

    The mean over emotions is subtracted from each emotion's mean; then the leading principal components of
    neutral text that hold `neutral_variance` of its variance are projected out.

    Args:
        resid_mean: Average residual of each story, neutral ones included.
        stories: With their splits.
        neutral_variance: Share in [0, 1]; 0, or fewer than two neutral texts, leaves the vectors as they are.
        splits: What the means and the components are taken from.
    """
    if not 0 <= neutral_variance <= 1:
        raise UserError(f"neutral_variance {neutral_variance}: must lie between 0 and 1")
    layout, resid = lay_out(stories), resid_mean.detach().cpu().double().numpy()
    part = layout.part(*splits)
    present = np.flatnonzero(part.stories_per_emotion)
    means = np.stack([resid[part.rows[part.label == emotion]].mean(axis=0) for emotion in present])
    basis = _leading_components(resid[layout.neutral_rows(*splits)], neutral_variance)
    vectors = means - means.mean(axis=0)
    vectors -= vectors @ basis.T @ basis
    return {layout.emotions[e]: torch.from_numpy(v).float() for e, v in zip(present, vectors, strict=True)}


def score_baselines(features: Sequence[StoryFeatures], stories: Sequence[Story]) -> list[BaselineScores]:
    """Score the confirm stories by other means than features, each fitted on discover or discover + tune.

    Returns:
        `bag_of_words` (logistic regression fitted on discover) and, per hook, `difference_of_means` (projection on the
        denoised vector).
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    texts = [layout.stories[row].text for row in confirm.rows]
    words = fit_words(layout, layout.part("discover")).score(texts, len(layout.emotions))
    found = [BaselineScores("bag_of_words", None, words)]
    for hook_name, table in {table.hook_name: table for table in features}.items():
        scores = score_vectors(emotion_vectors(table.resid_mean, stories), table.resid_mean, layout, confirm)
        found.append(BaselineScores("difference_of_means", hook_name, scores))
    return found


def measure_baselines(
    features: Sequence[StoryFeatures], stories: Sequence[Story], scores: Sequence[BaselineScores] = ()
) -> pa.Table:
    """Confirm AUROC of each emotion by other means than features.

    Args:
        features: Where to read.
        stories: With their splits.
        scores: Those of `score_baselines`, if they are at hand.

    Returns:
        Rows `baseline, hook_name, emotion, auroc_confirm, auroc_confirm_lo, auroc_confirm_hi`. Same stories, splits,
        ties and intervals as the features'.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    return join_tables([_tabulate(one, layout, confirm) for one in scores or score_baselines(features, stories)])


def score_vectors(
    vectors: Mapping[str, Tensor], resid_mean: Float[Tensor, "story d_in"], layout: Layout, part: Part
) -> Float[np.ndarray, "kept emotion"]:
    """Projection of the part's stories on every emotion's vector; NaN where there is none."""
    resid = resid_mean.detach().cpu().double().numpy()[part.rows]
    scores = np.full((len(resid), len(layout.emotions)), np.nan)
    for place, emotion in enumerate(layout.emotions):
        if emotion in vectors:
            scores[:, place] = resid @ vectors[emotion].double().numpy()
    return scores


def _leading_components(resid: Float[np.ndarray, "story d_in"], variance: float) -> Float[np.ndarray, "component d_in"]:
    """Orthonormal rows: the fewest principal components that hold the share `variance`."""
    if len(resid) < 2 or variance == 0:
        return np.zeros((0, resid.shape[1]))
    _, singular, rows = np.linalg.svd(resid - resid.mean(axis=0), full_matrices=False)
    held = np.cumsum(singular**2)
    if held[-1] == 0:
        return np.zeros((0, resid.shape[1]))
    return rows[: int(np.searchsorted(held / held[-1], variance - 1e-12)) + 1]


def _tabulate(one: BaselineScores, layout: Layout, confirm: Part) -> pa.Table:
    n = len(layout.emotions)
    columns = {
        "baseline": repeat_text(one.baseline, n),
        "hook_name": repeat_text(one.hook_name, n),
        "emotion": list(layout.emotions),
    }
    intervals = [measure_score(one.scores[:, place], confirm, place) for place in range(n)]
    return tabulate(columns | as_intervals("auroc_confirm", intervals))


def measure_score(scores: Float[np.ndarray, " story"], part: Part, emotion: int) -> Interval:
    """AUROC of one emotion against the rest with its interval; NaN if a score is."""
    if np.isnan(scores).any():
        return NO_INTERVAL
    return jackknife_interval(scores, part.label == emotion, part.block, min_topics=MIN_INTERVAL_TOPICS)
