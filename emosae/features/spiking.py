"""What a dictionary would read of stories whose residuals held more of one feature's direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.activations import read_tokens
from emosae.lm import LanguageModel
from emosae.sae import BLOCK_ELEMENTS, Dictionary
from emosae.stories import Story


@dataclass(frozen=True, eq=False, slots=True)
class SpikedStories:
    """The residuals of some stories, to all of whose tokens a feature's direction can be added.

    Attributes:
        dictionaries: SAEs by name.
        resid: Residuals at the stories' pooled tokens, by hook.
        story: Place of the story that each token belongs to.
        n_tokens: Pooled tokens of each story.
    """

    dictionaries: Mapping[str, Dictionary]
    resid: Mapping[str, Float[Tensor, "token d_in"]]
    story: Int[Tensor, " token"]
    n_tokens: Int[Tensor, " story"]

    @torch.no_grad()
    def pool(self, sae: str, feature_idx: int, strength: float, /) -> Float[np.ndarray, " story"]:
        """Mean activation of one feature once its own decoder direction is added at every token.

        The spiked residuals are encoded as any others are, with the feature's bias and threshold and, in a TopK SAE,
        in competition with the other features.

        Args:
            sae: Name of the SAE.
            feature_idx: The feature.
            strength: Added norm over the mean residual norm of these tokens; 0 gives what was pooled before.
        """
        dictionary = self.dictionaries[sae]
        resid = self.resid[dictionary.hook_name]
        direction = dictionary.direction(feature_idx).to(resid.device).float()
        size = strength * resid.float().norm(dim=1).mean()
        added = (size * direction / direction.norm().clamp_min(1e-12)).to(resid.dtype)
        column = torch.tensor([feature_idx], device=resid.device)
        rows = max(1, BLOCK_ELEMENTS // dictionary.d_sae)
        blocks = [dictionary.encode(block + added, feature_idx=column) for block in resid.split(rows)]
        acts = torch.cat(blocks)[:, 0].double().cpu()
        total = torch.zeros(len(self.n_tokens), dtype=torch.float64).index_add_(0, self.story, acts)
        return (total / self.n_tokens).numpy()


def read_spikable(
    lm: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    stories: Sequence[Story],
    *,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
) -> SpikedStories:
    """Read stories once more and keep their residuals: 4 bytes x tokens x d_in for every hook that an SAE reads.

    Args:
        lm: The model that reads.
        dictionaries: SAEs by name.
        stories: Few enough for their residuals to be held, such as those of one emotion.
        skip_tokens: Real tokens at the start of each story that are not pooled.
        batch_tokens: Tokens in a forward pass; `lm.batch_tokens` if none.
    """
    documents = [lm.document(story.text) for story in stories]
    hook_names = sorted({dictionary.hook_name for dictionary in dictionaries.values()})
    pages = list(read_tokens(lm, documents, hook_names, skip_tokens=skip_tokens, batch_tokens=batch_tokens))
    lengths = torch.tensor([len(resid[hook_names[0]]) for _, resid in pages])
    order = torch.tensor([index for index, _ in pages])
    n_tokens = torch.zeros_like(lengths)
    n_tokens[order] = lengths
    return SpikedStories(
        dictionaries=dictionaries,
        resid={name: torch.cat([resid[name] for _, resid in pages]) for name in hook_names},
        story=order.repeat_interleave(lengths),
        n_tokens=n_tokens,
    )
