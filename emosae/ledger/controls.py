"""Control features: what AUROC a feature reaches that was not chosen for the emotion but fires as often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

N_CONTROLS, MIN_CONTROLS = 30, 5
LEVEL = 0.95


@dataclass(frozen=True, eq=False, slots=True)
class _Profiles:
    """The features of one SAE that fire at all: log share of stories in which they do, and AUROC per emotion."""

    place: Mapping[int, int]
    log_rate: Float[np.ndarray, " feature"]
    auroc: Mapping[str, Float[np.ndarray, " feature"]]


def measure_controls(candidates: Sequence[Row], profiles: pa.Table | None) -> list[float | None]:
    """For every candidate, the 95th percentile of its emotion's AUROC among control features of its SAE.

    Controls are the 30 features that are no candidate for the emotion and whose share of stories with activity is
    nearest (as a ratio) to the candidate's own. Their AUROC is that on discover + tune, so that nothing is read off
    confirm. None without profiles, or with fewer than 5 controls.
    """
    if profiles is None:
        return [None] * len(candidates)
    saes = {row["sae"]: _read_profiles(profiles, row["sae"]) for row in candidates}
    chosen: dict[tuple[str, str], list[int]] = {}
    for row in candidates:
        chosen.setdefault((row["sae"], row["emotion"]), []).append(row["feature_idx"])
    return [_measure(saes[row["sae"]], row, chosen[row["sae"], row["emotion"]]) for row in candidates]


def _read_profiles(profiles: pa.Table, sae: str) -> _Profiles:
    import pyarrow as pa

    is_ours = np.array([name == sae for name in profiles["sae"].to_pylist()], dtype=bool)
    fires = np.asarray(profiles["fire_rate"].to_numpy(), dtype=np.float64) > 0
    table = profiles.filter(pa.array(is_ours & fires))
    columns = {
        name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in table.column_names if name != "sae"
    }
    feature_idx, rate = columns.pop("feature_idx"), columns.pop("fire_rate")
    return _Profiles({int(index): at for at, index in enumerate(feature_idx)}, np.log(rate), columns)


def _measure(profiles: _Profiles, row: Row, chosen: Sequence[int]) -> float | None:
    place, auroc = profiles.place.get(row["feature_idx"]), profiles.auroc.get(row["emotion"])
    if place is None or auroc is None:
        return None
    free = np.ones(len(auroc), dtype=bool)
    free[[profiles.place[index] for index in chosen if index in profiles.place]] = False
    free &= np.isfinite(auroc)
    if free.sum() < MIN_CONTROLS:
        return None
    distance = np.abs(profiles.log_rate - profiles.log_rate[place])
    nearest = np.argsort(distance[free], kind="stable")[:N_CONTROLS]
    return float(np.quantile(auroc[free][nearest], LEVEL))
