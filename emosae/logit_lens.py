"""What a direction says to the vocabulary: the tokens that it promotes and suppresses when it is unembedded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from emosae.axes import Direction
from emosae.lm import LanguageModel


@dataclass(frozen=True, slots=True)
class LensTokens:
    """Token ids, strongest first.

    Attributes:
        promoted: Tokens whose logits the direction raises most.
        suppressed: Tokens whose logits it lowers most.
    """

    promoted: tuple[int, ...]
    suppressed: tuple[int, ...]


@torch.no_grad()
def read_direction(lm: LanguageModel, direction: Direction, k: int = 10) -> LensTokens:
    """The ``k`` tokens at both ends of the unembedded direction (logit lens; special tokens are left out).

    The scale of the final norm is not applied: it depends on the text, the order mostly does not.
    """
    logits = lm.model.get_output_embeddings().weight.float() @ direction.to(lm.device).float()
    logits[sorted(lm.special_ids)] = 0.0
    order = logits.argsort(descending=True)
    return LensTokens(tuple(order[:k].tolist()), tuple(order.flip(0)[:k].tolist()))
