"""Loss and gradients of the TopK families in closed form, computed only where features fire.

sae-lens' step builds the dense matrix of activations and lets autograd send six dense products through it. With k of
d_sae features active, all but the encoder's product are sparse. Selection ranks activations by their decoder norm
(`rescale_acts_by_decoder_norm`); the norms cancel in the reconstruction, sum_i (a_i |d_i|) (d_i / |d_i|), so they
have no gradient. Checked against sae-lens' own gradients, parameter by parameter, in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from emosae.training.top_values import kth_largest, top_overall, top_per_row
from emosae.training.world import World


@dataclass(frozen=True, eq=False, slots=True)
class ActiveFeatures:
    """Which features fire on which tokens of a batch, ordered by token.

    Attributes:
        token: Index of the token of each firing.
        feature: Index of the feature of each firing.
        acts: Its activation, before it is scaled by the decoder norm.
        ranked: What it was selected by: activation times decoder norm.
    """

    token: Int[Tensor, " n"]
    feature: Int[Tensor, " n"]
    acts: Float[Tensor, " n"]
    ranked: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False, slots=True)
class SparseOutput:
    """What a step found: this process' share of the losses, what fired, and the reconstruction."""

    mse: Tensor
    aux: Tensor
    active: ActiveFeatures
    sae_out: Float[Tensor, "batch d_in"]
    fired: Int[Tensor, " d_sae"]


def _offsets(sorted_index: Tensor, size: int) -> Tensor:
    """Where each of `size` groups starts in a sorted index."""
    counts = torch.bincount(sorted_index, minlength=size)
    return counts.cumsum(0) - counts


def select_active(
    ranked: Float[Tensor, "batch d_sae"], norm: Float[Tensor, " d_sae"], sae: Any, world: World
) -> ActiveFeatures:
    """The k largest per token (topk), or k per token on average over all processes (batchtopk); none negative."""
    n_tokens, d_sae = ranked.shape
    if sae.cfg.architecture() == "topk":
        values, columns = top_per_row(ranked, int(sae.cfg.k))
        token = torch.arange(n_tokens, device=ranked.device).repeat_interleave(columns.shape[1])
        feature, values = columns.flatten(), values.flatten()
    else:
        values, positions = top_overall(ranked, min(int(sae.cfg.k * n_tokens * world.size), ranked.numel()))
        token, feature = positions // d_sae, positions % d_sae
    kept = values > 0
    if world.size > 1 and sae.cfg.architecture() == "batchtopk":
        kept &= values >= kth_largest(ranked, int(sae.cfg.k * n_tokens * world.size), world)
    if not kept.all():
        token, feature, values = token[kept], feature[kept], values[kept]
    return ActiveFeatures(token, feature, values / norm[feature], values)


def has_sparse_step(sae: Any) -> bool:
    """Whether the closed form covers this SAE: topk or batchtopk as sae-lens trains them by default."""
    cfg = sae.cfg
    if cfg.architecture() not in ("topk", "batchtopk"):
        return False
    plain = cfg.rescale_acts_by_decoder_norm and cfg.apply_b_dec_to_input and not cfg.use_sparse_activations
    return plain and cfg.normalize_activations in ("none", "expected_average_only_in") and sae.dtype == torch.float32


def sparse_backward(
    sae: Any, sae_in: Float[Tensor, "batch d_in"], dead: Bool[Tensor, " d_sae"], world: World
) -> SparseOutput:
    """One forward and backward pass of a sae-lens topk or batchtopk training SAE: fills `.grad` of its parameters.

    Losses and gradients are this process' share of those of the whole batch, and add up to them over processes.

    Args:
        sae: The training SAE; `has_sparse_step` says whether it may be given.
        sae_in: Scaled residuals.
        dead: Features that the auxiliary loss tries to revive.
        world: The processes that hold parts of the batch of the same size.
    """
    n_tokens, n_whole = len(sae_in), len(sae_in) * world.size
    norm = sae.W_dec.detach().norm(dim=1)
    centred = sae_in - sae.b_dec
    ranked = torch.addmm(sae.b_enc * norm, centred, sae.W_enc.detach() * norm)
    active = select_active(ranked, norm, sae, world)
    by_token = _offsets(active.token, n_tokens)
    acts = active.acts.requires_grad_()
    with torch.enable_grad():
        rebuilt = embedding_bag(active.feature, sae.W_dec.detach(), by_token, mode="sum", per_sample_weights=acts)
    error = rebuilt.detach() + sae.b_dec - sae_in
    slope = error * (2 / n_whole)
    (act_slope,) = torch.autograd.grad(rebuilt, acts, slope)
    mse = error.square().sum() / n_whole
    order = active.feature.argsort(stable=True)
    tokens, by_feature = active.token[order], _offsets(active.feature[order], len(norm))
    firings = (tokens, by_feature)
    sae.W_dec.grad = _gather_sum(slope, firings, acts.detach()[order])
    encoder_slope = _gather_sum(centred, firings, act_slope[order])
    bias_slope = torch.zeros_like(norm).index_add_(0, active.feature, act_slope)
    sae.b_dec.grad = slope.sum(dim=0)
    aux = error.new_zeros(())
    if dead.any():
        aux = _revive(sae, centred, ranked, norm, -error, dead, n_whole, encoder_slope, bias_slope)
    sae.W_enc.grad = encoder_slope.T
    sae.b_enc.grad = bias_slope
    sae.b_dec.grad -= sae.W_enc.detach() @ bias_slope
    fired = torch.bincount(active.feature, minlength=len(norm))
    return SparseOutput(mse, aux, active, error + sae_in, fired)


def _gather_sum(rows: Tensor, firings: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """For each feature, the weighted sum of the rows of the tokens that it fires on."""
    tokens, by_feature = firings
    return embedding_bag(tokens, rows, by_feature, mode="sum", per_sample_weights=weights)


def _revive(
    sae: Any,
    centred: Float[Tensor, "batch d_in"],
    ranked: Float[Tensor, "batch d_sae"],
    norm: Float[Tensor, " d_sae"],
    residual: Float[Tensor, "batch d_in"],
    dead: Bool[Tensor, " d_sae"],
    n_whole: int,
    encoder_slope: Float[Tensor, "d_sae d_in"],
    bias_slope: Float[Tensor, " d_sae"],
) -> Tensor:
    """Loss of rebuilding what is left over from the dead features that come nearest to firing; adds its gradients.

    Source: sae-lens' `calculate_topk_aux_loss` (after Gao et al., arXiv 2406.04093, appendix A.2): the d_in / 2
    largest per token, weighted down where fewer are dead.
    """
    d_in = centred.shape[1]
    index = dead.nonzero()[:, 0]
    scale = min(len(index) / (d_in // 2), 1.0) * sae.cfg.aux_loss_coefficient
    hidden = ranked[:, index]
    if len(index) > d_in // 2:
        kept = torch.zeros_like(hidden, dtype=torch.bool)
        kept.scatter_(1, hidden.topk(d_in // 2, dim=1, sorted=False).indices, True)
        hidden = hidden.where(kept, 0.0)
    else:
        kept = None
    decoder = sae.W_dec.detach()[index]
    acts = hidden / norm[index]
    error = torch.addmm(residual, acts, decoder, beta=-1)
    slope = error * (2 * scale / n_whole)
    act_slope = slope @ decoder.T
    if kept is not None:
        act_slope = act_slope.where(kept, 0.0)
    sae.W_dec.grad[index] += acts.T @ slope
    encoder_slope[index] += act_slope.T @ centred
    bias_slope[index] += act_slope.sum(dim=0)
    return scale * error.square().sum() / n_whole
