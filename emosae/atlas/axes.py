"""The first axes of the emotion vectors, and what they go with: valence, arousal, and the length of the stories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

Values = Float[np.ndarray, " emotion"]

AXES_SCHEMA = pa.schema(
    [
        ("axis", pa.int64()),
        ("measure", pa.string()),
        ("source", pa.string()),
        ("n", pa.int64()),
        *((name, pa.float64()) for name in ("variance", "r", "lo", "hi", "p", "r_partial", "p_partial")),
    ]
)
"""The columns of a table of axes: a row per axis and measure."""

LENGTH = "story_length"
MIN_EMOTIONS = 5
_TURNED_BY = ("valence", "arousal")


def place_on_axes(
    vectors: Float[np.ndarray, "emotion d_in"], measures: Mapping[str, Values]
) -> tuple[Float[np.ndarray, "emotion 2"], Float[np.ndarray, " 2"]]:
    """Scores of the emotions on the two leading principal axes, and the share of the variance along each.

    Args:
        vectors: Their mean is 0.
        measures: By name; the first axis is turned so that it does not fall with `valence`, the second with `arousal`.
            Where that is unknown, the largest score is positive.
    """
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    scores = np.zeros((len(vectors), 2))
    n_axes = min(2, len(singular))
    scores[:, :n_axes] = (left * singular)[:, :n_axes]
    for axis, name in enumerate(_TURNED_BY):
        lead = correlate(scores[:, axis], measures[name]) if name in measures else math.nan
        turn = lead if math.isfinite(lead) else scores[np.abs(scores[:, axis]).argmax(), axis]
        scores[:, axis] *= -1.0 if turn < 0 else 1.0
    share = np.zeros(2)
    share[:n_axes] = singular[:n_axes] ** 2 / max(float((singular**2).sum()), 1e-300)
    return scores, share


def describe_axes(
    scores: Float[np.ndarray, "emotion axis"],
    variance: Float[np.ndarray, " axis"],
    measures: Mapping[str, Values],
    sources: Mapping[str, str],
    *,
    n_draws: int,
    rng: np.random.Generator,
) -> pa.Table:
    """How each axis goes with each measure over emotions.

    Args:
        scores: Of the emotions.
        variance: Share of the vectors' variance along each axis.
        measures: One value per emotion, NaN where unknown. `story_length` is also what the others are freed of.
        sources: Where each measure comes from.
        n_draws: Exchanges of a measure among the emotions.
        rng: Draws them.

    Returns:
        Pearson's `r` over the `n` emotions whose value is known, with the 95% interval `lo`, `hi` by Fisher's z, and
        `p`, the share of exchanges in which |r| is as large (the given order counts as one). `r_partial` is what is
        left of r once story length is taken out of both (no interval), `p_partial` from exchanging the residuals
        (Freedman and Lane 1983, doi:10.1080/07350015.1983.10509354). Null with fewer than five emotions, or where a
        measure does not vary.
    """
    rows = []
    for axis in range(scores.shape[1]):
        for name, values in measures.items():
            known = np.isfinite(values) & np.isfinite(measures[LENGTH])
            length = None if name == LENGTH else measures[LENGTH][known]
            rows.append(
                {"axis": axis + 1, "measure": name, "source": sources[name], "variance": float(variance[axis])}
                | relate(scores[known, axis], values[known], length, n_draws=n_draws, rng=rng)
            )
    return pa.Table.from_pylist(rows, schema=AXES_SCHEMA)


def relate(
    scores: Values, values: Values, length: Values | None, *, n_draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Correlation of two series with its interval and p, and with length taken out of both if it is given."""
    found: dict[str, Any] = {"n": len(scores)}
    if len(scores) < MIN_EMOTIONS:
        return found
    constant = np.ones((len(scores), 1))
    r, p = exchange(scores, values, constant, n_draws=n_draws, rng=rng)
    if not math.isfinite(r):
        return found
    z, reach = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12)), 1.959964 / math.sqrt(len(scores) - 3)
    found |= {"r": r, "lo": math.tanh(z - reach), "hi": math.tanh(z + reach), "p": p}
    if length is None:
        return found
    with_length = np.stack([np.ones_like(length), length - length.mean()], axis=1)
    r_partial, p_partial = exchange(scores, values, with_length, n_draws=n_draws, rng=rng)
    return found | ({"r_partial": r_partial, "p_partial": p_partial} if math.isfinite(r_partial) else {})


def exchange(
    scores: Values,
    values: Values,
    nuisance: Float[np.ndarray, "emotion column"],
    *,
    n_draws: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Correlation of what straight lines on the nuisance columns leave of both, and its p by exchanging residuals.

    Returns:
        Both NaN where nothing is left of one of them.
    """
    keep = np.eye(len(scores)) - nuisance @ np.linalg.pinv(nuisance)
    a, b = keep @ scores, keep @ values
    if any(np.linalg.norm(left) <= 1e-9 * np.linalg.norm(whole) for left, whole in ((a, scores), (b, values))):
        return math.nan, math.nan
    drawn = rng.permuted(np.tile(b, (n_draws, 1)), axis=1) @ keep
    a /= np.linalg.norm(a)
    r = float(a @ b / np.linalg.norm(b))
    others = drawn @ a / np.maximum(np.linalg.norm(drawn, axis=1), 1e-300)
    return r, float((1 + (np.abs(others) >= abs(r) - 1e-12).sum()) / (1 + n_draws))


def correlate(a: Values, b: Values) -> float:
    """Pearson's correlation over the emotions where both are known; NaN under three, or where one does not vary."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3 or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return math.nan
    return float(np.corrcoef(a[known], b[known])[0, 1])
