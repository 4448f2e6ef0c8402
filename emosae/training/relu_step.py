"""The sparse step of standard and jumprelu, for as long as few features fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.training.sparse_step import (
    MAX_DENSITY,
    Gradients,
    SparseOutput,
    count_fired,
    find_above,
    gather_gradients,
    is_plain,
    mean_over_world,
)
from emosae.training.world import World

_SAMPLE = 64


def has_relu_step(sae: Any) -> bool:
    """Whether this is standard with an L1 penalty, or jumprelu with a step or quadratic one and no other loss."""
    cfg = sae.cfg
    if cfg.architecture() == "standard":
        return cfg.lp_norm == 1.0 and is_plain(sae)
    if cfg.architecture() == "jumprelu":
        plain = cfg.jumprelu_sparsity_loss_mode in ("step", "quadratic") and cfg.pre_act_loss_coefficient is None
        return plain and is_plain(sae)
    return False


def fires_rarely(sae: Any, sae_in: Float[Tensor, "batch d_in"]) -> bool:
    """Whether few enough features fire on the first tokens of a batch for the sparse step to be the faster one."""
    hidden = torch.addmm(sae.b_enc, sae_in[:_SAMPLE] - sae.b_dec, sae.W_enc)
    return float((hidden > _least(sae)).float().mean()) < MAX_DENSITY


def _least(sae: Any) -> Tensor | float:
    """What a pre-activation must exceed to have an activation or a gradient."""
    return sae.threshold - sae.bandwidth / 2 if sae.cfg.architecture() == "jumprelu" else 0.0


def relu_backward(
    sae: Any, sae_in: Float[Tensor, "batch d_in"], coefficients: Mapping[str, float], world: World
) -> SparseOutput:
    """One forward and backward pass: fills `.grad` of the parameters with this process' share.

    Args:
        sae: The training SAE; `has_relu_step` says whether it may be given.
        sae_in: Scaled residuals.
        coefficients: sae-lens' loss coefficients at this step.
        world: The processes that hold equally large parts of the batch.
    """
    if sae.cfg.architecture() == "jumprelu":
        sae.threshold.data.clamp_(min=0.0)
        return _jumprelu(sae, sae_in, coefficients["l0"], world)
    return _standard(sae, sae_in, coefficients["l1"], world)


def _standard(sae: Any, sae_in: Float[Tensor, "batch d_in"], l1: float, world: World) -> SparseOutput:
    n_whole = len(sae_in) * world.size
    centred, norm = sae_in - sae.b_dec, sae.W_dec.norm(dim=1)
    firings, acts = find_above(torch.addmm(sae.b_enc, centred, sae.W_enc), 0.0)
    rebuilt, pull = firings.decode(acts, sae.W_dec)
    error = rebuilt + sae.b_dec - sae_in
    slope = error * (2 / n_whole)
    gradients = gather_gradients(firings, centred, acts, slope, pull(slope) + norm[firings.feature] * (l1 / n_whole))
    total = firings.sum_by_feature(acts)
    gradients.decoder += sae.W_dec * (total / norm * (l1 / n_whole))[:, None]
    gradients.hand_over(sae)
    losses = {"mse_loss": mean_over_world(error.square(), len(sae_in), world), "l1_loss": (total @ norm) * l1 / n_whole}
    return SparseOutput(losses, firings, acts, error + sae_in, count_fired(firings))


def _jumprelu(sae: Any, sae_in: Float[Tensor, "batch d_in"], coefficient: float, world: World) -> SparseOutput:
    """Gradients of the jump by sae-lens' straight-through estimator: a rectangle of one bandwidth round the threshold.

    The set that is computed is wider than what fires: it also holds what lies half a bandwidth below the threshold.
    """
    n_whole, centred = len(sae_in) * world.size, sae_in - sae.b_dec
    near, hidden = find_above(torch.addmm(sae.b_enc, centred, sae.W_enc), _least(sae))
    threshold = sae.threshold[near.feature]
    fires = hidden > threshold
    acts = hidden * fires
    rebuilt, pull = near.decode(acts, sae.W_dec)
    error = rebuilt + sae.b_dec - sae_in
    slope = error * (2 / n_whole)
    act_slope = pull(slope)
    loss, l0_slope = _sparsity(sae, near.sum_by_token(fires.float()), coefficient, world)
    in_band = ((hidden - threshold) / sae.bandwidth).abs() < 0.5
    jump = in_band * (threshold * act_slope + l0_slope[near.token]) / sae.bandwidth
    pre_slope = fires * act_slope + (jump if sae.cfg.jumprelu_ste_to_input else 0.0)
    gradients: Gradients = gather_gradients(near, centred, acts, slope, pre_slope)
    gradients.hand_over(sae)
    sae.threshold.grad = -near.sum_by_feature(jump)
    losses = {"mse_loss": mean_over_world(error.square(), len(sae_in), world), "l0_loss": loss}
    firings = near.where(fires)
    return SparseOutput(losses, firings, acts[fires], error + sae_in, count_fired(firings))


def _sparsity(
    sae: Any, l0: Float[Tensor, " token"], coefficient: float, world: World
) -> tuple[Tensor, Float[Tensor, " token"]]:
    """The penalty on how many features fire, and its slope by each token's l0."""
    n_whole = len(l0) * world.size
    if sae.cfg.jumprelu_sparsity_loss_mode == "step":
        return l0.sum() * coefficient / n_whole, torch.full_like(l0, coefficient / n_whole)
    target = sae.cfg.target_l0
    over = l0 - target
    return over.square().sum() * (2 * coefficient / target / n_whole), over * (4 * coefficient / target / n_whole)
