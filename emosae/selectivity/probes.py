"""Logistic probes as baselines: on the whole residual, and on a few features of one SAE."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array

from emosae.selectivity.layout import Layout, Part
from emosae.selectivity.ranks import Acts, FeatureByEmotion, auroc_all
from emosae.selectivity.screen import average_by_emotion

SPARSE_FEATURES = 8
"""Features of a sparse probe."""

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Inverse penalties that a linear probe may take, of inputs whose squared length averages 1; the first is strongest."""

Scores = Float[np.ndarray, "kept emotion"]
Inputs = Float[np.ndarray, "_ input"]
ShortInputs = Float[np.ndarray, "_ short"]


def probe_resid(resid: Inputs, layout: Layout) -> Scores:
    """Log odds of each emotion on confirm, by multinomial logistic regression on standardised residuals.

    The L2 penalty is the one of STRENGTHS with the highest mean AUROC on tune of a fit on discover; the probe is then
    fitted anew on discover + tune. NaN for an emotion without a story there.
    """
    fit, confirm = layout.part("discover", "tune"), layout.part("confirm")
    strength = _choose_strength(resid, layout)
    return _fit_and_score(resid[fit.rows], fit.label, resid[confirm.rows], strength, len(layout.emotions))


def probe_features(acts: Acts, layout: Layout, *, k: int = SPARSE_FEATURES) -> Scores:
    """Log odds of each emotion on confirm, by logistic regression on k features of its own.

    After Gurnee et al. (arXiv 2305.01610): the k features whose mean differs most between the emotion's stories and
    the others are taken, here in units of the feature's standard deviation, since SAE features have no common scale;
    either sign counts. Chosen and fitted on discover + tune. NaN for an emotion without a story there.
    """
    from sklearn.linear_model import LogisticRegression

    fit, confirm = layout.part("discover", "tune"), layout.part("confirm")
    columns = csc_array(acts)
    gaps = np.abs(_standardise_gaps(columns[fit.rows], fit))
    scores = np.full((len(confirm.rows), len(layout.emotions)), np.nan)
    for place in np.flatnonzero(np.isfinite(gaps).all(axis=0)):
        chosen = np.argsort(-gaps[:, place], kind="stable")[:k]
        table = columns[:, chosen].toarray().astype(np.float64)
        known, unknown = _standardise(table[fit.rows], table[confirm.rows])
        model = LogisticRegression(class_weight="balanced", max_iter=500).fit(known, fit.label == place)
        scores[:, place] = model.decision_function(unknown)
    return scores


def _choose_strength(resid: Inputs, layout: Layout) -> float:
    """By the mean AUROC on tune; of equal ones the strongest penalty, and the middle one if nothing can be told."""
    early, tune = layout.part("discover"), layout.part("tune")
    merits = []
    for strength in STRENGTHS:
        scores = _fit_and_score(resid[early.rows], early.label, resid[tune.rows], strength, len(layout.emotions))
        merits.append(_average_auroc(scores, tune))
    known = np.round(np.nan_to_num(merits, nan=-1.0), 9)
    return STRENGTHS[int(known.argmax())] if known.max() >= 0 else STRENGTHS[len(STRENGTHS) // 2]


def _average_auroc(scores: Scores, part: Part) -> float:
    """Mean over the emotions that are scored and have stories here; NaN if there are none."""
    told = np.flatnonzero(np.isfinite(scores).all(axis=0))
    if not len(scores) or not len(told):
        return float("nan")
    auroc = auroc_all(csc_array(scores[:, told]), part.label, part.n_emotions)[np.arange(len(told)), told]
    return float(np.nanmean(auroc)) if np.isfinite(auroc).any() else float("nan")


def _fit_and_score(
    known: Inputs, label: Int[np.ndarray, " known"], unknown: Inputs, strength: float, n_emotions: int
) -> Scores:
    from sklearn.linear_model import LogisticRegression

    scores = np.full((len(unknown), n_emotions), np.nan)
    if len(np.unique(label)) < 2:
        return scores
    known, unknown = _shorten(*_standardise(known, unknown))
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3).fit(known, label)
    scores[:, model.classes_] = _log_odds(model, unknown)
    return scores


def _log_odds(model: Any, inputs: Inputs) -> Scores:
    """Of each class against all others, which unlike its logit can be compared between stories."""
    from scipy.special import logsumexp

    logits = model.decision_function(inputs)
    if logits.ndim == 1:
        return np.stack([-logits, logits], axis=1)
    others = [logsumexp(np.delete(logits, place, axis=1), axis=1) for place in range(logits.shape[1])]
    return logits - np.stack(others, axis=1)


def _standardise(known: Inputs, unknown: Inputs) -> tuple[Inputs, Inputs]:
    """By mean and standard deviation of the known; what does not vary there becomes 0."""
    centre, spread = known.mean(axis=0), known.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return (known - centre) * scale, (unknown - centre) * scale


def _shorten(known: Inputs, unknown: Inputs) -> tuple[ShortInputs, ShortInputs]:
    """To a squared length of 1 on average, in the space that the known span: an L2 penalty loses nothing there."""
    scale = 1 / np.sqrt(max(1, known.shape[1]))
    if known.shape[1] > len(known):
        basis = np.linalg.svd(known, full_matrices=False)[2].T
        known, unknown = known @ basis, unknown @ basis
    return known * scale, unknown * scale


def _standardise_gaps(acts: csc_array, part: Part) -> FeatureByEmotion:
    """Mean of the emotion's stories less that of the others, over the feature's deviation; 0 if it has none."""
    counts, n = part.stories_per_emotion, len(part.label)
    inside = average_by_emotion(acts, part.label, part.n_emotions)
    mean = np.asarray(acts.mean(axis=0, dtype=np.float64)).reshape(-1, 1)
    square = np.asarray(acts.power(2).mean(axis=0, dtype=np.float64)).reshape(-1, 1)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    gap = (inside - mean) * n / np.where(n > counts, n - counts, np.nan)
    return np.where(np.isnan(gap), np.nan, np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 1e-12))
