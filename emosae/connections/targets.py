"""Which features are traced back, and the stories that they are traced in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from emosae.activations import find_real_tokens, read_tokens
from emosae.atlas.concepts import is_confirmed
from emosae.features import StoryFeatures
from emosae.hooks import sort_hooks
from emosae.lm import LanguageModel
from emosae.sae import Dictionary

INPUT_HOOK = "blocks.0.hook_resid_pre"
"""Where each token's residual is its embedding."""


@dataclass(frozen=True, slots=True)
class Target:
    """A feature that is traced back, and the emotion that it is traced for."""

    sae: str
    feature_idx: int
    emotion: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A story up to the token at which a feature is strongest.

    Attributes:
        ids: Token ids, special ones included; the last is that token.
        start: Where the text begins, behind special tokens.
        activation: Of the feature at that token.
    """

    ids: tuple[int, ...]
    start: int
    activation: float


def choose_targets(candidates: pa.Table, hook_names: Mapping[str, str], *, alpha: float = 0.05) -> list[Target]:
    """For each emotion the best of its confirmed features, and the best at the last hook, where most can be upstream.

    Best is the highest AUROC on discover topics. A feature that is the best of several emotions comes once, with the
    one that it tells best.

    Args:
        candidates: Of the ranking.
        hook_names: Hook of each SAE.
        alpha: Level at which a candidate counts as discovered.
    """
    last = sort_hooks(hook_names.values())[-1]
    best: dict[tuple[str, bool], dict[str, Any]] = {}
    for row in candidates.to_pylist():
        if not is_confirmed(row, alpha):
            continue
        for is_last in {False, hook_names[row["sae"]] == last}:
            key = (row["emotion"], is_last)
            if key not in best or row["auroc"] > best[key]["auroc"]:
                best[key] = row
    chosen: dict[tuple[str, int], dict[str, Any]] = {}
    for _, row in sorted(best.items()):
        feature = (row["sae"], row["feature_idx"])
        if feature not in chosen or row["auroc"] > chosen[feature]["auroc"]:
            chosen[feature] = row
    return [Target(*feature, row["emotion"]) for feature, row in chosen.items()]


def find_strongest(table: StoryFeatures, feature_idx: int, among: Sequence[int], limit: int) -> list[int]:
    """Rows of the stories where a feature is strongest, the strongest first; those where it is silent are left out."""
    peaks = table.max[:, [feature_idx]].toarray()[list(among), 0]
    order = np.argsort(-peaks, kind="stable")[:limit]
    return [among[place] for place in order.tolist() if peaks[place] > 0]


@torch.no_grad()
def cut_excerpts(
    lm: LanguageModel,
    wanted: Sequence[tuple[Dictionary, int, Sequence[int]]],
    documents: Mapping[int, Sequence[int]],
    *,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
) -> tuple[list[list[Excerpt]], Float[Tensor, " d_in"]]:
    """Stories up to the strongest token of each feature, in one pass over the text, and the mean embedding of a token.

    Args:
        lm: The model.
        wanted: Dictionary, feature and rows of stories of each target.
        documents: Token ids of the stories by row.
        skip_tokens: Real tokens at the beginning that count for no peak.
        batch_tokens: Tokens in a forward pass.
    """
    rows = sorted({row for _, _, own in wanted for row in own})
    hooks = sort_hooks({INPUT_HOOK, *(dictionary.hook_name for dictionary, _, _ in wanted)})
    peaks: dict[tuple[int, int], Excerpt] = {}
    total, n_tokens = torch.zeros(lm.d_in, dtype=torch.float64), 0
    texts = [documents[row] for row in rows]
    for index, resid in read_tokens(lm, texts, hooks, skip_tokens=skip_tokens, batch_tokens=batch_tokens):
        places = find_real_tokens(lm, texts[index])
        total += resid[INPUT_HOOK].double().sum(dim=0).cpu()
        n_tokens += len(resid[INPUT_HOOK])
        for number, (dictionary, feature_idx, own) in enumerate(wanted):
            if rows[index] not in own:
                continue
            acts = dictionary.encode(resid[dictionary.hook_name], torch.tensor([feature_idx]))[:, 0]
            peak = int(acts.argmax())
            stop = places[skip_tokens + peak] + 1
            peaks[number, rows[index]] = Excerpt(tuple(texts[index][:stop]), places[0], float(acts[peak]))
    excerpts = [[peaks[number, row] for row in own] for number, (_, _, own) in enumerate(wanted)]
    return [[one for one in own if one.activation > 0] for own in excerpts], (total / max(n_tokens, 1)).float()
