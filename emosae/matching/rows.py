"""What of a feature is compared, as rows of unit length: its activations over stories, its direction, its profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array

from emosae.matching.nearest import Pairs, Rows, multiply_pairs
from emosae.sae import Dictionary

Numbers = Int[np.ndarray, " k"]


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """One SAE by one measure.

    Attributes:
        index: The features that can be compared, rising.
        rows: Theirs, each of length 1.
        d_sae: All features of the SAE.
    """

    index: Numbers
    rows: Rows
    d_sae: int


def take_activations(acts: csr_array, stories: Numbers, min_fires: int) -> Side:
    """Centred activations over stories: products are correlations.

    Features that fire in fewer than `min_fires` of these stories, or do not vary, are not compared.
    """
    columns = csc_array(acts[stories], dtype=np.float32)
    index = np.flatnonzero(np.diff(columns.indptr) >= min_fires)
    rows = np.ascontiguousarray(columns[:, index].toarray().T)
    rows -= rows.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    return _normalise(index, rows, acts.shape[1])  # pyright: ignore[reportOptionalSubscript]


def take_directions(dictionary: Dictionary) -> Side:
    """Directions of the decoder: products are cosines."""
    rows = torch.stack([dictionary.direction(index).detach().float().cpu() for index in range(dictionary.d_sae)])
    return _normalise(np.arange(dictionary.d_sae), rows.numpy().copy(), dictionary.d_sae)


def take_profiles(acts: csr_array, block: Int[np.ndarray, " story"]) -> Side:
    """Centred mean activation of each block of stories: products are correlations over blocks, such as emotions.

    With fewer than three blocks every correlation is 1 or -1, and nothing is compared.
    """
    names, place = np.unique(block, return_inverse=True)
    d_sae = int(acts.shape[1])  # pyright: ignore[reportOptionalSubscript]
    if len(names) < 3:
        return Side(np.zeros(0, dtype=np.int64), np.zeros((0, len(names)), dtype=np.float32), d_sae)
    mean = np.stack([acts[place == number].sum(axis=0, dtype=np.float64) for number in range(len(names))], axis=1)
    mean /= np.bincount(place)
    mean -= mean.mean(axis=1, keepdims=True)
    return _normalise(np.arange(len(mean)), mean, len(mean))


def read_products(a: Side, b: Side, pairs: Pairs) -> Float[np.ndarray, " pair"]:
    """The measure of pairs of features; NaN where one of them cannot be compared."""
    places = [np.searchsorted(side.index, pairs[:, end]) for end, side in enumerate((a, b))]
    known = np.ones(len(pairs), dtype=bool)
    for end, side in enumerate((a, b)):
        known &= np.isin(pairs[:, end], side.index)
    found = np.full(len(pairs), np.nan)
    found[known] = multiply_pairs(a.rows, b.rows, np.stack(places, axis=1)[known])
    return found


def _normalise(index: Numbers, rows: Rows, d_sae: int) -> Side:
    length = np.sqrt(np.einsum("kn,kn->k", rows, rows, dtype=np.float64))
    kept = length > 1e-8
    return Side(index[kept], (rows[kept] / length[kept, None]).astype(np.float32), d_sae)
