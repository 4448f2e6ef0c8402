"""Arithmetic on the residual stream: set, bound, scale or remove features, or add a direction.

An SAE with a linear decoder writes a residual as `decode(acts) + error`. Giving feature j the activation `value`
instead of `act`, with the error carried through, is `resid + (value - act) * d_j`: no decoding, and no encoder column
but j's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from emosae.axes import Direction, Resid
from emosae.errors import UserError
from emosae.hooks import EditFn, Prompt
from emosae.lm import LanguageModel, read_logits, read_resid
from emosae.sae import Dictionary

Where = Literal["all", "prompt", "generated"]


@dataclass(frozen=True, slots=True)
class Clamp:
    """Set a feature's activation to `value`."""

    feature_idx: int
    value: float

    def apply(self, acts: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """The activation that takes the place of `acts`."""
        return torch.full_like(acts, self.value)


@dataclass(frozen=True, slots=True)
class Floor:
    """Raise a feature's activation to `value` where it is lower."""

    feature_idx: int
    value: float

    def apply(self, acts: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """The activation that takes the place of `acts`."""
        return acts.clamp(min=self.value)


@dataclass(frozen=True, slots=True)
class Cap:
    """Lower a feature's activation to `value` where it is higher."""

    feature_idx: int
    value: float

    def apply(self, acts: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """The activation that takes the place of `acts`."""
        return acts.clamp(max=self.value)


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply a feature's activation by `factor`."""

    feature_idx: int
    factor: float

    def apply(self, acts: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """The activation that takes the place of `acts`."""
        return acts * self.factor


@dataclass(frozen=True, slots=True)
class Ablate:
    """Set a feature's activation to 0."""

    feature_idx: int

    def apply(self, acts: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """The activation that takes the place of `acts`."""
        return torch.zeros_like(acts)


@dataclass(frozen=True, eq=False, slots=True)
class Steer:
    """Add `coeff * direction`; the direction keeps the length that it is given with."""

    direction: Direction
    coeff: float


FeatureOp = Clamp | Floor | Cap | Scale | Ablate
Op = FeatureOp | Steer


@dataclass(frozen=True, eq=False, slots=True)
class Intervention:
    """Operations at one hook.

    Attributes:
        hook_name: Where in the model.
        dictionary: Whose features the operations name; None if they are all `Steer`.
        ops: Operations, all computed from the activations that the unedited residual has. Several on one feature
            follow each other in order.
        where: The tokens concerned: all, those given to the model, or those that it wrote.
    """

    hook_name: str
    dictionary: Dictionary | None
    ops: tuple[Op, ...]
    where: Where = "all"

    def __post_init__(self) -> None:
        named = [op for op in self.ops if not isinstance(op, Steer)]
        if named and self.dictionary is None:
            raise UserError(f"intervention at {self.hook_name}: {named[0]} names a feature, so it needs an SAE")
        for op in named:
            assert self.dictionary is not None
            if not 0 <= op.feature_idx < self.dictionary.d_sae:
                name, d_sae = self.dictionary.name, self.dictionary.d_sae
                raise UserError(f"feature {op.feature_idx} does not exist: SAE {name} has {d_sae}, counted from 0")


def edit_resid(resid: Resid, dictionary: Dictionary | None, ops: Sequence[Op]) -> Resid:
    """Apply operations at every token. Without operations the very same bits come back."""
    change = _compile(dictionary, ops)
    return resid if change is None else resid + change(resid)


def _compile(dictionary: Dictionary | None, ops: Sequence[Op]) -> Callable[[Tensor], Tensor] | None:
    """What operations add to a residual, as a function; what does not depend on the residual is computed here."""
    if not ops:
        return None
    chains: dict[int, list[FeatureOp]] = {}
    for op in ops:
        if not isinstance(op, Steer):
            chains.setdefault(op.feature_idx, []).append(op)
    steers = [op.coeff * op.direction for op in ops if isinstance(op, Steer)]
    constant = torch.stack(steers).sum(0) if steers else None
    if not chains:
        return lambda resid: _at(constant, resid).expand_as(resid)
    assert dictionary is not None
    feature_idx = torch.tensor(list(chains))
    directions = torch.stack([dictionary.direction(j) for j in chains])

    def change(resid: Tensor) -> Tensor:
        acts = dictionary.encode(resid.to(directions), feature_idx)
        wanted = torch.stack([_apply_all(chain, acts[:, k]) for k, chain in enumerate(chains.values())], dim=1)
        added = einsum(wanted - acts, directions, "token k, k d_in -> token d_in").to(resid)
        return added if constant is None else added + _at(constant, resid)

    return change


def _apply_all(chain: Sequence[FeatureOp], acts: Tensor) -> Tensor:
    for op in chain:
        acts = op.apply(acts)
    return acts


def _at(constant: Tensor | None, resid: Tensor) -> Tensor:
    assert constant is not None
    return constant.to(resid)


def edit_fns(interventions: Sequence[Intervention]) -> dict[str, EditFn]:
    """Interventions as edits by hook name; those that share a hook all see the unedited residual and add up.

    Padding is never touched.
    """
    by_hook: dict[str, list[tuple[Where, Callable[[Tensor], Tensor]]]] = {}
    for intervention in interventions:
        change = _compile(intervention.dictionary, intervention.ops)
        if change is not None:
            by_hook.setdefault(intervention.hook_name, []).append((intervention.where, change))
    return {hook_name: _edit_fn(changes) for hook_name, changes in by_hook.items()}


def _edit_fn(changes: Sequence[tuple[Where, Callable[[Tensor], Tensor]]]) -> EditFn:
    def edit(resid: Tensor, is_generated: Tensor, is_real: Tensor) -> Tensor:
        edited = resid
        for where, change in changes:
            chosen = _choose(where, is_generated, is_real)
            if chosen.any():
                edited = edited.clone() if edited is resid else edited
                edited[chosen] += change(resid[chosen])
        return edited

    return edit


def _choose(
    where: Where, is_generated: Bool[Tensor, "batch pos"], is_real: Bool[Tensor, "batch pos"]
) -> Bool[Tensor, "batch pos"]:
    if where == "all":
        return is_real
    return is_real & (is_generated if where == "generated" else ~is_generated)


def floor_for_dose(dictionary: Dictionary, feature_idx: int, mean_resid_norm: float, dose: float) -> float:
    """The activation at which a feature's own contribution is `dose` times as long as an average residual."""
    norm = float(dictionary.direction(feature_idx).norm())
    if norm == 0:
        raise UserError(f"feature {feature_idx} of SAE {dictionary.name} writes nothing, so it has no dose")
    return dose * mean_resid_norm / norm


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
