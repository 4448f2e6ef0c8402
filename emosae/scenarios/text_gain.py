"""Does turning a feature up make a model expect the text of its emotion? Asked of stories, not of behaviour.

A feature can tell an emotion apart because it says "such a word comes next" or because it holds the state that the
following text is written from; only the second moves what a model does. The difference shows in the likelihood of
whole stories, so candidates are told apart by it before any scenario is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emosae.hooks import NO_EDITS, EditFn
from emosae.interventions import edit_fns
from emosae.lm import LanguageModel, Prompt, read_logits
from emosae.scenarios.conditions import FeatureSet


def measure_text_gains(
    lm: LanguageModel,
    sets: Sequence[FeatureSet],
    own: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]],
    dose: float,
) -> list[float]:
    """For each dial, how much more turning it up helps its emotion's stories than others', in nats per token.

    gain = mean over `own` of (log p(text | up) - log p(text)) minus the same over `others`, each averaged over the
    text's tokens. 0 is chance: an edit that helps or harms all text alike gains nothing. There is no bound.

    Args:
        lm: The model.
        sets: Dials of one emotion.
        own: Its stories as ids.
        others: Stories of other emotions and neutral ones.
        dose: Added norm over the mean residual norm; the features are floored at every token.
    """
    texts = [Prompt(tuple(ids), (True,) * len(ids)) for ids in (*own, *others)]
    plain = log_likelihoods(lm, texts, NO_EDITS)
    gains = []
    for features in sets:
        change = log_likelihoods(lm, texts, edit_fns((features.up(dose),))) - plain
        gains.append(float(change[: len(own)].mean() - change[len(own) :].mean()))
    return gains


def log_likelihoods(
    lm: LanguageModel, texts: Sequence[Prompt], edits: Mapping[str, EditFn]
) -> Float[np.ndarray, " text"]:
    """Mean log probability of each text's tokens after the first."""
    found = np.empty(len(texts))
    for index, logits in read_logits(lm, texts, edits=edits):
        ids: Tensor = torch.tensor(texts[index].ids[1:], device=logits.device)
        log_p = logits[:-1].log_softmax(dim=1).gather(1, ids[:, None])
        found[index] = float(log_p.double().mean())
    return found
