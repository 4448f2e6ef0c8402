"""Match the features of two SAEs: mutual nearest neighbours that beat what shuffled partners reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from scipy.sparse import csc_array, csr_array

from emosae.features.records import StoryFeatures
from emosae.sae import Dictionary

_TILE = 2048

LINK_SCHEMA = pa.schema(
    [
        ("sae_a", pa.string()),
        ("feature_a", pa.int64()),
        ("sae_b", pa.string()),
        ("feature_b", pa.int64()),
        ("relation", pa.string()),
        ("by", pa.string()),
        ("activation_corr", pa.float64()),
        ("decoder_cosine", pa.float64()),
        ("activation_threshold", pa.float64()),
        ("decoder_threshold", pa.float64()),
    ]
)
"""The columns of a table of links."""


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """Features of two SAEs that are nearer to each other than chance.

    Attributes:
        mutual: Pairs (a, b), each the other's nearest.
        merged: Pairs (a, b): b is nearest to a, but another feature is nearest to b.
        split: Pairs (a, b): a is nearest to b, but another feature is nearest to a.
        threshold: The similarity that pairs had to reach.
    """

    mutual: Int[np.ndarray, "_ 2"]
    merged: Int[np.ndarray, "_ 2"]
    split: Int[np.ndarray, "_ 2"]
    threshold: float


def match_features(
    a: StoryFeatures,
    b: StoryFeatures,
    dict_a: Dictionary,
    dict_b: Dictionary,
    *,
    rng: np.random.Generator,
    block: Int[np.ndarray, " story"] | None = None,
    rows: Int[np.ndarray, " kept"] | None = None,
    alpha: float = 0.01,
    min_fires: int = 10,
    n_shuffles: int = 2,
) -> pa.Table:
    """Link the features of two SAEs that read the same stories.

    Two measures: correlation of mean activations over stories, and, only where both SAEs read the same hook, cosine
    of decoder directions. A `match` is a pair of mutual nearest neighbours by a measure (`by`: activation, decoder or
    both) whose similarity is exceeded by a share `alpha` of nearest neighbours after shuffling: stories within
    `block`, so that to share an emotion is not enough, or the decoder's coordinates. `merge` (several of a lie nearest
    to one of b) and `split` (the reverse) are nearest by activation one way only.

    Args:
        a: One SAE's activations.
        b: The other's, on the same stories.
        dict_a: The SAE itself.
        dict_b: The other itself.
        rng: Draws the shuffles.
        block: Emotion of each story, by number; all stories are one block without it.
        rows: The stories over which activations are compared; all without it.
        alpha: Share of shuffled nearest neighbours that may reach the threshold.
        min_fires: Stories in which a feature must fire to be matched by activation; under it correlations are chance.
        n_shuffles: Shuffles from which the threshold is taken.
    """
    if a.story_ids != b.story_ids:
        raise ValueError(f"{a.sae} and {b.sae} were pooled on different stories")
    block = np.zeros(len(a.story_ids), dtype=np.int64) if block is None else block
    rows = np.arange(len(block)) if rows is None else rows
    shuffles = [_shuffle_rows(block[rows], rng) for _ in range(n_shuffles)]
    acts = (_standardise_acts(a.mean[rows], min_fires), _standardise_acts(b.mean[rows], min_fires))
    by_acts = _match_columns(*acts, shuffles, alpha)
    decoders, by_decoder = None, None
    if a.hook_name == b.hook_name and dict_a.d_in == dict_b.d_in:
        decoders = (_decoder_columns(dict_a), _decoder_columns(dict_b))
        by_decoder = _match_columns(*decoders, [rng.permutation(dict_a.d_in) for _ in range(n_shuffles)], alpha)
    links = _list_links(by_acts, by_decoder)
    pairs = np.array([pair for pair, _, _ in links], dtype=np.int64).reshape(-1, 2)
    n = len(links)
    columns = {
        "sae_a": [a.sae] * n,
        "feature_a": pairs[:, 0],
        "sae_b": [b.sae] * n,
        "feature_b": pairs[:, 1],
        "relation": [relation for _, relation, _ in links],
        "by": [by for _, _, by in links],
        "activation_corr": _pair_similarity(*acts, pairs),
        "decoder_cosine": _pair_similarity(*decoders, pairs) if decoders else [None] * n,
        "activation_threshold": [by_acts.threshold] * n,
        "decoder_threshold": [by_decoder.threshold if by_decoder else None] * n,
    }
    return pa.table(columns, schema=LINK_SCHEMA)


def _list_links(by_acts: Matches, by_decoder: Matches | None) -> list[tuple[tuple[int, int], str, str]]:
    """Pairs with their relation and what found them; a pair that both measures match is one link."""
    by_pair = {(int(i), int(j)): "activation" for i, j in by_acts.mutual}
    for i, j in by_decoder.mutual if by_decoder else ():
        by_pair[int(i), int(j)] = "both" if (int(i), int(j)) in by_pair else "decoder"
    links = [(pair, "match", by) for pair, by in sorted(by_pair.items())]
    for relation, pairs in (("merge", by_acts.merged), ("split", by_acts.split)):
        one_way = {(int(i), int(j)) for i, j in pairs} - set(by_pair)
        links += [(pair, relation, "activation") for pair in sorted(one_way)]
    return links


def _match_columns(
    a: Float[np.ndarray, "n ka"], b: Float[np.ndarray, "n kb"], shuffles: list[Int[np.ndarray, " n"]], alpha: float
) -> Matches:
    """Nearest columns of unit length, against those found after the rows of b are shuffled."""
    to_b, value_b, to_a, value_a = _find_nearest(a, b)
    null = [value for rows in shuffles for value in _find_nearest(a, b[rows])[1::2]]
    reached = np.concatenate(null) if null else np.zeros(0)
    reached = reached[reached > 0]
    threshold = float(np.quantile(reached, 1 - alpha)) if len(reached) else 0.0
    near_b = np.flatnonzero(value_b > threshold)
    near_a = np.flatnonzero(value_a > threshold)
    is_mutual = to_a[to_b[near_b]] == near_b
    forward = np.stack([near_b, to_b[near_b]], axis=1)
    backward = np.stack([to_a[near_a], near_a], axis=1)
    return Matches(
        mutual=forward[is_mutual],
        merged=forward[~is_mutual],
        split=backward[to_b[backward[:, 0]] != near_a],
        threshold=threshold,
    )


def _find_nearest(
    a: Float[np.ndarray, "n ka"], b: Float[np.ndarray, "n kb"]
) -> tuple[Int[np.ndarray, " ka"], Float[np.ndarray, " ka"], Int[np.ndarray, " kb"], Float[np.ndarray, " kb"]]:
    """For each column the nearest one of the other table and how near it is, by tiles of the product."""
    best_b, value_b = np.zeros(a.shape[1], dtype=np.int64), np.full(a.shape[1], -np.inf, dtype=np.float32)
    best_a, value_a = np.zeros(b.shape[1], dtype=np.int64), np.full(b.shape[1], -np.inf, dtype=np.float32)
    for rows in _tiles(a.shape[1]):
        for columns in _tiles(b.shape[1]):
            similarity = a[:, rows].T @ b[:, columns]
            _keep_best(best_b[rows], value_b[rows], similarity, columns.start)
            _keep_best(best_a[columns], value_a[columns], similarity.T, rows.start)
    return best_b, value_b, best_a, value_a


def _keep_best(
    best: Int[np.ndarray, " k"], value: Float[np.ndarray, " k"], similarity: Float[np.ndarray, "k other"], start: int
) -> None:
    """Replace, in place, what a new tile beats."""
    place = similarity.argmax(axis=1)
    found = similarity[np.arange(len(place)), place]
    better = found > value
    best[better], value[better] = place[better] + start, found[better]


def _tiles(length: int) -> Iterator[slice]:
    return (slice(start, min(start + _TILE, length)) for start in range(0, length, _TILE))


def _standardise_acts(acts: csr_array, min_fires: int) -> Float[np.ndarray, "story d_sae"]:
    """Centred mean activations as columns of unit length; zeros where a feature fires too rarely or does not vary."""
    columns = csc_array(acts, dtype=np.float32)
    fires = np.diff(columns.indptr)
    dense = columns.toarray()
    dense -= dense.mean(axis=0, dtype=np.float64).astype(np.float32)
    dense[:, fires < min_fires] = 0
    return _unit_columns(dense)


def _decoder_columns(dictionary: Dictionary) -> Float[np.ndarray, "d_in d_sae"]:
    rows = torch.stack([dictionary.direction(index).detach().float().cpu() for index in range(dictionary.d_sae)])
    return _unit_columns(rows.numpy().T.copy())


def _unit_columns(table: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    length = np.sqrt(np.einsum("nk,nk->k", table, table, dtype=np.float64)).astype(np.float32)
    return np.divide(table, length, out=np.zeros_like(table), where=length > 1e-8)


def _pair_similarity(
    a: Float[np.ndarray, "n ka"], b: Float[np.ndarray, "n kb"], pairs: Int[np.ndarray, "pair 2"]
) -> Float[np.ndarray, " pair"]:
    return np.einsum("np,np->p", a[:, pairs[:, 0]], b[:, pairs[:, 1]], dtype=np.float64)


def _shuffle_rows(block: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Row numbers exchanged within blocks."""
    rows = np.arange(len(block))
    for member in np.unique(block):
        inside = np.flatnonzero(block == member)
        rows[inside] = rng.permutation(inside)
    return rows
