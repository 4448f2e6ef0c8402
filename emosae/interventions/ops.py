"""What can be done at one token: set, bound or scale a feature's activation, add a direction, or take one out.

An SAE with a linear decoder writes a residual as `decode(acts) + error`. Giving feature j the activation `value`
instead of `act`, with the error carried through, is `resid + (value - act) * d_j`: no decoding, and no encoder column
but j's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.axes import Direction
from emosae.errors import UserError


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


@dataclass(frozen=True, eq=False, slots=True)
class ProjectOut:
    """Leave the residual no component along a direction, whose length does not matter."""

    direction: Direction

    def __post_init__(self) -> None:
        length = float(self.direction.detach().double().norm())
        if not 0 < length < float("inf"):
            raise UserError(f"a direction of length {length:g} cannot be projected out: give one that points somewhere")


FeatureOp = Clamp | Floor | Cap | Scale | Ablate
Op = FeatureOp | Steer | ProjectOut
