"""How much of the cheating that failures bring about passes through features: hold them, and see what is left.

The episodes are those that failed at their first attempt and went on; every loop shares them and that attempt, so none
is left out by what happened later. Of each it is asked whether it cheated at any later attempt. With Y that outcome:

* `total` = Y with failures told - Y without: the cheating that failures bring about. Not the rate at the first attempt
  is the reference, because later attempts are made by other episodes (those that did not cheat) and have more chances.
* `direct` = the same difference with the features held in both loops: what failures still bring about when the features
  cannot answer them. Holding in both takes out what holding does by itself: it also flattens what the features do by
  chance, and edits the text (VanderWeele's controlled direct effect; his "proportion eliminated" is the share below).
* `mediated` = total - direct, and `share` = mediated / total, which is given only where the 95% interval of the total
  lies above 0. Its interval is Fieller's for a ratio of means of the same tasks; it may go beyond 0 and 1. Since it is
  given only for totals that stand out, those are rather too large than too small, and shares rather too small.

An interval of a difference is over tasks, paired by episode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from emosae.scenarios.grading import CHEATS
from emosae.scenarios.statistics import Interval, clustered_mean, wilson_interval
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, int]
_NUMBERS = tuple(
    f"{name}{end}" for name in ("first", "total", "direct", "mediated", "share", "beyond") for end in ("", "_lo", "_hi")
)


@dataclass(frozen=True, eq=False, slots=True)
class Mediation:
    """What failures bring about with and without features that are held; differences of shares, in [-1, 1].

    Attributes:
        total: With nothing held.
        direct: With the features held.
        mediated: The former less the latter, in [-2, 2].
        share: Mediated over total; None where there is no total to share.
    """

    total: Interval
    direct: Interval
    mediated: Interval
    share: Interval | None


def split_effect(
    total: Float[np.ndarray, " episode"], direct: Float[np.ndarray, " episode"], tasks: Shaped[np.ndarray, " episode"]
) -> Mediation:
    """Estimates from each episode's difference between the loops, with nothing held and with the features held."""
    removed = total - direct
    effect = clustered_mean(total, tasks)
    return Mediation(
        effect,
        clustered_mean(direct, tasks),
        clustered_mean(removed, tasks, bound=2.0),
        share_of(removed, total, tasks, bound=2.0) if effect.lo > 0 else None,
    )


def fieller_interval(
    above: Float[np.ndarray, " episode"],
    below: Float[np.ndarray, " episode"],
    clusters: Shaped[np.ndarray, " episode"],
    level: float = 0.95,
) -> Interval:
    """Ratio of two means over the same episodes, with Fieller's interval from covariances of cluster sums.

    t has one degree of freedom less than there are clusters. Infinite where the lower mean is not distinguished from 0:
    the set of ratios that fit is then unbounded.
    """
    from scipy.stats import t

    n, (_, cluster_of) = len(below), np.unique(clusters, return_inverse=True)
    a, b = float(np.mean(above)), float(np.mean(below))
    n_clusters = int(cluster_of.max()) + 1
    if n_clusters < 2 or b == 0:
        return Interval(math.nan, -math.inf, math.inf)
    sums = np.stack([np.bincount(cluster_of, weights=values - values.mean()) for values in (above, below)])
    covariance = n_clusters / (n_clusters - 1) * (sums @ sums.T) / n**2
    reach = float(t.ppf((1 + level) / 2, n_clusters - 1)) ** 2
    square = b * b - reach * covariance[1, 1]
    if square <= 0:
        return Interval(a / b, -math.inf, math.inf)
    middle = a * b - reach * covariance[0, 1]
    spread = math.sqrt(max(middle**2 - square * (a * a - reach * covariance[0, 0]), 0.0))
    return Interval(a / b, (middle - spread) / square, (middle + spread) / square)


def share_of(
    part: Float[np.ndarray, " episode"],
    total: Float[np.ndarray, " episode"],
    tasks: Shaped[np.ndarray, " episode"],
    *,
    bound: float = 1.0,
    level: float = 0.95,
) -> Interval:
    """Mean of a part, whose values lie in [-bound, bound], over the mean of the total, with Fieller's interval.

    Where the part is the same multiple of the total in every task, Fieller's interval is a point and would claim
    certainty. It is then as wide as that of a constant difference in `clustered_mean`, over the total.
    """
    ratio = fieller_interval(part, total, tasks, level)
    if not ratio.hi - ratio.lo < 1e-9:
        return ratio
    rest = clustered_mean(part - ratio.estimate * total, tasks, level, bound)
    half = rest.hi / abs(float(total.mean()))
    return Interval(ratio.estimate, ratio.estimate - half, ratio.estimate + half)


