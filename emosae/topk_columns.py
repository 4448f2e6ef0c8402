"""A few activations of a TopK encoder, without ranking all of them.

A unit fires if its pre-activation is positive and fewer than k others lie above it. One that is not positive is settled
at once; for the others the units above are counted in blocks, and a token is settled as soon as k were counted. Only a
unit that fires costs a product with every column.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosae.axes import FeatureActs, FeatureIdx, Resid

FIRST_BLOCK = 512
MOST_COLUMNS = 8


@dataclass(frozen=True, eq=False, slots=True)
class _Constants:
    """What depends on the weights alone: the factor of each pre-activation, if any, and the longest column with it."""

    factor: Float[Tensor, " d_sae"] | None
    longest: float
    version: tuple[int, int]


_KNOWN: weakref.WeakKeyDictionary[Any, _Constants] = weakref.WeakKeyDictionary()


def _constants(sae: Any) -> _Constants:
    version = (sae.W_enc._version, sae.W_dec._version)
    known = _KNOWN.get(sae)
    if known is None or known.version != version:
        factor = sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else None
        lengths = sae.W_enc.norm(dim=0).hypot(sae.b_enc)
        known = _Constants(factor, float((lengths if factor is None else lengths * factor).max()), version)
        _KNOWN[sae] = known
    return known


@torch.no_grad()
def encode_few(
    sae: Any, sae_in: Resid, feature_idx: FeatureIdx, copied: tuple[Tensor, Tensor] | None = None
) -> Float[Tensor, "token k"]:
    """Activations of some features of a sae-lens TopK SAE, as a full encoding gives them.

    Two products that are summed in different orders differ by float noise. Where that could decide whether a unit
    fires, and in half precision or for more than 8 features, all units are ranked as sae-lens does it. `copied` are the
    encoder's columns and biases of these features, where somebody holds them.
    """
    if sae.W_enc.dtype not in (torch.float32, torch.float64) or len(feature_idx) > MOST_COLUMNS:
        return _rank(sae, sae_in)[:, feature_idx]
    if copied is None:
        acts = _pre_acts(sae, sae_in, feature_idx).relu_()
    else:
        factor, (weights, bias) = _constants(sae).factor, copied
        acts = torch.addmm(bias, sae_in, weights)
        acts = (acts if factor is None else acts.mul_(factor[feature_idx])).relu_()
    rows = acts.gt(0).any(dim=1).nonzero()[:, 0]
    if len(rows):
        noise = _noise(sae, sae_in[rows])
        fires, is_unclear = _compete(sae, sae_in[rows], acts[rows], noise)
        acts[rows] *= fires
        unclear = rows[is_unclear]
        if len(unclear):
            acts[unclear] = _rank(sae, sae_in[unclear])[:, feature_idx]
    return acts


def narrow_few(sae: Any, feature_idx: FeatureIdx) -> Callable[[Resid], Float[Tensor, "token k"]]:
    """`encode_few` of residuals, for many calls: the features' own columns are copied side by side, as they are now."""
    columns = feature_idx.to(sae.W_enc.device)
    copied = sae.W_enc.detach()[:, columns], sae.b_enc.detach()[columns]
    return lambda resid: encode_few(sae, sae.process_sae_in(resid.to(sae.device)), columns, copied)


def _pre_acts(sae: Any, sae_in: Tensor, columns: Int[Tensor, " k"] | slice) -> Tensor:
    hidden_pre = torch.addmm(sae.b_enc[columns], sae_in, sae.W_enc[:, columns])
    factor = _constants(sae).factor
    return hidden_pre if factor is None else hidden_pre.mul_(factor[columns])


def _rank(sae: Any, sae_in: Resid) -> FeatureActs:
    """All activations, with the roundings of sae-lens' own encoding."""
    hidden_pre, factor = sae_in @ sae.W_enc + sae.b_enc, _constants(sae).factor
    return sae.activation_fn(hidden_pre if factor is None else hidden_pre * factor)


def _noise(sae: Any, sae_in: Resid) -> Float[Tensor, "token 1"]:
    """Bound of what the order of a sum changes: n eps |x| |w| for each of two sums of n terms (Higham 2002, 3.1)."""
    eps = torch.finfo(sae_in.dtype).eps
    length = sae_in.norm(dim=1, keepdim=True).hypot(sae_in.new_ones(()))
    return 2 * eps * (sae_in.shape[1] + 8) * _constants(sae).longest * length


def _compete(
    sae: Any, sae_in: Resid, acts: Float[Tensor, "token k"], noise: Float[Tensor, "token 1"]
) -> tuple[Bool[Tensor, "token k"], Bool[Tensor, " token"]]:
    """Which units have fewer than k others above them, and the tokens for which noise decides that."""
    d_sae, k = sae.W_enc.shape[1], int(sae.cfg.k)
    open_rows = torch.arange(len(acts), device=acts.device)
    surely, maybe = torch.zeros_like(acts, dtype=torch.long), torch.zeros_like(acts, dtype=torch.long)
    low, high = acts - noise, acts + noise
    start, size = 0, FIRST_BLOCK if acts.device.type == "cpu" else d_sae
    while start < d_sae and len(open_rows):
        hidden_pre = _pre_acts(sae, sae_in[open_rows], slice(start, start + size))
        for column in range(acts.shape[1]):
            for counted, level in ((surely, high), (maybe, low)):
                above = hidden_pre > level[open_rows, column, None]
                counted[open_rows, column] += above.sum(dim=1)
        start, size = start + size, 2 * size
        settled = (surely[open_rows] >= k) | (acts[open_rows] <= 0)
        open_rows = open_rows[~settled.all(dim=1)]
    fires = surely < k
    is_unclear = fires & (maybe - 1 >= k) & (acts > 0)  # each is above its own lower bound
    return fires, is_unclear.any(dim=1)
