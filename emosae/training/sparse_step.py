"""Loss and gradients in closed form, computed only where features fire.

sae-lens' step builds the dense matrix of activations and lets autograd send six dense products through it. With few of
d_sae features active, all but the encoder's product are sparse. Checked against sae-lens' own gradients, parameter by
parameter, in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosae.training.firings import Firings
from emosae.training.world import World

MAX_DENSITY = 1 / 16
"""Share of features that may fire on a token for the sparse products to be worth their while."""


@dataclass(frozen=True, eq=False, slots=True)
class SparseOutput:
    """What a step found.

    Attributes:
        losses: This process' share of each loss, by sae-lens' name; they add up to the total over processes.
        firings: What fired.
        acts: How strongly, as sae-lens counts it.
        sae_out: The reconstruction.
        fired: How many tokens each feature fired on.
    """

    losses: Mapping[str, Tensor]
    firings: Firings
    acts: Float[Tensor, " n"]
    sae_out: Float[Tensor, "batch d_in"]
    fired: Int[Tensor, " d_sae"]


def is_plain(sae: Any) -> bool:
    """Whether the closed forms cover how the SAE takes its input: fp32, decoder bias taken off, at most scaled."""
    cfg = sae.cfg
    return (
        cfg.apply_b_dec_to_input
        and cfg.normalize_activations in ("none", "expected_average_only_in")
        and sae.dtype == torch.float32
    )


@dataclass(eq=False, slots=True)
class Gradients:
    """Where the gradients of encoder and decoder are gathered before they are handed to the parameters."""

    encoder: Float[Tensor, "d_sae d_in"]
    decoder: Float[Tensor, "d_sae d_in"]
    encoder_bias: Float[Tensor, " d_sae"]
    decoder_bias: Float[Tensor, " d_in"]

    def hand_over(self, sae: Any) -> None:
        """Set `.grad` of the parameters; the decoder's bias also reaches the loss through the encoder's input."""
        sae.W_enc.grad, sae.W_dec.grad, sae.b_enc.grad = self.encoder.T, self.decoder, self.encoder_bias
        sae.b_dec.grad = self.decoder_bias - sae.W_enc.detach() @ self.encoder_bias


def gather_gradients(
    firings: Firings,
    centred: Float[Tensor, "batch d_in"],
    acts: Float[Tensor, " n"],
    slope: Float[Tensor, "batch d_in"],
    pre_slope: Float[Tensor, " n"],
) -> Gradients:
    """Gradients from those of the reconstruction (`slope`) and of the pre-activations (`pre_slope`)."""
    decoder, encoder = firings.sum_rows_by_feature(((slope, acts), (centred, pre_slope)))
    return Gradients(encoder, decoder, firings.sum_by_feature(pre_slope), slope.sum(dim=0))


def count_fired(firings: Firings) -> Int[Tensor, " d_sae"]:
    """How many tokens each feature fires on."""
    return torch.bincount(firings.feature, minlength=firings.d_sae)


def find_above(hidden: Float[Tensor, "batch d_sae"], least: Tensor | float) -> tuple[Firings, Float[Tensor, " n"]]:
    """Where pre-activations exceed a bound, and how large they are there."""
    mask: Bool[Tensor, "batch d_sae"] = hidden > least
    token, feature = mask.nonzero(as_tuple=True)
    return Firings(token, feature, *hidden.shape), hidden[token, feature]


def mean_over_world(values: Tensor, n_tokens: int, world: World) -> Tensor:
    """This process' share of a mean over the tokens of all processes."""
    return values.sum() / (n_tokens * world.size)
