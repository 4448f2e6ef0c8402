"""How a feature's activation at one token depends on the residual stream before it, to first order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.axes import BatchResid
from emosae.connections.targets import Excerpt
from emosae.hooks import EditFn, Prompt, ResidHooks, TokenMarks, at_least_float32, pack_by_length, pad_right
from emosae.lm import LanguageModel
from emosae.sae import Dictionary


@dataclass(frozen=True, eq=False, slots=True)
class Slope:
    """The residual at one hook, and the derivative of a feature's activation by it, at every position of a text."""

    resid: Float[Tensor, "pos d_in"]
    gradient: Float[Tensor, "pos d_in"]


def read_slopes(
    lm: LanguageModel,
    dictionary: Dictionary,
    feature_idx: int,
    excerpts: Sequence[Excerpt],
    hook_names: Sequence[str],
    *,
    batch_tokens: int | None = None,
) -> Iterator[tuple[int, dict[str, Slope]]]:
    """Slopes of a feature's activation at the last token of each excerpt, by hook, with the excerpt's index.

    Derivatives are total: what a change at one hook does through everything behind it. At an activation that fires,
    that of a ReLU, JumpReLU or TopK feature is the derivative of its pre-activation.

    Args:
        lm: The model.
        dictionary: Of the feature.
        feature_idx: The feature.
        excerpts: Texts that end where it fires.
        hook_names: Where to read; none behind the dictionary's own.
        batch_tokens: Tokens in a forward pass.
    """
    batches = pack_by_length([len(one.ids) for one in excerpts], batch_tokens or lm.batch_tokens)
    for batch in batches:
        leaves: dict[str, Tensor] = {}
        edits = {name: _plant_leaf(leaves, name) for name in hook_names}
        padded = pad_right([Prompt(excerpts[index].ids) for index in batch], lm.device)
        with torch.enable_grad(), ResidHooks(lm, [*hook_names, dictionary.hook_name], edits, reads_only=True) as hooks:
            hooks.read(padded)
            last = torch.arange(len(batch), device=lm.device), padded.lengths - 1
            peaks = at_least_float32(hooks.resid[dictionary.hook_name][last])
            total = dictionary.encode(peaks)[:, feature_idx].sum()
            gradients = torch.autograd.grad(total, [leaves[name] for name in hook_names])
        for row, index in enumerate(batch):
            length = len(excerpts[index].ids)
            yield (
                index,
                {
                    name: Slope(
                        at_least_float32(hooks.resid[name][row, :length].detach()),
                        at_least_float32(gradient[row, :length]),
                    )
                    for name, gradient in zip(hook_names, gradients, strict=True)
                },
            )


def _plant_leaf(leaves: dict[str, Tensor], name: str) -> EditFn:
    """An edit that adds zeros, by which the derivative is taken."""

    def plant(resid: BatchResid, marks: TokenMarks) -> BatchResid:
        leaves[name] = torch.zeros_like(resid, requires_grad=True)
        return resid + leaves[name]

    return plant
