"""Whether each emotion's best feature does better than simpler methods, story by story on confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.selectivity.baselines import BaselineScores
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS, NO_INTERVAL, Interval, jackknife_difference
from emosae.selectivity.layout import Part, lay_out
from emosae.stories import Story

BEATS, TIES, LOSES = "beats", "ties", "loses"
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("emotion", "sae")),
        ("feature_idx", pa.int64()),
        *((name, pa.string()) for name in ("baseline", "hook_name")),
        *((name, pa.float64()) for name in ("difference", "difference_lo", "difference_hi")),
        ("outcome", pa.string()),
    ]
)


def compare_baselines(
    features: Sequence[StoryFeatures], stories: Sequence[Story], summary: pa.Table, scores: Sequence[BaselineScores]
) -> pa.Table:
    """Set the feature that was chosen for each emotion against every baseline, on the same confirm stories.

    Baselines that read a hook or an SAE are taken at the feature's own. Nothing is chosen here, and intervals are not
    corrected for their number.

    Args:
        features: The SAEs that were ranked.
        stories: With their splits.
        summary: `emotion, sae, feature_idx` of the best feature, null where there is none.
        scores: The baselines' on the confirm stories.

    Returns:
        Rows `emotion, sae, feature_idx, baseline, hook_name, difference` (the feature's AUROC less the baseline's; 0 is
        equally good), `difference_lo, difference_hi` (paired, clustered by topic; null under 6 topics) and `outcome`:
        `beats`, `ties` (the interval holds 0, which does not show that they are equal), `loses`; null without interval.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    by_name = {table.sae: table for table in features}
    place = {emotion: number for number, emotion in enumerate(layout.emotions)}
    rows = []
    for best in summary.to_pylist():
        if best["sae"] is None:
            continue
        table = by_name[best["sae"]]
        acts = csc_array(table.mean)[:, [best["feature_idx"]]].toarray()[confirm.rows, 0].astype(np.float64)
        for one in scores:
            if one.hook_name in (None, table.hook_name) and one.sae in (None, table.sae):
                gap = _compare(acts, one, confirm, place[best["emotion"]])
                rows.append(_describe(best, one, gap))
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def say_outcome(lo: float, hi: float) -> str | None:
    """What an interval of a difference says; nothing if there is none."""
    if not (np.isfinite(lo) and np.isfinite(hi)):
        return None
    return BEATS if lo > 0 else LOSES if hi < 0 else TIES


def _compare(acts: np.ndarray, baseline: BaselineScores, confirm: Part, emotion: int) -> Interval:
    other = baseline.scores[:, emotion]
    if np.isnan(other).any():
        return NO_INTERVAL
    return jackknife_difference(acts, other, confirm.label == emotion, confirm.block, min_topics=MIN_INTERVAL_TOPICS)


def _describe(best: Mapping[str, Any], baseline: BaselineScores, gap: Interval) -> dict[str, Any]:
    measured = {"difference": gap.value, "difference_lo": gap.lo, "difference_hi": gap.hi}
    return {
        **{name: best[name] for name in ("emotion", "sae", "feature_idx")},
        "baseline": baseline.baseline,
        "hook_name": baseline.hook_name,
        **{name: value if np.isfinite(value) else None for name, value in measured.items()},
        "outcome": say_outcome(gap.lo, gap.hi),
    }
