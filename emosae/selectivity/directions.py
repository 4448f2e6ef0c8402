"""Single directions of the residual stream as baselines: difference of means, one dimension, one component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor

from emosae.errors import UserError
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.selectivity.ranks import auroc_all
from emosae.stories import Story

Resid = Float[np.ndarray, "story d_in"]
Scores = Float[np.ndarray, "kept emotion"]


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
    basis = leading_components(resid[layout.neutral_rows(*splits)], neutral_variance)
    vectors = means - means.mean(axis=0)
    vectors -= vectors @ basis.T @ basis
    return {layout.emotions[e]: torch.from_numpy(v).float() for e, v in zip(present, vectors, strict=True)}


def score_vectors(
    vectors: Mapping[str, Tensor], resid_mean: Float[Tensor, "story d_in"], layout: Layout, part: Part
) -> Scores:
    """Projection of the part's stories on every emotion's vector; NaN where there is none."""
    resid = resid_mean.detach().cpu().double().numpy()[part.rows]
    scores = np.full((len(resid), len(layout.emotions)), np.nan)
    for place, emotion in enumerate(layout.emotions):
        if emotion in vectors:
            scores[:, place] = resid @ vectors[emotion].double().numpy()
    return scores


def score_best_dimension(resid: Resid, layout: Layout) -> Scores:
    """The one raw dimension, with its sign, that tells each emotion best on discover + tune; read on confirm."""
    return _score_best_axis(resid, layout)


def score_best_component(resid: Resid, layout: Layout) -> Scores:
    """The one principal component, with its sign, that tells each emotion best on discover + tune; read on confirm.

    Components are those of the discover + tune stories with an emotion, all that vary; labels choose among them.
    """
    rows = layout.part("discover", "tune").rows
    if not len(rows):
        return _score_best_axis(resid, layout)
    centre = resid[rows].mean(axis=0)
    _, singular, components = np.linalg.svd(resid[rows] - centre, full_matrices=False)
    return _score_best_axis((resid - centre) @ components[singular > 1e-6 * singular[0]].T, layout)


def _score_best_axis(coordinates: Float[np.ndarray, "story axis"], layout: Layout) -> Scores:
    """Per emotion the coordinate whose AUROC on discover + tune is farthest from 0.5; the first of equal ones."""
    fit, confirm = layout.part("discover", "tune"), layout.part("confirm")
    scores = np.full((len(confirm.rows), len(layout.emotions)), np.nan)
    if not coordinates.shape[1]:
        return scores
    lead = auroc_all(csr_array(coordinates[fit.rows]), fit.label, fit.n_emotions) - 0.5
    for place in np.flatnonzero(np.isfinite(lead).all(axis=0)):
        best = int(np.abs(np.round(lead[:, place], 9)).argmax())
        sign = -1.0 if lead[best, place] < 0 else 1.0
        scores[:, place] = sign * coordinates[confirm.rows, best]
    return scores


def leading_components(resid: Float[np.ndarray, "story d_in"], variance: float) -> Float[np.ndarray, "component d_in"]:
    """Orthonormal rows: the fewest principal components that hold the share `variance`."""
    if len(resid) < 2 or variance == 0:
        return np.zeros((0, resid.shape[1]))
    _, singular, rows = np.linalg.svd(resid - resid.mean(axis=0), full_matrices=False)
    held = np.cumsum(singular**2)
    if held[-1] == 0:
        return np.zeros((0, resid.shape[1]))
    return rows[: int(np.searchsorted(held / held[-1], variance - 1e-12)) + 1]
