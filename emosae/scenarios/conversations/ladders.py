"""What rises with a dose: over all rungs together, and within ladders that change nothing but the dose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from emosae.scenarios.conversations.ranks import SHUFFLES, Reads, exceed
from emosae.scenarios.conversations.reading import PLACES
from emosae.scenarios.statistics import Interval, adjust_holm, clustered_mean, spearman_interval
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

Ranks = Float[np.ndarray, " rung"]


def correlate_doses(reads: Reads) -> pa.Table:
    """Spearman's correlation of every emotion's reads with the dose, per kind of ladder and place, with interval.

    Over all rungs of a kind as if each were its own text; `measure_trends` keeps wordings apart.
    """
    rows = []
    for (kind, emotion), ladder in _gather(reads).items():
        for place in PLACES:
            read = [row for row in ladder if not math.isnan(row[place])]
            found = _correlate([row["dose"] for row in read], [row[place] for row in read])
            rows.append(
                {
                    "kind": kind,
                    "emotion": emotion,
                    "place": place,
                    "n": len(read),
                    "n_doses": len({row["dose"] for row in read}),
                    "spearman": found.estimate,
                    "spearman_lo": found.lo,
                    "spearman_hi": found.hi,
                    "p": found.p,
                }
            )
    numbers = ("spearman", "spearman_lo", "spearman_hi", "p")
    return make_table(rows, texts=("kind", "emotion", "place"), numbers=numbers, counts=("n", "n_doses"))


def _gather(reads: Reads) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    rungs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in reads:
        if row["dose"] is not None:
            rungs.setdefault((row["kind"], row["emotion"]), []).append(row)
    return dict(sorted(rungs.items()))


def _correlate(doses: Sequence[float], values: Sequence[float]) -> Interval:
    return spearman_interval(np.array(doses, dtype=np.float64), np.array(values, dtype=np.float64))


def measure_trends(reads: Reads, rng: np.random.Generator, n_shuffles: int = SHUFFLES) -> pa.Table:
    """Whether an emotion's reads rise or fall steadily with the dose, each ladder compared with itself only.

    Page's trend statistic (1963), the sum over ladders of dose rank times rank of the read, with ties averaged and
    ladders of any length; its null exchanges the reads within each ladder. The files say which emotions should rise or
    fall (`direction`); those are tested one-sided and Holm's correction is over them, at each place. The others are
    tested two-sided and not corrected.

    Returns:
        A row per kind of ladder, emotion and place: `page_l`; `z`, the same in null standard deviations from its null
        mean (NaN where nothing varies); `p` over exchanges, at least 1 / (1 + n_shuffles); `rho`, the mean over ladders
        of Spearman's correlation within, in [-1, 1], with an interval clustered by ladder. A ladder in which nothing
        varies counts as 0.
    """
    rows = []
    for (kind, emotion), rungs in _gather(reads).items():
        direction = next((row["direction"] for row in rungs if row.get("direction") is not None), None)
        for place in PLACES:
            trend = find_trend(_split(rungs, place), direction, rng, n_shuffles)
            known = {"kind": kind, "emotion": emotion, "place": place, "direction": direction, "p_holm": None}
            rows.append(known | _describe(trend))
    for place in PLACES:
        planned = [row for row in rows if row["place"] == place and row["direction"] and not math.isnan(row["p"])]
        for row, adjusted in zip(planned, adjust_holm([row["p"] for row in planned]), strict=True):
            row["p_holm"] = adjusted
    numbers = ("direction", "page_l", "z", "p", "p_holm", "rho", "rho_lo", "rho_hi")
    return make_table(rows, texts=("kind", "emotion", "place"), numbers=numbers, counts=("n", "n_ladders"))


@dataclass(frozen=True, eq=False, slots=True)
class Trend:
    """What ladders say together; see `measure_trends`."""

    page_l: float
    z: float
    p: float
    rho: Interval
    n: int
    n_ladders: int


def _describe(trend: Trend) -> dict[str, Any]:
    return {
        "n": trend.n,
        "n_ladders": trend.n_ladders,
        "page_l": trend.page_l,
        "z": trend.z,
        "p": trend.p,
        "rho": trend.rho.estimate,
        "rho_lo": trend.rho.lo,
        "rho_hi": trend.rho.hi,
    }


def _split(rungs: Reads, place: str) -> list[tuple[list[float], list[float]]]:
    """Doses and reads of every ladder with three rungs that were read."""
    ladders: dict[str, tuple[list[float], list[float]]] = {}
    for row in rungs:
        if not math.isnan(row[place]):
            doses, values = ladders.setdefault(row.get("ladder") or row["kind"], ([], []))
            doses.append(row["dose"])
            values.append(row[place])
    return [pair for pair in ladders.values() if len(set(pair[0])) >= 3]


def find_trend(
    ladders: Sequence[tuple[Sequence[float], Sequence[float]]],
    direction: float | None,
    rng: np.random.Generator,
    n_shuffles: int = SHUFFLES,
) -> Trend:
    """Page's trend over ladders, each given as its doses and its reads; NaN where no read varies."""
    from scipy.stats import rankdata

    pairs: list[tuple[Ranks, Ranks]] = [(rankdata(doses), rankdata(values)) for doses, values in ladders]
    moved = [(a - a.mean(), b - b.mean()) for a, b in pairs]
    page_l = float(sum(a @ b for a, b in pairs))
    excess = sum(float(a @ b) for a, b in moved)
    error = math.sqrt(sum(float(a @ a) * float(b @ b) / (len(a) - 1) for a, b in moved))
    n, n_ladders = sum(len(a) for a, _ in pairs), len(pairs)
    if error == 0:
        return Trend(page_l, math.nan, math.nan, Interval(math.nan, -1.0, 1.0), n, n_ladders)
    null = sum((rng.permuted(np.tile(b, (n_shuffles, 1)), axis=1) @ a for a, b in moved), np.zeros(n_shuffles))
    sign = direction or 0.0
    as_good = sign * null >= sign * excess - 1e-9 if sign else np.abs(null) >= abs(excess) - 1e-9
    inside = np.array([_correlate_ranks(a, b) for a, b in moved])
    rho = clustered_mean(inside, np.arange(len(inside)))
    return Trend(page_l, excess / error, exceed(as_good), rho, n, n_ladders)


def _correlate_ranks(a: Ranks, b: Ranks) -> float:
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0
