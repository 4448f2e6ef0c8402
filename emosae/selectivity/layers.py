"""At which layer an emotion is told best: by a vector at every hook, by a feature where there are SAEs.

The layer is chosen on discover + tune; confirm is reported beside every hook and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from scipy.sparse import csc_array
from torch import Tensor

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity.baselines import measure_score
from emosae.selectivity.directions import emotion_vectors, score_vectors
from emosae.selectivity.intervals import NO_INTERVAL, Interval
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.stories import Story

VECTOR, FEATURE = "difference_of_means", "sae_feature"
_SCHEMA = pa.schema(
    [
        ("hook_name", pa.string()),
        ("depth", pa.int64()),
        *((name, pa.string()) for name in ("method", "emotion", "sae")),
        ("feature_idx", pa.int64()),
        *((name, pa.float64()) for name in ("auroc_tune", "effect_tune")),
        *((f"auroc_confirm{end}", pa.float64()) for end in ("", "_lo", "_hi")),
        ("chosen", pa.bool_()),
    ]
)


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """How well one method tells one emotion at one hook.

    Attributes:
        hook_name: Where it reads.
        depth: Place of the hook among those read, from 0.
        method: VECTOR or FEATURE.
        emotion: None for the mean over emotions.
        sae: Of a feature.
        feature_idx: Of a feature.
        auroc_tune: AUROC on tune of what was fitted or chosen on discover; 0.5 is chance.
        effect_tune: Cohen's d there, which settles ties.
        confirm: AUROC on confirm; of a vector, fitted on discover + tune.
    """

    hook_name: str
    depth: int
    method: str
    emotion: str | None
    sae: str | None
    feature_idx: int | None
    auroc_tune: float
    effect_tune: float
    confirm: Interval


def sweep_layers(
    features: Sequence[StoryFeatures],
    resid_mean: Mapping[str, Float[Tensor, "story d_in"]],
    stories: Sequence[Story],
    candidates: pa.Table,
) -> pa.Table:
    """Compare hooks by how well they tell each emotion from the others.

    Residuals are normalised first (see `normalise_resid`). A difference-of-means vector is fitted on discover and
    judged on tune, a feature was chosen on discover and is judged on tune; the hook with the highest AUROC there is
    chosen, per emotion and for the mean over emotions. Ties go to the larger Cohen's d, then to the earlier hook.

    Args:
        features: The SAEs that were ranked.
        resid_mean: Average residual of each story at each hook, the earliest hook first.
        stories: With their splits.
        candidates: `sae, feature_idx, emotion, auroc, cohens_d` of the features chosen on discover.

    Returns:
        Rows `hook_name, depth, method` (`difference_of_means` or `sae_feature`), `emotion` (null for the mean over
        emotions, which has no interval), `sae, feature_idx, auroc_tune, effect_tune, auroc_confirm, auroc_confirm_lo,
        auroc_confirm_hi, chosen`.

    Raises:
        UserError: Residuals of another number of stories.
    """
    short = [hook_name for hook_name, resid in resid_mean.items() if len(resid) != len(stories)]
    if short:
        raise UserError(f"residuals at {', '.join(short)}: are not of these stories: pool them again")
    layout = lay_out(stories)
    depths = {hook_name: depth for depth, hook_name in enumerate(resid_mean)}
    readings = [one for hook, resid in resid_mean.items() for one in _read_vectors(hook, depths[hook], resid, layout)]
    readings += _read_features(features, depths, layout, candidates)
    readings += _average(readings)
    chosen = _choose(readings)
    rows = [_describe(one, is_chosen=at in chosen) for at, one in enumerate(readings)]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def normalise_resid(resid_mean: Float[Tensor, "story d_in"]) -> Float[Tensor, "story d_in"]:
    """Every story's residual at length 1, as a model's own normalisation layers would have it; zeros stay zeros.

    Lengths grow from layer to layer and differ between stories, and a projection would rank stories by them.
    """
    return torch.nn.functional.normalize(resid_mean.double(), dim=1).float()


def _read_vectors(hook_name: str, depth: int, resid: Tensor, layout: Layout) -> Iterator[Reading]:
    normal = normalise_resid(resid)
    tune, confirm = layout.part("tune"), layout.part("confirm")
    early = score_vectors(emotion_vectors(normal, layout.stories, splits=("discover",)), normal, layout, tune)
    late = score_vectors(emotion_vectors(normal, layout.stories), normal, layout, confirm)
    for place, emotion in enumerate(layout.emotions):
        auroc, effect = _judge(early[:, place], tune, place)
        held_out = measure_score(late[:, place], confirm, place)
        yield Reading(hook_name, depth, VECTOR, emotion, None, None, auroc, effect, held_out)


def _read_features(
    features: Sequence[StoryFeatures], depths: Mapping[str, int], layout: Layout, candidates: pa.Table
) -> Iterator[Reading]:
    """The best feature of each hook and emotion, as it was chosen on discover."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    tables = {table.sae: table for table in features}
    for row in candidates.to_pylist():
        key = (tables[row["sae"]].hook_name, row["emotion"])
        if key not in best or _strength(row) > _strength(best[key]):
            best[key] = row
    tune, confirm = layout.part("tune"), layout.part("confirm")
    columns = {name: csc_array(table.mean) for name, table in tables.items()}
    for (hook_name, emotion), row in best.items():
        if hook_name not in depths:
            continue
        place = layout.emotions.index(emotion)
        acts = columns[row["sae"]][:, [row["feature_idx"]]].toarray()[:, 0].astype(np.float64)
        auroc, effect = _judge(acts[tune.rows], tune, place)
        held_out = measure_score(acts[confirm.rows], confirm, place)
        named = (hook_name, depths[hook_name], FEATURE, emotion, row["sae"], row["feature_idx"])
        yield Reading(*named, auroc, effect, held_out)


