"""The sparse step of topk and batchtopk.

Selection ranks activations by their decoder norm (`rescale_acts_by_decoder_norm`); the norms cancel in the
reconstruction, sum_i (a_i |d_i|) (d_i / |d_i|), so they have no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emosae.encoders import top_per_row
from emosae.training.firings import Firings, rising_order
from emosae.training.screen import Ranking, screen_batch, screen_tokens
from emosae.training.sparse_step import (
    Gradients,
    SparseOutput,
    count_fired,
    gather_gradients,
    is_plain,
    mean_over_world,
)
from emosae.training.top_values import keep_largest, kth_largest, mask_top, top_overall
from emosae.training.world import World


def has_topk_step(sae: Any) -> bool:
    """Whether this is topk or batchtopk as sae-lens trains them by default."""
    cfg = sae.cfg
    if cfg.architecture() not in ("topk", "batchtopk"):
        return False
    return cfg.rescale_acts_by_decoder_norm and not cfg.use_sparse_activations and is_plain(sae)


def topk_backward(
    sae: Any,
    sae_in: Float[Tensor, "batch d_in"],
    dead: Bool[Tensor, " d_sae"],
    world: World,
    screen: torch.dtype = torch.float32,
) -> SparseOutput:
    """One forward and backward pass: fills `.grad` of the parameters with this process' share.

    Args:
        sae: The training SAE; `has_topk_step` says whether it may be given.
        sae_in: Scaled residuals.
        dead: Features that the auxiliary loss tries to revive.
        world: The processes that hold equally large parts of the batch.
        screen: Number format in which a CPU looks for what may be selected, bf16 or fp32; changes no bit.
    """
    norm = sae.W_dec.detach().norm(dim=1)
    centred = sae_in - sae.b_dec
    ranking = Ranking(centred, sae.W_enc.detach().T * norm[:, None], sae.b_enc.detach() * norm)
    firings, kept = _select(ranking, sae, world, screen)
    acts = kept / norm[firings.feature]
    rebuilt, pull = firings.decode(acts, sae.W_dec)
    error = rebuilt + sae.b_dec - sae_in
    slope = error * (2 / (len(sae_in) * world.size))
    gradients = gather_gradients(firings, centred, acts, slope, pull(slope))
    losses = {"mse_loss": mean_over_world(error.square(), len(sae_in), world)}
    losses["auxiliary_reconstruction_loss"] = _revive(sae, ranking, norm, -error, dead, world, gradients)
    gradients.hand_over(sae)
    return SparseOutput(losses, firings, kept, error + sae_in, count_fired(firings))


def _select(ranking: Ranking, sae: Any, world: World, screen: torch.dtype) -> tuple[Firings, Float[Tensor, " n"]]:
    """The k largest per token (topk), or k per token on average over all processes (batchtopk); none negative."""
    n_tokens, d_sae, k = len(ranking.tokens), len(ranking.rows), sae.cfg.k
    if world.any(not ranking.can_be_screened(), ranking.tokens.device):
        return _select_from_all(ranking.dense(), sae, world)
    if sae.cfg.architecture() == "topk":
        token, feature = screen_tokens(ranking, int(k), screen)
        values = ranking.at(token, feature)
        kept = keep_largest(values, token, n_tokens, int(k))
    else:
        count = int(k * n_tokens * world.size)
        token, feature = screen_batch(ranking, count, screen, world)
        values = ranking.at(token, feature)
        kept = _reach_the_batch(values, count, world)
    kept &= values > 0
    return Firings(token[kept], feature[kept], n_tokens, d_sae), values[kept]


def _reach_the_batch(values: Float[Tensor, " n"], count: int, world: World) -> Bool[Tensor, " n"]:
    """Which of this process' values are among the `count` largest of all processes; over several, with all ties."""
    if world.size == 1:
        return keep_largest(values, torch.zeros_like(values, dtype=torch.long), 1, count)
    mine = values.topk(min(count, len(values)), sorted=False).values
    padded = torch.nn.functional.pad(mine, (0, count - len(mine)), value=-torch.inf)
    return values >= kth_largest(padded[None], count, world)


def _select_from_all(
    ranked: Float[Tensor, "batch d_sae"], sae: Any, world: World
) -> tuple[Firings, Float[Tensor, " n"]]:
    """The same from all activations: on a GPU, or when some are no numbers, which are kept so that the loss is none."""
    n_tokens, d_sae = ranked.shape
    if sae.cfg.architecture() == "topk":
        values, columns = top_per_row(ranked, int(sae.cfg.k))
        token = torch.arange(n_tokens, device=ranked.device).repeat_interleave(columns.shape[1])
        feature, values = columns.flatten(), values.flatten()
        kept = ~(values <= 0)
    else:
        count = int(sae.cfg.k * n_tokens * world.size)
        values, positions = top_overall(ranked, min(count, ranked.numel()))
        order = rising_order(positions // d_sae, n_tokens)
        values, positions = values[order], positions[order]
        token, feature = positions // d_sae, positions % d_sae
        kept = ~(values <= 0)
        if world.size > 1:
            kept &= ~(values < kth_largest(ranked, count, world))
    firings = Firings(token, feature, n_tokens, d_sae)
    return (firings, values) if kept.all() else (firings.where(kept), values[kept])


def _revive(
    sae: Any,
    ranking: Ranking,
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
    centred = ranking.tokens
    k_aux = centred.shape[1] // 2
    scale = min(len(index) / k_aux, 1.0) * sae.cfg.aux_loss_coefficient
    hidden = ranking.of(index)
    kept = mask_top(hidden, k_aux) if len(index) > k_aux else None
    if kept is not None:
        hidden *= kept
    decoder, acts = sae.W_dec.detach()[index], hidden / norm[index]
    error = torch.addmm(residual, acts, decoder, beta=-1)
    slope = error * (2 * scale / (len(centred) * world.size))
    pre_slope = slope @ decoder.T
    if kept is not None:
        pre_slope *= kept
    gradients.decoder[index] += acts.T @ slope
    gradients.encoder[index] += pre_slope.T @ centred
    gradients.encoder_bias[index] += pre_slope.sum(dim=0)
    return scale * mean_over_world(error.square(), len(centred), world)
