"""Drawing tokens from logits, and knowing when a text is at its end."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from emosae.errors import UserError
from emosae.lm import LanguageModel


class StopRule:
    """When a row ends: at a stop id, or when what was written contains a stop text."""

    def __init__(self, lm: LanguageModel, stop_ids: Collection[int], stop_text: Sequence[str]) -> None:
        self._lm, self._stop_text, self._stop_ids = lm, tuple(stop_text), frozenset(stop_ids)
        self._last_chars = {text[-1] for text in stop_text}
        self._closes: dict[int, bool] = {}

    def ends(self, written: Sequence[int]) -> bool:
        """Whether a row ends with its last token."""
        last = written[-1]
        return last in self._stop_ids or bool(
            self._stop_text and self._may_close(last) and self._contains_stop(written)
        )

    def _may_close(self, token: int) -> bool:
        """Whether a stop text can end inside this token: it holds such a last character, or a part of one."""
        if token not in self._closes:
            piece = self._lm.decode([token])
            unclear = "\ufffd" in piece or not piece or " " in self._last_chars  # a lone space may be stripped
            self._closes[token] = unclear or any(char in piece for char in self._last_chars)
        return self._closes[token]

    def _contains_stop(self, ids: Sequence[int]) -> bool:
        text = self._lm.decode(ids)
        return any(stop in text for stop in self._stop_text)

    def cut(self, ids: Sequence[int]) -> str:
        """A row's text without what ended it."""
        text = self._lm.decode(ids[:-1] if ids[-1] in self._stop_ids else ids)
        return text[: min((text.find(stop) for stop in self._stop_text if stop in text), default=len(text))]


def choose_tokens(
    logits: Float[Tensor, "row d_vocab"], uniforms: Float[Tensor, " row"], temperature: float
) -> Int[Tensor, " row"]:
    """Invert each row's distribution function, ids in order, at its uniform number; temperature 0: the largest logit.

    The function is summed up over blocks of the vocabulary and then inside one block, which is faster and changes
    nothing. Never chooses a token of probability 0. Refused: logits that are not numbers.
    """
    top = logits.amax(dim=1, keepdim=True)
    if not top.isfinite().all():
        raise UserError("the model's logits are not finite: run it in float32, or with smaller edits")
    if temperature == 0:
        return logits.argmax(dim=1)
    weights = torch.exp((logits - top) / temperature)
    size = math.isqrt(weights.shape[1] - 1) + 1
    blocks = rearrange(
        functional.pad(weights, (0, -weights.shape[1] % size)), "row (block id) -> row block id", id=size
    )
    below = functional.pad(blocks.sum(dim=2).double().cumsum(dim=1), (1, 0))
    target = uniforms[:, None].double() * below[:, -1:]
    block = torch.searchsorted(below, target, right=True) - 1
    floor, ceiling = below.gather(1, block), below.gather(1, block + 1)
    share = ((target - floor) / (ceiling - floor)).clamp(max=1 - 2**-53)  # of the block's weight, below 1
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]].double().cumsum(dim=1)
    return (block * size + torch.searchsorted(inside, share * inside[:, -1:], right=True))[:, 0]