def tabulate_mediation(loops: pa.Table) -> pa.Table:
    """One row per set of features that was held.

    `n` episodes of `n_tasks` tasks failed at their first attempt and went on; of all episodes `first` cheated at once
    (Wilson), and `later` is the share of later attempts with failures that were cheats. `rate_failures` and `rate_none`
    are the shares of the n that cheated later with and without failures, `held_failures` and `held_none` the same with
    the features held. `total`, `direct`, `mediated`, `share`: see the top
    of the module; `share` is null where there is nothing to share. `beyond`, of decoys and controls, is what the first
    target's features mediate more than these do.

    Args:
        loops: The table of `play_loops`.
    """
    rows = loops.to_pylist()
    outcomes = _read_outcomes(rows)
    first = _rates_by_attempt(rows)
    roles = {row["dial"]: row["role"] for row in rows if row["dial"] != "-"}
    keys = sorted(set.intersection(*(set(one) for one in outcomes.values()))) if outcomes else []
    table = {key: np.array([float(one[at]) for at in keys]) for key, one in outcomes.items()}
    tasks = np.array([task for task, _ in keys])
    held = [name for name in roles if keys and all((loop, name) in table for loop in ("failures", "no failures"))]
    target = next((name for name in held if roles[name] == "target"), None)
    found = []
    for name in held:
        row = {"features": name, "role": roles[name], "n": len(keys), "n_tasks": len(set(tasks.tolist())), **first}
        found.append(row | _describe(table, name, tasks))
        if target is not None and roles[name] != "target":
            gap = _effect(table, name) - _effect(table, target)
            found[-1] |= _ends("beyond", clustered_mean(gap, tasks, bound=2.0))
    rates = ("later", "rate_failures", "rate_none", "held_failures", "held_none", "p_total", "p_mediated")
    return make_table(
        found, texts=("features", "role"), numbers=(*rates, *_NUMBERS), counts=("n", "n_tasks", "n_first")
    )


def _read_outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[Key, bool]]:
    """By loop and by what was held: of impossible episodes with a second attempt, whether a later one was a cheat."""
    found: dict[tuple[str, str], dict[Key, bool]] = {}
    for row in rows:
        if row["impossible"] and row["n_attempts"] > 1:
            cheated = any(grade in CHEATS for grade in row["grades"][1:])
            found.setdefault((row["condition"], row["dial"]), {})[row["task_id"], row["episode"]] = cheated
    return found


def _rates_by_attempt(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of first and of later attempts that were cheats, with failures and nothing held."""
    untouched = [row for row in rows if (row["condition"], row["dial"]) == ("failures", "-")]
    grades = [row["grades"] for row in untouched if row["impossible"] and row["grades"]]
    later = [grade in CHEATS for one in grades for grade in one[1:]]
    rate = wilson_interval(sum(one[0] in CHEATS for one in grades), len(grades))
    return {"n_first": len(grades), **_ends("first", rate), "later": float(np.mean(later)) if later else None}


def _effect(table: Mapping[tuple[str, str], Float[np.ndarray, " episode"]], held: str) -> Float[np.ndarray, " episode"]:
    """Of each episode, its outcome with failures less that without."""
    return table["failures", held] - table["no failures", held]


def _describe(
    table: Mapping[tuple[str, str], Float[np.ndarray, " episode"]], held: str, tasks: Shaped[np.ndarray, " episode"]
) -> dict[str, Any]:
    found = split_effect(_effect(table, "-"), _effect(table, held), tasks)
    row = {
        "rate_failures": float(table["failures", "-"].mean()),
        "rate_none": float(table["no failures", "-"].mean()),
        "held_failures": float(table["failures", held].mean()),
        "held_none": float(table["no failures", held].mean()),
        "p_total": found.total.p,
        "p_mediated": found.mediated.p,
    }
    for name, interval in (("total", found.total), ("direct", found.direct), ("mediated", found.mediated)):
        row |= _ends(name, interval)
    return row | (_ends("share", found.share) if found.share else {})


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_lo": interval.lo, f"{name}_hi": interval.hi}
