"""Axis names and shape aliases used everywhere.

Axes: ``token`` real tokens of a text in order, ``pos`` positions of a (possibly padded) sequence, ``batch`` sequences,
``story`` stories, ``d_in`` width of the residual stream, ``d_sae`` number of SAE features, ``k`` chosen ones.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

Resid = Float[Tensor, "token d_in"]
FeatureActs = Float[Tensor, "token d_sae"]
FeatureIdx = Int[Tensor, " k"]
FeatureColumns = FeatureIdx | slice
Direction = Float[Tensor, " d_in"]
BatchResid = Float[Tensor, "batch pos d_in"]
PositionMask = Bool[Tensor, "batch pos"]

__all__ = ["BatchResid", "Direction", "FeatureActs", "FeatureColumns", "FeatureIdx", "PositionMask", "Resid"]
