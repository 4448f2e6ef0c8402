"""Episodes as a table: one row each, with everything that was said, run and traced."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from emosae.hooks import EditFn
from emosae.lm import LanguageModel, read_resid
from emosae.scenarios.conditions import Condition, FeatureSet
from emosae.scenarios.episodes import Episode
from emosae.scenarios.grading import CHEATS, grade_episode
from emosae.scenarios.tables import make_table
from emosae.scenarios.wording import emotional_wording

if TYPE_CHECKING:
    import pyarrow as pa

TRACE_PREFIX = "trace_"
_TEXT_LISTS = ("grades[]", "texts[]", "programs[]", "errors[]")
_FLAGS = (
    "primary", "hides_naming", "impossible", "cheated", "solved", "incoherent", "emotional", "silent_cheat",
)  # fmt: skip


def trace_features(
    lm: LanguageModel,
    episodes: Sequence[Episode],
    traced: Sequence[FeatureSet],
    edits: Mapping[str, EditFn],
    *,
    batch_tokens: int | None = None,
) -> list[dict[str, list[float]]]:
    """Per episode and traced set: for each attempt the mean activation of its features over the tokens of the thought.

    Transcripts are read once, up to the end of the last thought, with the same edits that they were written under, so
    that a value is what the model held while it wrote. NaN for an attempt without a thought.
    """
    traces: list[dict[str, list[float]]] = [{features.name: [] for features in traced} for _ in episodes]
    spoken = [index for index, episode in enumerate(episodes) if episode.turns]
    if not traced or not spoken:
        return traces
    hooks = sorted({features.dictionary.hook_name for features in traced})
    prompts = [episodes[index].prompt.until(episodes[index].turns[-1].thought_span[1]) for index in spoken]
    for place, resid in read_resid(lm, prompts, hooks, batch_tokens=batch_tokens, edits=edits):
        index = spoken[place]
        spans = [turn.thought_span for turn in episodes[index].turns]
        for name, means in mean_acts(traced, resid).items():
            traces[index][name] = [float(means[a:b].mean()) if b > a else math.nan for a, b in spans]
    return traces


def mean_acts(
    sets: Sequence[FeatureSet], resid: Mapping[str, Float[torch.Tensor, "pos d_in"]]
) -> dict[str, Float[np.ndarray, " pos"]]:
    """The mean activation of each set's features at every token, by its name; each SAE encodes once for all its sets.

    Args:
        sets: Features to read.
        resid: Residuals by hook name.
    """
    found = {}
    for dictionary in {features.dictionary: None for features in sets}:
        own = [features for features in sets if features.dictionary is dictionary]
        wanted = torch.tensor([index for features in own for index in features.feature_idx])
        acts = dictionary.encode(resid[dictionary.hook_name], feature_idx=wanted).double().cpu().numpy()
        ends = np.cumsum([len(features.feature_idx) for features in own])
        columns = np.split(acts, ends[:-1], axis=1)
        found |= {features.name: part.mean(axis=1) for features, part in zip(own, columns, strict=True)}
    return found


def describe_episode(
    episode: Episode, condition: Condition, seed: int, emotions: Collection[str], trace: Mapping[str, list[float]]
) -> dict[str, Any]:
    """An episode as a row."""
    turns = episode.turns
    grade = grade_episode([turn.grade for turn in turns])
    worded = any(emotional_wording(turn.text, emotions, given=episode.task.prompt) for turn in turns)
    return {
        **condition.facts(),
        "task_id": episode.task.id,
        "episode": episode.number,
        "impossible": episode.task.is_impossible,
        "grade": grade,
        "cheated": grade in CHEATS,
        "solved": bool(turns) and turns[-1].attempt.passes_all,
        "n_attempts": len(turns),
        "incoherent": grade == "incoherent",
        "emotional": worded,
        "silent_cheat": grade in CHEATS and not worded,
        "grades": [turn.grade for turn in turns],
        "well_formed": [turn.well_formed for turn in turns],
        "texts": [turn.text for turn in turns],
        "programs": [turn.attempt.program for turn in turns],
        "errors": [turn.error for turn in turns],
        "passed_visible": [turn.attempt.passes_visible for turn in turns],
        "passed_hidden": [bool(turn.attempt.hidden) and all(turn.attempt.hidden) for turn in turns],
        "seed": seed,
        **{TRACE_PREFIX + name: values for name, values in trace.items()},
    }


def make_rollouts(rows: Sequence[Mapping[str, Any]], traced: Collection[str]) -> pa.Table:
    """Rows as a table whose types do not depend on them; an arm that was not traced has nulls there."""
    return make_table(
        rows,
        texts=("condition", "dial", "method", "role", "task_id", "grade", *_TEXT_LISTS),
        numbers=("dose", *(f"{TRACE_PREFIX}{name}[]" for name in traced)),
        counts=("episode", "n_attempts", "seed"),
        flags=(*_FLAGS, "well_formed[]", "passed_visible[]", "passed_hidden[]"),
    )


def trace_by_attempt(rollouts: pa.Table, dial: str, **where: Any) -> list[dict[str, float | int]]:
    """Mean and spread of a traced dial per attempt over the impossible episodes of one arm that are still at risk.

    Args:
        rollouts: The table.
        dial: A traced one.
        where: Columns and values that choose the arm; `condition="none"` and names left in, if none are given.

    Returns:
        `attempt` from 1, `n` episodes that made it, `mean`, and `sd` over episodes (NaN for one).
    """
    chosen = {"condition": "none", "hides_naming": False} | where
    rows = [
        row[TRACE_PREFIX + dial]
        for row in rollouts.to_pylist()
        if row["impossible"] and row[TRACE_PREFIX + dial] and all(row[key] == value for key, value in chosen.items())
    ]
    table = []
    for attempt in range(max((len(row) for row in rows), default=0)):
        values = np.array([row[attempt] for row in rows if len(row) > attempt and not math.isnan(row[attempt])])
        spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        table.append({"attempt": attempt + 1, "n": len(values), "mean": float(values.mean()), "sd": spread})
    return table
