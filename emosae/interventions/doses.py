"""How much an intervention does, in three units: own maximum, added norm, and what it changes of neutral text.

The norm unit is the one that arms are set in: the length of what is added, over the mean length of a residual at that
hook. A feature's own contribution is counted as if the feature were silent before, which is the most that a floor adds.
The maximum unit compares a feature's value with the strongest that it reached by itself, and follows from the norm by a
factor. The KL unit has to be measured on the model (`token_kl`), and is found again by bisection (`norm_for_kl`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from emosae.axes import Direction
from emosae.errors import UserError
from emosae.hooks import EditFn
from emosae.lm import LanguageModel, read_logits, read_resid
from emosae.prompts import Prompt
from emosae.sae import Dictionary


def unit_sum(dictionary: Dictionary, feature_idx: Sequence[int]) -> Direction:
    """Sum of the features' unit directions: where they push together with equal shares. Refused: one without length."""
    rows = torch.stack([dictionary.direction(index).float() for index in feature_idx])
    norms = rows.norm(dim=1, keepdim=True)
    if not (norms > 0).all():
        silent = feature_idx[int((norms == 0).nonzero()[0, 0])]
        raise UserError(f"feature {silent} of SAE {dictionary.name} writes nothing, so it has no dose")
    return (rows / norms).sum(dim=0)


def values_for_norm(
    dictionary: Dictionary, feature_idx: Sequence[int], mean_norm: float, dose: float
) -> tuple[float, ...]:
    """The activations at which features together add `dose` mean residual norms, with equal shares each."""
    share = dose * mean_norm / float(unit_sum(dictionary, feature_idx).norm())
    return tuple(share / float(dictionary.direction(index).norm()) for index in feature_idx)


def norm_of_values(
    dictionary: Dictionary, feature_idx: Sequence[int], mean_norm: float, values: Sequence[float]
) -> float:
    """Length of what features at these activations add together, over the mean residual norm."""
    rows = torch.stack([dictionary.direction(index).double() for index in feature_idx])
    return float((torch.tensor(values, dtype=rows.dtype, device=rows.device) @ rows).norm()) / mean_norm


def values_for_max(max_act: Sequence[float], multiple: float) -> tuple[float, ...]:
    """The activations that are `multiple` times each feature's own maximum."""
    return tuple(multiple * peak for peak in max_act)


def max_of_values(values: Sequence[float], max_act: Sequence[float]) -> float:
    """Activations over the features' own maxima, averaged over the features; NaN where the maxima are unknown."""
    if not max_act:
        return math.nan
    return float(np.mean([value / peak for value, peak in zip(values, max_act, strict=True)]))


def norm_for_kl(kl_at: Callable[[float], float], target: float, most: float, *, steps: int = 12) -> float:
    """The norm dose in [0, `most`] at which the KL reaches `target`, by bisection to `most` / 2^`steps`.

    The KL is taken to rise with the dose; where it does not, one of the doses at which it crosses the target is found.
    NaN if `most` does not reach it.
    """
    if target <= 0:
        raise UserError(f"a KL of {target:g}: give one above 0, in nats per token")
    if kl_at(most) < target:
        return math.nan
    low, high = 0.0, most
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if kl_at(middle) < target else (low, middle)
    return high


def mean_resid_norm(lm: LanguageModel, prompts: Sequence[Prompt | Sequence[int]], hook_name: str) -> float:
    """Average length of a residual over all tokens but special ones, whose residuals can be far longer."""
    total, n_tokens = 0.0, 0
    for index, resid in read_resid(lm, prompts, [hook_name]):
        prompt = prompts[index]
        ids = prompt.ids if isinstance(prompt, Prompt) else prompt
        is_text = torch.tensor([token not in lm.special_ids for token in ids], device=lm.device)
        total += resid[hook_name][is_text].norm(dim=1).double().sum().item()
        n_tokens += int(is_text.sum())
    if n_tokens == 0:
        raise UserError("there is no text to take the average residual norm of")
    return total / n_tokens


def token_kl(lm: LanguageModel, prompts: Sequence[Prompt | Sequence[int]], edits: Mapping[str, EditFn]) -> float:
    """How far edits move what the model says of other text: KL(unedited || edited) in nats, averaged over tokens.

    0 means no change. For edits of generated tokens mark the text as generated (`Prompt`), else nothing is edited.
    """
    total, n_tokens = 0.0, 0
    pages = zip(read_logits(lm, prompts), read_logits(lm, prompts, edits=edits), strict=True)
    for (_, unedited), (_, edited) in pages:
        log_p, log_q = unedited.log_softmax(dim=1), edited.log_softmax(dim=1)
        total += (log_p.exp() * (log_p - log_q)).sum(dtype=torch.float64).item()
        n_tokens += len(unedited)
    if n_tokens == 0:
        raise UserError("there is no text to measure the KL on")
    return total / n_tokens
