"""Activations at single tokens, for pages that colour a text by a feature."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emosae.activations import find_real_tokens, read_tokens
from emosae.features.records import TokenActs
from emosae.lm import LanguageModel
from emosae.sae import Dictionary
from emosae.stories import Story


def token_acts(lm: LanguageModel, dictionary: Dictionary, story: Story, feature_idx: Sequence[int]) -> TokenActs:
    """Activations of some features at every real token of one story."""
    return token_acts_many(lm, dictionary, [story], [feature_idx])[0]


@torch.no_grad()
def token_acts_many(
    lm: LanguageModel,
    dictionary: Dictionary,
    stories: Sequence[Story],
    feature_idx: Sequence[Sequence[int]],
    *,
    batch_tokens: int | None = None,
) -> list[TokenActs]:
    """Activations at every real token of several stories, read together; `feature_idx` has one list per story."""
    documents = [lm.document(story.text) for story in stories]
    acts = {}
    for index, resid in read_tokens(lm, documents, [dictionary.hook_name], batch_tokens=batch_tokens):
        wanted = torch.tensor(feature_idx[index], dtype=torch.long)
        acts[index] = dictionary.encode(resid[dictionary.hook_name], feature_idx=wanted).float().cpu()
    return [
        TokenActs(
            story_id=story.id,
            tokens=tuple(lm.decode([document[pos]]) for pos in find_real_tokens(lm, document)),
            feature_idx=tuple(feature_idx[index]),
            acts=acts[index],
        )
        for index, (story, document) in enumerate(zip(stories, documents, strict=True))
    ]
