"""What a direction says to the vocabulary: the tokens that it promotes and suppresses when it is unembedded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

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


@dataclass(frozen=True, slots=True)
class LensLogits:
    """What one direction says to the vocabulary.

    Attributes:
        promoted: Token ids and logits, the highest logit first.
        suppressed: The same, the lowest first.
    """

    promoted: tuple[tuple[int, float], ...]
    suppressed: tuple[tuple[int, float], ...]


@torch.no_grad()
def read_directions(
    lm: LanguageModel, directions: Float[Tensor, "feature d_in"], k: int = 10, *, batch: int = 32
) -> list[LensLogits]:
    """The tokens at both ends of each direction, read through the final norm.

    logits = W_U (N(d) - N(0)), less their mean over the vocabulary, where N is the model's final norm and W_U its
    unembedding. N takes out the length of d, so logits of different directions can be compared; what stands in the
    stream beside d, which scales them all, is left out. Special tokens, and rows of W_U without a token, are left out.
    """
    norm, unembed = find_final_norm(lm), lm.model.get_output_embeddings().weight
    kept = torch.tensor([token for token in range(min(len(unembed), len(lm.tokenizer))) if token not in lm.special_ids])
    nothing = norm(torch.zeros(1, directions.shape[1], dtype=unembed.dtype, device=unembed.device))
    found = []
    for some in directions.split(batch):
        seen = (norm(some.to(unembed.device, unembed.dtype)) - nothing).float()
        logits = (seen @ unembed.float().T).cpu()[:, kept]
        logits -= logits.mean(dim=1, keepdim=True)
        n = min(k, logits.shape[1])
        ends = [logits.topk(n, dim=1, largest=largest) for largest in (True, False)]
        for row in range(len(some)):
            pairs = [tuple(zip(kept[end.indices[row]].tolist(), end.values[row].tolist(), strict=True)) for end in ends]
            found.append(LensLogits(*pairs))
    return found


def find_final_norm(lm: LanguageModel) -> nn.Module:
    """The norm between the last block and the unembedding; the identity where a model has none."""
    names = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
    for _, module in lm.model.get_decoder().named_modules():
        children = dict(module.named_children())
        if any(isinstance(child, nn.ModuleList) and len(child) == lm.n_layers for child in children.values()):
            return next((children[name] for name in names if isinstance(children.get(name), nn.Module)), nn.Identity())
    return nn.Identity()
