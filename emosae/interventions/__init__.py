"""Arithmetic on the residual stream: set, bound, scale or remove features, add a direction or project one out."""

from emosae.interventions.doses import (
    max_of_values,
    mean_resid_norm,
    norm_for_kl,
    norm_of_values,
    token_kl,
    unit_sum,
    values_for_max,
    values_for_norm,
)
from emosae.interventions.editing import Intervention, edit_fns, edit_resid
from emosae.interventions.holding import hold_features
from emosae.interventions.ops import Ablate, Cap, Clamp, FeatureOp, Floor, Op, ProjectOut, Scale, Steer
from emosae.interventions.places import Tokens, Where
from emosae.interventions.turns import mark_turns

__all__ = [
    "Ablate",
    "Cap",
    "Clamp",
    "FeatureOp",
    "Floor",
    "Intervention",
    "Op",
    "ProjectOut",
    "Scale",
    "Steer",
    "Tokens",
    "Where",
    "edit_fns",
    "edit_resid",
    "hold_features",
    "mark_turns",
    "max_of_values",
    "mean_resid_norm",
    "norm_for_kl",
    "norm_of_values",
    "token_kl",
    "unit_sum",
    "values_for_max",
    "values_for_norm",
]
