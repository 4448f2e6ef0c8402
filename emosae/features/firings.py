"""Where in a text each feature fires, and on which tokens, on a sample of stories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int

from emosae.activations import find_real_tokens, read_tokens
from emosae.lm import LanguageModel
from emosae.sae import Dictionary, encode_blocks
from emosae.stories import Story

Counts = Float[np.ndarray, " feature"]


@torch.no_grad()
def measure_firings(
    lm: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    stories: Sequence[Story],
    *,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
) -> pa.Table:
    """Read some stories and describe the tokens at which every feature fires; labels play no part.

    Returns:
        A row per SAE and feature that fires: `sae, feature_idx`; `n_firings`, tokens at which it fires;
        `position_corr`, how much more often a token where it fires stands later in its story than one where it is
        silent rather than earlier (rank-biserial correlation; -1 only at starts, 0 anywhere, 1 only at ends; null if it
        fires everywhere); `top_token`, the token that holds most of its activation, and `top_token_share`, the share
        of all its activation that falls on that token, in (0, 1].
    """
    documents = [lm.document(story.text) for story in stories]
    hook_names = sorted({dictionary.hook_name for dictionary in dictionaries.values()})
    fires: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in dictionaries}
    token_ids, places, n_tokens = [], [], 0
    for index, resid in read_tokens(lm, documents, hook_names, skip_tokens=skip_tokens, batch_tokens=batch_tokens):
        ids = [documents[index][pos] for pos in find_real_tokens(lm, documents[index])]
        token_ids += ids[skip_tokens:]
        places += (np.arange(skip_tokens, len(ids)) / max(1, len(ids) - 1)).tolist()
        for name, dictionary in dictionaries.items():
            for start, acts in encode_blocks(dictionary, resid[dictionary.hook_name]):
                token, feature_idx = (acts > 0).nonzero(as_tuple=True)
                value = acts[token, feature_idx].double().cpu().numpy()
                fires[name].append((token.cpu().numpy() + start + n_tokens, feature_idx.cpu().numpy(), value))
        n_tokens = len(token_ids)
    tokens = np.array(token_ids, dtype=np.int64)
    tables = []
    for name, parts in fires.items():
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        tables.append(_describe(lm, name, tokens, np.array(places), *columns))
    return pa.concat_tables(tables)


def _describe(
    lm: LanguageModel,
    name: str,
    token_id: Int[np.ndarray, " token"],
    place: Float[np.ndarray, " token"],
    token: Int[np.ndarray, " fire"],
    feature_idx: Int[np.ndarray, " fire"],
    value: Float[np.ndarray, " fire"],
) -> pa.Table:
    n_firings = np.bincount(feature_idx)
    alive = np.flatnonzero(n_firings)
    top_id, share = _find_top_tokens(feature_idx, token_id[token], value)
    texts = {int(one): lm.decode([int(one)]) for one in np.unique(top_id)}
    columns = {
        "sae": pa.array([name] * len(alive), pa.string()),
        "feature_idx": pa.array(alive, pa.int64()),
        "n_firings": pa.array(n_firings[alive], pa.int64()),
        "position_corr": pa.array(_rank_places(place, token, feature_idx)[alive], pa.float64(), from_pandas=True),
        "top_token": pa.array([texts[int(one)] for one in top_id], pa.string()),
        "top_token_share": pa.array(share, pa.float64()),
    }
    return pa.table(columns)


def _rank_places(
    place: Float[np.ndarray, " token"], token: Int[np.ndarray, " fire"], feature_idx: Int[np.ndarray, " fire"]
) -> Counts:
    """Rank-biserial correlation of firing with place, from the rank sum; ties count one half."""
    from scipy.stats import rankdata

    rank = rankdata(place)
    n = np.bincount(feature_idx).astype(np.float64)
    total = np.bincount(feature_idx, weights=rank[token])
    pairs = n * (len(place) - n)
    return np.divide(2 * (total - n * (n + 1) / 2), pairs, out=np.full(len(n), np.nan), where=pairs > 0) - 1


def _find_top_tokens(
    feature_idx: Int[np.ndarray, " fire"], token_id: Int[np.ndarray, " fire"], value: Float[np.ndarray, " fire"]
) -> tuple[Int[np.ndarray, " alive"], Float[np.ndarray, " alive"]]:
    """Of every feature that fires the token with most activation (the lowest id of equal ones), and its share."""
    width = int(token_id.max(initial=0)) + 1
    cell, inverse = np.unique(feature_idx * width + token_id, return_inverse=True)
    total = np.bincount(inverse, weights=value, minlength=len(cell))
    owner = cell // width
    order = np.lexsort((cell, -total, owner))
    first = order[np.unique(owner[order], return_index=True)[1]]
    whole = np.bincount(owner, weights=total)[owner[first]]
    return cell[first] % width, total[first] / whole
