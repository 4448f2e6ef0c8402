"""Which emotions share features."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

Square = Float[np.ndarray, "emotion emotion"]


def measure_overlap(
    emotions: tuple[str, ...],
    profile: Float[np.ndarray, "feature emotion"],
    is_selective: Bool[np.ndarray, "any emotion"],
) -> pa.Table:
    """Compare every pair of emotions by the features that tell them from the rest.

    Args:
        emotions: Names, in the order of the columns.
        profile: Confirm AUROC of the candidate features for every emotion; 0.5 is chance.
        is_selective: Whether a feature was discovered for the emotion.

    Returns:
        All ordered pairs `emotion_a, emotion_b` with `cosine` of their profiles around chance (-1 to 1),
        `jaccard` (features discovered for both over those discovered for either, 0 if none) and `n_shared`.
    """
    cosine, (shared, jaccard) = compare_profiles(profile), _share(is_selective)
    first, second = (grid.ravel() for grid in np.meshgrid(emotions, emotions, indexing="ij"))
    return pa.table(
        {
            "emotion_a": pa.array(first.tolist(), pa.string()),
            "emotion_b": pa.array(second.tolist(), pa.string()),
            "cosine": cosine.ravel(),
            "jaccard": jaccard.ravel(),
            "n_shared": pa.array(shared.ravel().astype(np.int64)),
        }
    )


def overlap_matrix(overlap: pa.Table, column: str) -> tuple[tuple[str, ...], Square]:
    """One column of an overlap table as a square matrix, with the names of its rows."""
    names = tuple(dict.fromkeys(overlap["emotion_a"].to_pylist()))
    values = overlap[column].to_numpy().astype(np.float64)
    return names, values.reshape(len(names), len(names))


def compare_profiles(profile: Float[np.ndarray, "feature emotion"]) -> Square:
    """Cosine between emotions of their AUROC around chance; 0 for an emotion that has none."""
    centred = np.nan_to_num(profile - 0.5)
    length = np.sqrt((centred**2).sum(axis=0))
    scale = np.outer(length, length)
    product = centred.T @ centred
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)


def _share(is_selective: Bool[np.ndarray, "any emotion"]) -> tuple[Square, Square]:
    table = is_selective.astype(np.float64)
    shared = table.T @ table
    either = np.diag(shared)[:, None] + np.diag(shared)[None] - shared
    return shared, np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
