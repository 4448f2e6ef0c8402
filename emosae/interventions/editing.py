"""Interventions as edits of the residual stream.

Order at one hook. Every feature operation is computed from the activations that the unedited residual has, so that
features of one SAE are set jointly, as in one decoding. Several operations on one feature of one SAE follow each other
in the order given, across interventions too. What all SAEs and all `Steer` add is summed. `ProjectOut` comes last:
whatever else happened, nothing is left along its direction, nor along any other that is projected out of that token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emosae.axes import BatchResid, FeatureActs, FeatureIdx, Resid
from emosae.encoders import narrow_columns
from emosae.errors import UserError
from emosae.hooks import EditFn, TokenMarks, at_least_float32
from emosae.interventions.ops import FeatureOp, Op, ProjectOut, Steer
from emosae.interventions.places import Where, choose_tokens
from emosae.sae import Dictionary, SaeLensDictionary, TopKDictionary
from emosae.topk_columns import narrow_few

_PARALLEL = 1e-5
Masks = Sequence[Bool[Tensor, " token"] | None]
"""For each intervention the tokens concerned; None: all of them."""


@dataclass(frozen=True, eq=False, slots=True)
class Intervention:
    """Operations at one hook.

    Attributes:
        hook_name: Where in the model.
        dictionary: Whose features the operations name; None if none of them names a feature.
        ops: Operations. What comes before what is said at the top of this module.
        where: The tokens concerned, by who wrote them or, as `Tokens`, by turn and place too.
    """

    hook_name: str
    dictionary: Dictionary | None
    ops: tuple[Op, ...]
    where: Where = "all"

    def __post_init__(self) -> None:
        named = [op for op in self.ops if not isinstance(op, Steer | ProjectOut)]
        if named and self.dictionary is None:
            raise UserError(f"intervention at {self.hook_name}: {named[0]} names a feature, so it needs an SAE")
        for op in named:
            assert self.dictionary is not None
            if not 0 <= op.feature_idx < self.dictionary.d_sae:
                name, d_sae = self.dictionary.name, self.dictionary.d_sae
                raise UserError(f"feature {op.feature_idx} does not exist: SAE {name} has {d_sae}, counted from 0")


def edit_resid(resid: Resid, dictionary: Dictionary | None, ops: Sequence[Op]) -> Resid:
    """Apply operations at every token. Without operations the very same bits come back."""
    if not ops:
        return resid
    here = "here" if dictionary is None else dictionary.hook_name
    return _compile([Intervention(here, dictionary, tuple(ops))])(resid, [None])


def edit_fns(interventions: Sequence[Intervention]) -> dict[str, EditFn]:
    """Interventions as edits by hook name. Padding is never touched; nothing to do is no edit."""
    by_hook: dict[str, list[Intervention]] = {}
    for intervention in interventions:
        if intervention.ops:
            by_hook.setdefault(intervention.hook_name, []).append(intervention)
    return {hook_name: _edit_fn(group) for hook_name, group in by_hook.items()}


def _edit_fn(interventions: Sequence[Intervention]) -> EditFn:
    change = _compile(interventions)
    places: list[Where] = list(dict.fromkeys(one.where for one in interventions))
    place_of = [places.index(one.where) for one in interventions]

    def edit(resid: BatchResid, marks: TokenMarks) -> BatchResid:
        chosen = [choose_tokens(where, marks) for where in places]
        is_one_place = len(chosen) == 1  # then all that is touched is touched by all
        touched = chosen[0] if is_one_place else torch.stack(chosen).any(dim=0)
        if touched.all():
            rows = resid.flatten(0, 1)
            masks = [None] if is_one_place else [_unless_all(mask.flatten()) for mask in chosen]
            return change(rows, [masks[place] for place in place_of]).view_as(resid)
        if not touched.any():
            return resid
        masks = [None] if is_one_place else [_unless_all(mask[touched]) for mask in chosen]
        edited = resid.clone()
        edited[touched] = change(resid[touched], [masks[place] for place in place_of])
        return edited

    return edit


def _unless_all(mask: Bool[Tensor, " token"]) -> Tensor | None:
    return None if mask.all() else mask


@dataclass(frozen=True, eq=False, slots=True)
class _FeatureEdits:
    """What is done to features of one dictionary: each step is an intervention's number, a column and an operation."""

    dictionary: Dictionary
    columns: dict[int, int] = field(default_factory=dict)
    steps: list[tuple[int, int, FeatureOp]] = field(default_factory=list)

    def add(self, number: int, op: FeatureOp) -> None:
        """One more step."""
        self.steps.append((number, self.columns.setdefault(op.feature_idx, len(self.columns)), op))

    def compile(self) -> Callable[[Tensor, Masks], Tensor]:
        """What the steps add to residuals; what does not depend on the residual is computed here."""
        encode = _narrow(self.dictionary, torch.tensor(list(self.columns)))
        directions = torch.stack([self.dictionary.direction(j) for j in self.columns])

        def added(resid: Tensor, masks: Masks) -> Tensor:
            acts = encode(resid.to(directions))
            wanted = list(acts.unbind(dim=1))
            for number, column, op in self.steps:
                changed, mask = op.apply(wanted[column]), masks[number]
                wanted[column] = changed if mask is None else changed.where(mask.to(acts.device), wanted[column])
            return ((torch.stack(wanted, dim=1) - acts) @ directions).to(resid)

        return added


