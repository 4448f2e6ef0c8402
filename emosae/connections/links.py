"""From drops in single stories to a connection: mean, interval, and whether it beats what matched controls do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

CONNECTION_SCHEMA = pa.schema(
    [
        ("sae", pa.string()),
        ("feature_idx", pa.int64()),
        ("emotion", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        *((name, pa.float64()) for name in ("attribution", "drop", "drop_lo", "drop_hi", "control_drop")),
        ("n_stories", pa.int64()),
        ("is_confirmed", pa.bool_()),
    ]
)
"""The columns of a table of connections; see `trace_connections`."""

MIN_STORIES = 4
"""Stories under which a drop has no interval, and nothing is confirmed."""


@dataclass(frozen=True, eq=False, slots=True)
class Drops:
    """What cutting one source did, in the stories that it could be cut in.

    Attributes:
        kind: token or feature.
        source: Text of the token, or sae/feature_idx.
        attribution: Share of the activation that the gradient ascribes to the source, on average.
        own: Share of the activation that is lost when the source is cut; below 0 if it rises.
        control: The same when matched controls are cut, averaged over them; NaN where there was none.
    """

    kind: str
    source: str
    attribution: float
    own: Float[np.ndarray, " story"]
    control: Float[np.ndarray, " story"]

    def describe(self) -> dict[str, Any]:
        """The columns of a connection but for its target."""
        mean, lo, hi = interval(self.own)
        has_control = np.isfinite(self.control)
        lead = interval((self.own - self.control)[has_control])[1]
        return {
            "kind": self.kind,
            "source": self.source,
            "attribution": self.attribution,
            "drop": _known(mean),
            "drop_lo": _known(lo),
            "drop_hi": _known(hi),
            "control_drop": float(self.control[has_control].mean()) if has_control.any() else None,
            "n_stories": len(self.own),
            "is_confirmed": bool(lo > 0 and lead > 0),
        }


def interval(values: Float[np.ndarray, " story"]) -> tuple[float, float, float]:
    """Mean over stories and its 95% t-interval; NaN ends under four stories."""
    from scipy.stats import t

    if not len(values):
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    if len(values) < MIN_STORIES:
        return mean, math.nan, math.nan
    reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - reach, mean + reach


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