def _strength(row: Mapping[str, Any]) -> tuple[float, float]:
    return round(row["auroc"], 9), row["cohens_d"]


def _judge(scores: Float[np.ndarray, " story"], part: Part, emotion: int) -> tuple[float, float]:
    """AUROC and Cohen's d of a score for an emotion; NaN where there is none."""
    own, other = scores[part.label == emotion], scores[part.label != emotion]
    if not len(own) or not len(other) or np.isnan(scores).any():
        return float("nan"), float("nan")
    scatter = ((own - own.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
    spread = float(np.sqrt(scatter / max(1, len(scores) - 2)))
    effect = float(own.mean() - other.mean()) / spread if spread > 1e-12 else 0.0
    return measure_score(scores, part, emotion).value, effect


def _average(readings: Sequence[Reading]) -> list[Reading]:
    """The mean over the emotions that every hook of a method could be judged on."""
    found = []
    for method in (VECTOR, FEATURE):
        own = [one for one in readings if one.method == method and np.isfinite(one.auroc_tune)]
        hooks = {one.hook_name: one for one in own}
        told = [{one.emotion for one in own if one.hook_name == hook} for hook in hooks]
        shared = set.intersection(*told) if told else set()
        for first in hooks.values() if shared else ():
            here = [one for one in own if one.hook_name == first.hook_name and one.emotion in shared]
            confirm = replace(NO_INTERVAL, value=float(np.mean([one.confirm.value for one in here])))
            auroc, effect = (
                float(np.mean([getattr(one, name) for one in here])) for name in ("auroc_tune", "effect_tune")
            )
            found.append(Reading(first.hook_name, first.depth, method, None, None, None, auroc, effect, confirm))
    return found


def _choose(readings: Sequence[Reading]) -> set[int]:
    """Places of the readings with the highest AUROC on tune, one per method and emotion."""
    best: dict[tuple[str, str | None], int] = {}
    for at, one in enumerate(readings):
        key = (one.method, one.emotion)
        if np.isfinite(one.auroc_tune) and (key not in best or _merit(one) > _merit(readings[best[key]])):
            best[key] = at
    return set(best.values())


def _merit(one: Reading) -> tuple[float, float, int]:
    return round(one.auroc_tune, 9), round(one.effect_tune, 9), -one.depth


def _describe(one: Reading, *, is_chosen: bool) -> dict[str, Any]:
    numbers = {
        "auroc_tune": one.auroc_tune,
        "effect_tune": one.effect_tune,
        "auroc_confirm": one.confirm.value,
        "auroc_confirm_lo": one.confirm.lo,
        "auroc_confirm_hi": one.confirm.hi,
    }
    names = ("hook_name", "depth", "method", "emotion", "sae", "feature_idx")
    known = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
    return {name: getattr(one, name) for name in names} | known | {"chosen": is_chosen}
