"""The sparse step of topk and batchtopk.

Selection ranks activations by their decoder norm (`rescale_acts_by_decoder_norm`); the norms cancel in the
reconstruction, sum_i (a_i |d_i|) (d_i / |d_i|), so they have no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emosae.training.firings import Firings, rising_order
from emosae.training.sparse_step import (
    Gradients,
    SparseOutput,
    count_fired,
    gather_gradients,
    is_plain,
    mean_over_world,
)
from emosae.training.top_values import kth_largest, top_overall, top_per_row
from emosae.training.world import World


def has_topk_step(sae: Any) -> bool:
    """Whether this is topk or batchtopk as sae-lens trains them by default."""
    cfg = sae.cfg
    if cfg.architecture() not in ("topk", "batchtopk"):
        return False
    return cfg.rescale_acts_by_decoder_norm and not cfg.use_sparse_activations and is_plain(sae)


def topk_backward(
    sae: Any, sae_in: Float[Tensor, "batch d_in"], dead: Bool[Tensor, " d_sae"], world: World
) -> SparseOutput:
    """One forward and backward pass: fills `.grad` of the parameters with this process' share.

    Args:
        sae: The training SAE; `has_topk_step` says whether it may be given.
        sae_in: Scaled residuals.
        dead: Features that the auxiliary loss tries to revive.
        world: The processes that hold equally large parts of the batch.
    """
    norm = sae.W_dec.detach().norm(dim=1)
    centred = sae_in - sae.b_dec
    ranked = torch.addmm(sae.b_enc * norm, centred, sae.W_enc.detach() * norm)
    firings, kept = _select(ranked, sae, world)
    acts = kept / norm[firings.feature]
    rebuilt, pull = firings.decode(acts, sae.W_dec)
    error = rebuilt + sae.b_dec - sae_in
    slope = error * (2 / (len(sae_in) * world.size))
    gradients = gather_gradients(firings, centred, acts, slope, pull(slope))
    losses = {"mse_loss": mean_over_world(error.square(), len(sae_in), world)}
    losses["auxiliary_reconstruction_loss"] = _revive(sae, centred, ranked, norm, -error, dead, world, gradients)
    gradients.hand_over(sae)
    return SparseOutput(losses, firings, kept, error + sae_in, count_fired(firings))


def _select(ranked: Float[Tensor, "batch d_sae"], sae: Any, world: World) -> tuple[Firings, Float[Tensor, " n"]]:
    """The k largest per token (topk), or k per token on average over all processes (batchtopk); none negative."""
    n_tokens, d_sae = ranked.shape
    if sae.cfg.architecture() == "topk":
        values, columns = top_per_row(ranked, int(sae.cfg.k))
        token = torch.arange(n_tokens, device=ranked.device).repeat_interleave(columns.shape[1])
        feature, values = columns.flatten(), values.flatten()
        kept = values > 0
    else:
        count = int(sae.cfg.k * n_tokens * world.size)
        values, positions = top_overall(ranked, min(count, ranked.numel()))
        order = rising_order(positions // d_sae, n_tokens)
        values, positions = values[order], positions[order]
        token, feature = positions // d_sae, positions % d_sae
        kept = values > 0
        if world.size > 1:
            kept &= values >= kth_largest(ranked, count, world)
    firings = Firings(token, feature, n_tokens, d_sae)
    return (firings, values) if kept.all() else (firings.where(kept), values[kept])


def _revive(
    sae: Any,
    centred: Float[Tensor, "batch d_in"],
    ranked: Float[Tensor, "batch d_sae"],
    norm: Float[Tensor, " d_sae"],
    residual: Float[Tensor, "batch d_in"],
    dead: Bool[Tensor, " d_sae"],
    world: World,
    gradients: Gradients,
) -> Tensor:
    """Loss of rebuilding what is left over from the dead features that come nearest to firing; adds its gradients.

    Source: sae-lens' `calculate_topk_aux_loss` (after Gao et al., arXiv 2406.04093, appendix A.2): the d_in / 2
    largest per token, weighted down where fewer are dead.
    """
    index = dead.nonzero()[:, 0]
    if len(index) == 0:
        return residual.new_zeros(())
    k_aux = centred.shape[1] // 2
    scale = min(len(index) / k_aux, 1.0) * sae.cfg.aux_loss_coefficient
    hidden = ranked[:, index]
    kept = None
    if len(index) > k_aux:
        kept = torch.zeros_like(hidden, dtype=torch.bool)
        kept.scatter_(1, hidden.topk(k_aux, dim=1, sorted=False).indices, True)
        hidden = hidden.where(kept, 0.0)
    decoder, acts = sae.W_dec.detach()[index], hidden / norm[index]
    error = torch.addmm(residual, acts, decoder, beta=-1)
    slope = error * (2 * scale / (len(centred) * world.size))
    pre_slope = slope @ decoder.T
    if kept is not None:
        pre_slope = pre_slope.where(kept, 0.0)
    gradients.decoder[index] += acts.T @ slope
    gradients.encoder[index] += pre_slope.T @ centred
    gradients.encoder_bias[index] += pre_slope.sum(dim=0)
    return scale * mean_over_world(error.square(), len(centred), world)
