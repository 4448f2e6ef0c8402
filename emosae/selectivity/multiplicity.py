"""What is tested, and how many tests there were."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array

from emosae.selectivity.ranks import Acts


def label_blind_filter(
    acts: Acts, stories_per_emotion: Int[np.ndarray, " emotion"]
) -> Bool[np.ndarray, "feature emotion"]:
    """What is worth a test: the feature fires in at least half as many stories as the emotion has.

    Only how often a feature fires is used, never where, so that error rates hold. Features that fire in two
    stories of hundreds would otherwise set the critical value of the maximum. An emotion with fewer than two
    stories, or with all of them, is not tested at all.
    """
    columns = csc_array(acts)
    fires = np.bincount(columns.nonzero()[1], minlength=len(columns.indptr) - 1)
    testable = (stories_per_emotion >= 2) & (stories_per_emotion < stories_per_emotion.sum())
    return (2 * fires[:, None] >= np.maximum(stories_per_emotion, 1)) & testable


def bh(p: Float[np.ndarray, "*table"]) -> Float[np.ndarray, "*table"]:
    """Benjamini-Hochberg q over all the entries that are not NaN, as one family; NaN stays NaN."""
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    values = p[tested]
    order = np.argsort(values)[::-1]
    factor = len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(values[order] * factor))
    q[tested] = adjusted
    return q
