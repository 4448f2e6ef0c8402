"""How far two gradings of the same answers agree beyond chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq

import numpy as np
from jaxtyping import Float

from emosae.scenarios.grading import GRADES, Grade, is_cheat
from emosae.scenarios.statistics import Interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two gradings of the same answers.

    Attributes:
        n: Answers.
        n_tasks: Tasks that they answer.
        same: Share with the same grade.
        kappa: Cohen's kappa over the nine grades: 0 is what chance gives with these shares of grades, 1 is full
            agreement, below 0 is less than chance. NaN where both gave one and the same grade throughout.
        kappa_cheat: The same for cheat or no cheat.
        table: Answers by grade of the rules and grade of the judge; only those that occur.
    """

    n: int
    n_tasks: int
    same: float
    kappa: Interval
    kappa_cheat: Interval
    table: Counter[tuple[Grade, Grade]]


def measure_agreement(rules: Sequence[Grade], judge: Sequence[Grade], tasks: Sequence[str]) -> Agreement:
    """Agreement of the judge with the rules; one answer at least, and as many of each."""
    if not rules or not len(rules) == len(judge) == len(tasks):
        raise ValueError(f"{len(rules)} and {len(judge)} grades of answers to {len(tasks)} tasks")
    places = [[GRADES.index(grade) for grade in grades] for grades in (rules, judge)]
    cheats = [[int(is_cheat(grade)) for grade in grades] for grades in (rules, judge)]
    return Agreement(
        n=len(rules),
        n_tasks=len(set(tasks)),
        same=sum(map(eq, *places)) / len(rules),
        kappa=clustered_kappa(places[0], places[1], tasks),
        kappa_cheat=clustered_kappa(cheats[0], cheats[1], tasks),
        table=Counter(zip(rules, judge, strict=True)),
    )


def clustered_kappa(
    first: Sequence[int], second: Sequence[int], clusters: Sequence[str], level: float = 0.95
) -> Interval:
    """Cohen's kappa of two gradings with an interval over clusters, since answers to one task hang together.

    Delete-one-cluster jackknife with t at (clusters - 1) degrees of freedom, as for the AUROC on confirm topics; with
    a cluster for each answer it comes to the large-sample variance of Fleiss, Cohen and Everitt (1969). NaN where
    kappa is not defined; the interval is [-1, 1] for fewer than two clusters, and where kappa is not defined without
    one of them.
    """
    from scipy.stats import t

    _, cluster_of = np.unique(list(clusters), return_inverse=True)
    n_clusters, n_kinds = int(cluster_of.max()) + 1, max(*first, *second) + 1
    counts = np.zeros((n_clusters, n_kinds, n_kinds))
    np.add.at(counts, (cluster_of, np.array(first), np.array(second)), 1)
    whole = _kappa(counts.sum(axis=0))
    left_out = np.array([_kappa(counts.sum(axis=0) - one) for one in counts])
    if math.isnan(whole) or n_clusters < 2 or np.isnan(left_out).any():
        return Interval(whole, -1.0, 1.0)
    spread = np.square(left_out - left_out.mean()).sum() * (n_clusters - 1) / n_clusters
    half = float(t.ppf((1 + level) / 2, n_clusters - 1) * math.sqrt(spread))
    return Interval(whole, max(-1.0, whole - half), min(1.0, whole + half))


def _kappa(counts: Float[np.ndarray, "kind kind"]) -> float:
    """NaN without answers, and where chance alone gives full agreement."""
    n = float(counts.sum())
    if n == 0:
        return math.nan
    observed = float(np.trace(counts)) / n
    expected = float(counts.sum(axis=0) @ counts.sum(axis=1)) / n**2
    return math.nan if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)
