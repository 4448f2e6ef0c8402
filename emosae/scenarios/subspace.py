"""The part of a dial inside the span of the emotion vectors, the part outside, and random subspaces of the same rank.

An emotion vector is a difference of means, centred over the emotions; the subspace holds their leading principal
components. What lies inside depends on which emotions the stories have: more of them span more. A dial is chosen among
features that lean towards their emotion's vector, so that its share inside is above chance by choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emosae.axes import Direction
from emosae.errors import UserError
from emosae.interventions import Floor, Intervention
from emosae.interventions.redirect import Redirected
from emosae.scenarios.conditions import FeatureSet

HELD = 0.90
"""Share of the emotion vectors' variance that the subspace holds, if its rank may be as high."""
RANK_DIVISOR = 8
Side = Literal["inside", "outside"]
_NOTHING = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Subspace:
    """A linear subspace of the residual stream.

    Attributes:
        basis: Orthonormal rows.
        held: Share in [0, 1] of the variance of the vectors that it was taken from; NaN for one that was drawn.
    """

    basis: Float[np.ndarray, "rank d_in"]
    held: float = math.nan

    @property
    def rank(self) -> int:
        """Its dimension."""
        return len(self.basis)

    def split(self, direction: Direction) -> tuple[Float[Tensor, " d_in"], Float[Tensor, " d_in"]]:
        """The parts of a direction inside and outside, orthogonal to each other; in float64, where their sum is it."""
        whole = direction.detach().cpu().double()
        basis = torch.from_numpy(self.basis)
        inside = basis.T @ (basis @ whole)
        return inside, whole - inside

    def energy(self, direction: Direction) -> float:
        """Share of a direction's squared length that lies inside; rank / d_in on average for a random one."""
        inside, _ = self.split(direction)
        return float(inside.square().sum() / direction.detach().cpu().double().square().sum())


def find_emotion_subspace(vectors: Mapping[str, Direction], held: float = HELD) -> Subspace:
    """The fewest principal components of the emotion vectors that hold a share of their variance, at most d_in / 8.

    Every emotion counts the same. Two emotions or fewer components than would hold the share give what there is; a
    subspace of rank 0 if the vectors do not differ.

    Args:
        vectors: Difference-of-means vectors, see `emotion_vectors`; from stories that may be chosen on.
        held: The share, in (0, 1].
    """
    rows = torch.stack([vectors[name] for name in sorted(vectors)]).detach().cpu().double().numpy()
    _, singular, components = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    variance = np.cumsum(singular**2)
    if variance[-1] <= _NOTHING * float(np.square(rows).sum()) or variance[-1] == 0:
        return Subspace(np.zeros((0, rows.shape[1])))
    wanted = int(np.searchsorted(variance / variance[-1], held - 1e-12)) + 1
    rank = min(wanted, max(1, rows.shape[1] // RANK_DIVISOR))
    return Subspace(components[:rank], float(variance[rank - 1] / variance[-1]))


def draw_subspace(rank: int, d_in: int, rng: np.random.Generator) -> Subspace:
    """A subspace of that rank, all equally likely (Haar)."""
    return Subspace(np.linalg.qr(rng.standard_normal((d_in, rank)))[0].T)


def draw_varying_subspace(resid: Float[Tensor, "story d_in"], rank: int, rng: np.random.Generator) -> Subspace:
    """A subspace where residuals vary: the span of draws from a Gaussian with their covariance.

    Refused: too few residuals to span it.
    """
    table = resid.detach().cpu().double().numpy()
    if len(table) <= rank:
        raise UserError(f"{len(table)} residuals vary in fewer than {rank} dimensions: give more stories")
    draws = rng.standard_normal((rank, len(table))) @ (table - table.mean(axis=0))
    return Subspace(np.linalg.qr(draws.T)[0].T)


def draw_matched_subspace(direction: Direction, energy: float, rank: int, rng: np.random.Generator) -> Subspace:
    """A random subspace that holds the share `energy` of a direction: its part inside points as far along it.

    All such subspaces are equally likely. Refused: no room for `rank` dimensions beside the direction.
    """
    whole = direction.detach().cpu().double().numpy()
    if not 0 < rank < len(whole):
        raise UserError(f"a subspace of rank {rank} cannot hold a part of a direction in {len(whole)} dimensions")
    drawn = np.column_stack([whole, rng.standard_normal((len(whole), rank))])
    axes = np.linalg.qr(drawn)[0].T
    along = axes[0] * np.sign(axes[0] @ whole)
    leaning = math.sqrt(energy) * along + math.sqrt(max(0.0, 1 - energy)) * axes[1]
    return Subspace(np.stack([leaning, *axes[2:]]))


def has_part(features: FeatureSet, subspace: Subspace, side: Side, dose: float) -> bool:
    """Whether what `up` adds has any length on that side."""
    whole, part = _pushed(features, subspace, side, dose)
    return part > _NOTHING * whole


def turn_part(
    features: FeatureSet, subspace: Subspace, side: Side, dose: float, *, equal_norm: bool = False
) -> Intervention:
    """Turn features up as at a dose, but write only the part of each direction on one side of the subspace.

    The features are floored at the same values, so that the two sides together add at every token what `up` adds.

    Args:
        features: The dial.
        subspace: What divides its directions.
        side: The part that is written.
        dose: Added norm over the mean residual norm, of the whole.
        equal_norm: Lengthen the part until the most that it adds is as long as the most that the whole adds. Such a
            vector is nothing that the model would write.

    Refused: lengthening a part without length.
    """
    scale = 1.0
    if equal_norm:
        whole, part = _pushed(features, subspace, side, dose)
        if part <= _NOTHING * whole:
            raise UserError(f"the dial of {features.name} has no part {side} the subspace, so it cannot be lengthened")
        scale = whole / part
    own = {index: features.dictionary.direction(index) for index in features.feature_idx}
    given = {index: (scale * _take(subspace, row, side)).to(row) for index, row in own.items()}
    values = zip(features.feature_idx, features.values(dose), strict=True)
    ops = tuple(Floor(index, value) for index, value in values)
    return Intervention(features.dictionary.hook_name, Redirected(features.dictionary, given), ops, where="generated")


def added_by(features: FeatureSet, dose: float) -> Direction:
    """The most that `up` adds at a token, in residual units."""
    rows = [features.dictionary.direction(index).detach().cpu().double() for index in features.feature_idx]
    return torch.stack([value * row for value, row in zip(features.values(dose), rows, strict=True)]).sum(dim=0)


def _pushed(features: FeatureSet, subspace: Subspace, side: Side, dose: float) -> tuple[float, float]:
    """Lengths of the most that is added: whole, and on one side."""
    whole = added_by(features, dose)
    return float(whole.norm()), float(_take(subspace, whole, side).norm())


def _take(subspace: Subspace, direction: Direction, side: Side) -> Float[Tensor, " d_in"]:
    inside, outside = subspace.split(direction)
    return inside if side == "inside" else outside
