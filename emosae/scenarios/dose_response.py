"""Whether a rate goes with the dose, and whether it goes with it in a line or turns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from emosae.scenarios.gee import fit_logistic
from emosae.scenarios.statistics import Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """Two logistic models of an outcome over doses, tasks being the clusters.

    Attributes:
        slope: Log-odds of the outcome per unit of dose, where the log-odds go in a line; p is of no slope.
        bend: Log-odds per squared unit of dose, where they go in a parabola; p is of a line being enough. It asks
            nothing of fewer than three doses.
        turn: The dose at which that parabola turns round, if it lies between the lowest and the highest; else NaN.
    """

    slope: Interval
    bend: Interval
    turn: float


def fit_doses(
    outcomes: Float[np.ndarray, " episode"],
    doses: Float[np.ndarray, " episode"],
    tasks: Shaped[np.ndarray, " episode"],
) -> DoseResponse:
    """How an outcome, 0 or 1, goes with the dose; NaN where tasks or doses are too few to say."""
    known = np.unique(doses)
    ones = np.ones(len(doses))
    slope = _fit_last(outcomes, doses, np.stack([ones, doses], axis=1), tasks)[1]
    if len(known) < 3:
        return DoseResponse(slope, UNKNOWN, math.nan)
    parabola, bend = _fit_last(outcomes, doses, np.stack([ones, doses, doses**2], axis=1), tasks)
    turn = -parabola[1] / (2 * parabola[2]) if parabola[2] else math.nan
    return DoseResponse(slope, bend, turn if known[0] < turn < known[-1] else math.nan)


def _fit_last(
    outcomes: Float[np.ndarray, " episode"],
    doses: Float[np.ndarray, " episode"],
    design: Float[np.ndarray, "episode term"],
    tasks: Shaped[np.ndarray, " episode"],
) -> tuple[list[float], Interval]:
    """All coefficients, and the last with its interval.

    A dose at which all episodes end alike can leave the log-odds without bound. Then half an outcome of either kind is
    spread over the episodes of every dose, and the standard error is at least the model's own, since the spread that
    the sandwich counts on cannot be seen at such a dose.
    """
    fit = fit_logistic(outcomes, design, tasks)
    is_bounded = fit is not None
    if fit is None:
        _, dose, counts = np.unique(doses, return_inverse=True, return_counts=True)
        n = counts[dose]
        fit = fit_logistic((n * outcomes + 0.5) / (n + 1), design, tasks)
    if fit is None:
        return [math.nan] * design.shape[1], UNKNOWN
    last = design.shape[1] - 1
    return fit.coefficients.tolist(), fit.interval(last, at_least_naive=not is_bounded)
