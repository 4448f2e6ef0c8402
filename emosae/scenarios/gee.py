"""Logistic regression of outcomes that hang together within clusters, honest with few clusters.

Generalised estimating equations (Liang & Zeger 1986) with an exchangeable working correlation. The sandwich variance is
corrected for the leverage of each cluster (Mancl & DeRouen 2001), since the plain one is too small for few clusters;
intervals are of t with as many degrees of freedom as clusters less coefficients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from emosae.scenarios.statistics import Interval

MOST_STEPS, TOLERANCE, STEEPEST = 60, 1e-9, 30.0


@dataclass(frozen=True, eq=False, slots=True)
class LogisticFit:
    """A fitted model.

    Attributes:
        coefficients: Log-odds per unit of each column of the design.
        covariance: Corrected for few clusters.
        naive: Covariance as the model has it, which takes the working correlation to be right.
        correlation: Of two outcomes of the same cluster, as the working model has it.
        n_clusters: How many there were.
    """

    coefficients: Float[np.ndarray, " term"]
    covariance: Float[np.ndarray, "term term"]
    naive: Float[np.ndarray, "term term"]
    correlation: float
    n_clusters: int

    def interval(self, term: int, level: float = 0.95, *, at_least_naive: bool = False) -> Interval:
        """A coefficient with its t interval and p; by `at_least_naive` with the larger of both standard errors."""
        from scipy.stats import t

        estimate, freedom = float(self.coefficients[term]), self.n_clusters - len(self.coefficients)
        variance = max(self.covariance[term, term], self.naive[term, term] if at_least_naive else 0.0)
        error = math.sqrt(max(variance, 0.0))
        if freedom < 1 or not math.isfinite(error) or error == 0:
            return Interval(estimate, math.nan, math.nan, 1.0)
        half = float(t.ppf((1 + level) / 2, freedom)) * error
        return Interval(estimate, estimate - half, estimate + half, float(2 * t.sf(abs(estimate) / error, freedom)))


@dataclass(frozen=True, eq=False, slots=True)
class _Scaled:
    """Design and residuals over the outcome's standard deviation under the model."""

    design: Float[np.ndarray, "row term"]
    residual: Float[np.ndarray, " row"]


@dataclass(frozen=True, eq=False, slots=True)
class _Equations:
    """What is solved: the data, and which cluster each row belongs to."""

    outcomes: Float[np.ndarray, " row"]
    design: Float[np.ndarray, "row term"]
    cluster: Int[np.ndarray, " row"]
    sizes: Int[np.ndarray, " cluster"]

    def scale(self, coefficients: Float[np.ndarray, " term"]) -> _Scaled:
        from scipy.special import expit

        mean = expit(self.design @ coefficients)
        sd = np.sqrt(np.maximum(mean * (1 - mean), 1e-12))
        return _Scaled(self.design * sd[:, None], (self.outcomes - mean) / sd)

    def correlate(self, scaled: _Scaled) -> float:
        """The correlation of scaled residuals within clusters, by moments; 0 where too few pairs could say."""
        residual, (rows, terms) = scaled.residual, self.design.shape
        squares = np.bincount(self.cluster, residual**2)
        products = (np.bincount(self.cluster, residual) ** 2 - squares).sum() / 2
        pairs = (self.sizes * (self.sizes - 1) / 2).sum() - terms
        variance = squares.sum() / (rows - terms)
        if pairs <= 0 or variance == 0:
            return 0.0
        return float(np.clip(products / variance / pairs, -0.999 / (self.sizes.max() - 1), 0.999))

    def weigh(self, table: Float[np.ndarray, "row column"], correlation: float) -> Float[np.ndarray, "row column"]:
        """Inverse of the exchangeable correlation matrix of each cluster, times the cluster's rows."""
        sums = np.stack([np.bincount(self.cluster, column) for column in table.T], axis=1)
        shrink = correlation / (1 + (self.sizes - 1) * correlation)
        return (table - (shrink[:, None] * sums)[self.cluster]) / (1 - correlation)


def fit_logistic(
    outcomes: Float[np.ndarray, " row"],
    design: Float[np.ndarray, "row term"],
    clusters: Shaped[np.ndarray, " row"],
) -> LogisticFit | None:
    """Fit the log-odds of an outcome as a sum over the design's columns; None where there is no finite solution.

    Args:
        outcomes: 0 or 1, or a share between.
        design: A column of ones where an intercept is wanted; its columns must not depend on one another.
        clusters: Which rows hang together.
    """
    _, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    equations = _Equations(outcomes, design, cluster, sizes)
    if len(sizes) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    coefficients, correlation = np.zeros(design.shape[1]), 0.0
    for _ in range(MOST_STEPS):
        scaled = equations.scale(coefficients)
        weighted = equations.weigh(scaled.design, correlation)
        step = np.linalg.lstsq(scaled.design.T @ weighted, weighted.T @ scaled.residual, rcond=None)[0]
        coefficients = coefficients + step
        if not np.isfinite(coefficients).all() or np.abs(design @ coefficients).max() > STEEPEST:
            return None
        correlation, before = equations.correlate(equations.scale(coefficients)), correlation
        if np.abs(step).max() < TOLERANCE * (1 + np.abs(coefficients).max()) and abs(correlation - before) < TOLERANCE:
            return _conclude(equations, coefficients, correlation)
    return None


def _conclude(equations: _Equations, coefficients: Float[np.ndarray, " term"], correlation: float) -> LogisticFit:
    scaled = equations.scale(coefficients)
    weighted = equations.weigh(scaled.design, correlation)
    bread = np.linalg.inv(scaled.design.T @ weighted)
    order = np.argsort(equations.cluster, kind="stable")
    scores = []
    for rows in np.split(order, np.cumsum(equations.sizes)[:-1]):
        leverage = scaled.design[rows] @ bread @ weighted[rows].T
        corrected = np.linalg.solve(np.eye(len(rows)) - leverage, scaled.residual[rows])
        scores.append(weighted[rows].T @ corrected)
    meat = np.stack(scores)
    covariance = bread @ (meat.T @ meat) @ bread
    return LogisticFit(coefficients, covariance, bread, correlation, len(equations.sizes))
