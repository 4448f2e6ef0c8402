"""Does turning a feature up make the model say what the feature stands for? The output score of its direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import t as student

from emosae.hooks import NO_EDITS, EditFn
from emosae.interventions import edit_fns
from emosae.lm import LanguageModel, Prompt, next_logits
from emosae.logit_lens import read_direction
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.statistics import Interval

TOP_TOKENS = 10


def measure_output_score(
    lm: LanguageModel, features: FeatureSet, prompts: Sequence[Sequence[int]], dose: float
) -> Interval:
    """Mean over prompts of s(turned up) - s(unsteered), with a t interval over prompts (arXiv 2505.20063, section 3).

    s = max probability of the feature's ten logit-lens tokens x (1 - (best rank - 1) / vocabulary size), in [0, 1]; the
    score lies in [-1, 1] and is 0 for a feature that moves nothing. The feature is floored at every position.

    Args:
        lm: The model.
        features: One feature; of several the first one's direction names the tokens.
        prompts: Beginnings of neutral text, as ids.
        dose: Added norm over the mean residual norm.
    """
    tokens = read_direction(lm, features.dictionary.direction(features.feature_idx[0]), TOP_TOKENS).promoted
    marked = [Prompt(tuple(ids), (True,) * len(ids)) for ids in prompts]
    raised = _scores(lm, marked, tokens, edit_fns((features.up(dose),)))
    gain = raised - _scores(lm, marked, tokens, NO_EDITS)
    half = float(student.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 2.0
    mean = float(gain.mean())
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _scores(
    lm: LanguageModel, prompts: Sequence[Prompt], tokens: Sequence[int], edits: Mapping[str, EditFn]
) -> Float[np.ndarray, " prompt"]:
    logits = next_logits(lm, prompts, edits=edits).double()
    wanted = logits[:, list(tokens)].max(dim=1).values
    probability = torch.softmax(logits, dim=1)[:, list(tokens)].max(dim=1).values
    rank = (logits > wanted[:, None]).sum(dim=1)
    return (probability * (1 - rank / logits.shape[1])).cpu().numpy()
