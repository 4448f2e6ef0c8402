"""What simpler methods reach on the same splits: words alone, and the difference-of-means vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def emotion_vectors(
    resid_mean: Float[Tensor, "story d_in"], stories: Sequence[Story], *, neutral_variance: float = 0.5
) -> dict[str, Float[Tensor, " d_in"]]:
    """Difference-of-means vector of every emotion, in residual units, from discover + tune stories only.

    The mean over emotions is subtracted from each emotion's mean; then the leading principal components of
    neutral text that hold `neutral_variance` of its variance are projected out.

    Args:
        resid_mean: Average residual of each story, neutral ones included.
        stories: With their splits.
        neutral_variance: Share in [0, 1]; 0, or fewer than two neutral texts, leaves the vectors as they are.
    """
    if not 0 <= neutral_variance <= 1:
        raise UserError(f"neutral_variance {neutral_variance}: must lie between 0 and 1")
    layout, resid = lay_out(stories), resid_mean.detach().cpu().double().numpy()
    part = layout.part("discover", "tune")
    present = np.flatnonzero(part.stories_per_emotion)
    means = np.stack([resid[part.rows[part.label == emotion]].mean(axis=0) for emotion in present])
    basis = _leading_components(resid[layout.neutral_rows("discover", "tune")], neutral_variance)
    vectors = means - means.mean(axis=0)
    vectors -= vectors @ basis.T @ basis
    return {layout.emotions[e]: torch.from_numpy(v).float() for e, v in zip(present, vectors, strict=True)}


def measure_baselines(features: Sequence[StoryFeatures], stories: Sequence[Story]) -> pa.Table:
    """Confirm AUROC of each emotion by other means than features.

    Returns:
        Rows `baseline, hook_name, emotion, auroc_confirm, auroc_confirm_lo, auroc_confirm_hi`: `bag_of_words`
        (null hook, logistic regression fitted on discover) and, per hook, `difference_of_means` (projection
        on the denoised vector). Same stories, splits, ties and intervals as the features'.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    texts = [layout.stories[row].text for row in confirm.rows]
    words = fit_words(layout, layout.part("discover")).score(texts, len(layout.emotions))
    tables = [_tabulate("bag_of_words", None, layout, confirm, words)]
    for hook_name, table in {table.hook_name: table for table in features}.items():
        scores = _score_vectors(emotion_vectors(table.resid_mean, stories), table, layout, confirm)
        tables.append(_tabulate("difference_of_means", hook_name, layout, confirm, scores))
    return join_tables(tables)


def _leading_components(resid: Float[np.ndarray, "story d_in"], variance: float) -> Float[np.ndarray, "component d_in"]:
    """Orthonormal rows: the fewest principal components that hold the share `variance`."""
    if len(resid) < 2 or variance == 0:
        return np.zeros((0, resid.shape[1]))
    _, singular, rows = np.linalg.svd(resid - resid.mean(axis=0), full_matrices=False)
    held = np.cumsum(singular**2)
    if held[-1] == 0:
        return np.zeros((0, resid.shape[1]))
    return rows[: int(np.searchsorted(held / held[-1], variance - 1e-12)) + 1]


def _score_vectors(vectors: Mapping[str, Tensor], table: StoryFeatures, layout: Layout, part: Part) -> Scores:
    resid = table.resid_mean.detach().cpu().double().numpy()[part.rows]
    scores = np.full((len(resid), len(layout.emotions)), np.nan)
    for place, emotion in enumerate(layout.emotions):
        if emotion in vectors:
            scores[:, place] = resid @ vectors[emotion].double().numpy()
    return scores


def _tabulate(baseline: str, hook_name: str | None, layout: Layout, confirm: Part, scores: Scores) -> pa.Table:
    n = len(layout.emotions)
    intervals = [_measure(scores[:, place], confirm, place) for place in range(n)]
    columns = {
        "baseline": repeat_text(baseline, n),
        "hook_name": repeat_text(hook_name, n),
        "emotion": list(layout.emotions),
    }
    return tabulate(columns | as_intervals("auroc_confirm", intervals))


def _measure(scores: Float[np.ndarray, " story"], part: Part, emotion: int) -> Interval:
    if np.isnan(scores).any():
        return NO_INTERVAL
    return jackknife_interval(scores, part.label == emotion, part.block, min_topics=MIN_INTERVAL_TOPICS)