def _narrow(dictionary: Dictionary, feature_idx: FeatureIdx) -> Callable[[Resid], FeatureActs]:
    """A dictionary's activations of a few features, for many calls."""
    encode = None
    if isinstance(dictionary, TopKDictionary):
        encode = narrow_few(dictionary.sae, feature_idx)
    elif isinstance(dictionary, SaeLensDictionary):
        encode = narrow_columns(dictionary.sae, feature_idx)
    return encode or partial(dictionary.encode, feature_idx=feature_idx)


def _compile(interventions: Sequence[Intervention]) -> Callable[[Resid, Masks], Resid]:
    features: dict[Dictionary, _FeatureEdits] = {}
    steers: list[tuple[int, Tensor]] = []
    erased: list[tuple[int, Tensor]] = []
    for number, intervention in enumerate(interventions):
        for op in intervention.ops:
            if isinstance(op, Steer):
                steers.append((number, op.coeff * op.direction))
            elif isinstance(op, ProjectOut):
                erased.append((number, op.direction))
            else:
                assert intervention.dictionary is not None
                features.setdefault(intervention.dictionary, _FeatureEdits(intervention.dictionary)).add(number, op)
    parts = [edits.compile() for edits in features.values()]
    parts += [_add_directions(_sum_by_number(steers))] if steers else []
    eraser = _Eraser(erased)

    def change(resid: Tensor, masks: Masks) -> Tensor:
        unedited = at_least_float32(resid)
        edited = sum((part(unedited, masks) for part in parts), unedited)
        return eraser.erase(edited, masks).to(resid.dtype)

    return change


def _sum_by_number(steers: Sequence[tuple[int, Tensor]]) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    for number, vector in steers:
        found[number] = found[number] + vector if number in found else vector
    return found


def _add_directions(vectors: Mapping[int, Tensor]) -> Callable[[Tensor, Masks], Tensor]:
    def added(resid: Tensor, masks: Masks) -> Tensor:
        total = torch.zeros_like(resid)
        for number, vector in vectors.items():
            mask = masks[number]
            total = total + (vector.to(resid) if mask is None else mask[:, None] * vector.to(resid))
        return total

    return added


class _Eraser:
    """Projects directions out of residuals; those that meet at a token together, since one may hold part of another."""

    def __init__(self, directions: Sequence[tuple[int, Tensor]]) -> None:
        self._directions: dict[int, list[Tensor]] = {}
        for number, direction in directions:
            unit = direction.detach().double()
            self._directions.setdefault(number, []).append(unit / unit.norm())
        self._bases: dict[tuple[int, ...], Tensor] = {}

    def erase(self, resid: Tensor, masks: Masks) -> Tensor:
        """The residuals without them."""
        everywhere = tuple(number for number in self._directions if masks[number] is None)
        partly = {number: mask for number in self._directions if (mask := masks[number]) is not None}
        if not partly:
            return self._project(resid, everywhere)
        patterns, pattern_of = torch.stack(list(partly.values()), dim=1).unique(dim=0, return_inverse=True)
        erased = torch.empty_like(resid)
        for index, pattern in enumerate(patterns.tolist()):
            here = pattern_of == index
            numbers = everywhere + tuple(n for n, meets in zip(partly, pattern, strict=True) if meets)
            erased[here] = self._project(resid[here], numbers)
        return erased

    def _project(self, resid: Tensor, numbers: tuple[int, ...]) -> Tensor:
        if not numbers:
            return resid
        if numbers not in self._bases:
            self._bases[numbers] = _orthonormal([one for n in numbers for one in self._directions[n]])
        basis = self._bases[numbers].to(resid)
        return resid - (resid @ basis.T) @ basis


def _orthonormal(units: Sequence[Tensor]) -> Float[Tensor, "rank d_in"]:
    """A basis of what unit vectors span; parallel ones count once."""
    _, strengths, basis = torch.linalg.svd(torch.stack(list(units)), full_matrices=False)
    return basis[strengths > _PARALLEL]
