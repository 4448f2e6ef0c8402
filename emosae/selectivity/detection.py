"""How selective a feature must be for the ranking to find it: directions of known strength, put in and looked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.selectivity.multiplicity import bh
from emosae.selectivity.ranks import AnyByEmotion, auroc_all
from emosae.selectivity.screen import make_tests
from emosae.stories import Story

STRENGTHS = 2.0 ** (np.arange(-64, 1) / 8)
"""Added norm over the mean residual norm: from 1/256 to 1, each 9% above the last."""

FOUND_SHARE = 0.8
"""Share of spikes that must be found at the limit."""

COLUMNS = pa.schema(
    [
        ("emotion", pa.string()),
        ("n_spikes", pa.int64()),
        ("p_needed", pa.float64()),
        ("share_found", pa.float64()),
        ("detection_limit_strength", pa.float64()),
        ("detection_limit_auroc", pa.float64()),
        ("detection_limit_auroc_confirm", pa.float64()),
    ]
)

SpikeActs = Float[np.ndarray, "story spike"]


class Spikable(Protocol):
    """Some stories, to whose residuals a feature's direction can be added; `features.SpikedStories` is one."""

    def pool(self, sae: str, feature_idx: int, strength: float, /) -> Float[np.ndarray, " story"]:
        """Mean activation of the feature after that."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What the rule says of one emotion's spikes at one strength.

    Attributes:
        share_found: Share of the spikes that are discovered.
        auroc: Median AUROC of all spikes on discover, found or not; 0.5 is chance.
        auroc_confirm: The same on confirm; NaN if confirm does not hold the emotion and another.
    """

    share_found: float
    auroc: float
    auroc_confirm: float


def measure_detection(
    features: Sequence[StoryFeatures],
    stories: Sequence[Story],
    read: Callable[[Sequence[Story]], Spikable],
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    n_spikes: int = 10,
) -> pa.Table:
    """Spike features that know nothing of an emotion into its stories, and see from which strength they are found.

    A spike is a feature that passes the filter and whose p for the emotion is at least `alpha`. Its decoder direction
    is added at every token of the emotion's discover and confirm stories, the SAE reads these residuals anew, and the
    feature is tested as the ranking tests it: within topics, among all the tests of the run. The limit is the smallest
    of STRENGTHS at which FOUND_SHARE of the spikes have q below `alpha`.

    What an emotion's limit means: had a feature of these SAEs answered to the emotion with this AUROC, in all its
    stories alike, four times in five it would have been found. It says nothing of an emotion for which the SAE has no
    feature, nor of a feature that answers in some of the stories only. The chance with which null features differ
    stays in the spikes (but for the features with p below `alpha`). Confirm is read for the spikes' AUROC only, and
    nothing is chosen by it.

    Args:
        features: Every SAE that was ranked, since all of them are one family of tests.
        stories: With their splits.
        read: Opens some stories for spiking.
        rng: Draws the features.
        alpha: False discovery rate at which a feature counts as discovered.
        n_spikes: Features for each emotion, of all SAEs together; fewer if there are not so many.

    Returns:
        Rows `emotion, n_spikes, p_needed` (a single test's p had to lie below it), `share_found` at the limit,
        `detection_limit_strength` (added norm over mean residual norm), `detection_limit_auroc` and
        `detection_limit_auroc_confirm` (medians over the spikes, each with its error of sampling). The limit is null
        where no strength suffices, or nothing could be tested.
    """
    layout = lay_out(stories)
    discover = layout.part("discover")
    p = [_test(table, discover) for table in features]
    p_needed = find_critical_p(np.concatenate(p), alpha)
    rows = []
    for place, emotion in enumerate(layout.emotions):
        drawn = _draw_null([table[:, place] for table in p], alpha, n_spikes, rng)
        row = {"emotion": emotion, "n_spikes": len(drawn), "p_needed": p_needed if np.isfinite(p_needed) else None}
        if drawn:
            spikes = [(features[table], index) for table, index in drawn]
            row |= _find_limit(layout, place, spikes, read, p_needed)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def find_critical_p(p: AnyByEmotion, alpha: float) -> float:
    """The p below which one more test, in place of one at `alpha` or above, would have a q below `alpha`.

    A Benjamini-Hochberg test is rejected if its p lies below `alpha` times R / tests, where R counts the rejections
    that there are once that p is 0: the others alone fix the bar. NaN if nothing was tested.
    """
    values = np.sort(p[np.isfinite(p)])
    if not len(values):
        return float("nan")
    values[-1] = 0.0
    return alpha * int((bh(values) < alpha).sum()) / len(values)


def _test(table: StoryFeatures, discover: Part) -> AnyByEmotion:
    """p of every feature for every emotion on discover; NaN where it is not tested."""
    units = discover.units()
    acts = table.mean[discover.rows]
    test, tested = make_tests(acts, units.rank(acts), discover, units)
    return np.where(tested, test.p_upper, np.nan)


def _draw_null(
    p: Sequence[Float[np.ndarray, " _"]], alpha: float, n_spikes: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Tables and features with p of at least `alpha`, each as likely as any other."""
    null = [(table, int(index)) for table, values in enumerate(p) for index in np.flatnonzero(values >= alpha)]
    return [null[at] for at in rng.permutation(len(null))[:n_spikes]]


def _find_limit(
    layout: Layout,
    place: int,
    spikes: Sequence[tuple[StoryFeatures, int]],
    read: Callable[[Sequence[Story]], Spikable],
    p_needed: float,
) -> dict[str, Any]:
    """The columns of one emotion's row that the spikes give."""
    parts = (layout.part("discover"), layout.part("confirm"))
    own = np.concatenate([part.rows[part.label == place] for part in parts])
    spikable = read([layout.stories[row] for row in own])
    before = np.stack([csc_array(table.mean)[:, [index]].toarray()[:, 0] for table, index in spikes], axis=1)

    @cache
    def at(step: int) -> Reading:
        after = before.astype(np.float64)
        pooled = [spikable.pool(table.sae, index, float(STRENGTHS[step])) for table, index in spikes]
        after[own] = np.stack(pooled, axis=1)
        return _judge(after, parts, place, p_needed)

    step = bisect_left(range(len(STRENGTHS)), FOUND_SHARE, key=lambda one: at(one).share_found)
    if step == len(STRENGTHS):
        return {"share_found": at(step - 1).share_found}
    limit = at(step)
    return {
        "share_found": limit.share_found,
        "detection_limit_strength": float(STRENGTHS[step]),
        "detection_limit_auroc": limit.auroc,
        "detection_limit_auroc_confirm": limit.auroc_confirm if np.isfinite(limit.auroc_confirm) else None,
    }


def _judge(acts: SpikeActs, parts: tuple[Part, Part], place: int, p_needed: float) -> Reading:
    """Apply the rule by which the ranking discovers, with the bar that its other tests set."""
    discover, confirm = parts
    read = csc_array(acts[discover.rows])
    test = discover.units().test(read)
    auroc = auroc_all(read, discover.label, discover.n_emotions)[:, place]
    held_out = auroc_all(csc_array(acts[confirm.rows]), confirm.label, confirm.n_emotions)[:, place]
    found = (test.p_upper[:, place] < p_needed) & (auroc > 0.5)
    return Reading(float(found.mean()), float(np.median(auroc)), float(np.median(held_out)))
