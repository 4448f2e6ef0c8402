"""What features do over the attempts of an episode: against features that fire as often, and against no failures.

Only episodes that keep failing reach late attempts, so a mean per attempt compares different episodes. The slope is
therefore taken within each episode (least squares over its attempts, in units of activation per attempt) and averaged
over episodes. Everything drifts as a text grows longer, so two things are subtracted: the slope of random features that
fire at as many tokens of first thoughts and are selective for no emotion (`rise`), and the rise of a loop of as many
attempts in which no failure is told (`excess`). Intervals are over tasks; the matched features are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from emosae.lm import LanguageModel
from emosae.scenarios.conditions import FeatureSet, draw_matched_features
from emosae.scenarios.episodes import Episode
from emosae.scenarios.loops import read_first_thoughts
from emosae.scenarios.rollouts import TRACE_PREFIX
from emosae.scenarios.statistics import Interval, clustered_mean
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.sae import Dictionary

N_MATCHED = 19
DIAL, MATCHED, DIFFERENCE = "dial", "matched", "dial minus matched"
Key = tuple[str, int]
Traces = Mapping[Key, Sequence[float]]


def measure_firing(
    lm: LanguageModel, episodes: Sequence[Episode], dictionary: Dictionary
) -> Float[np.ndarray, " d_sae"]:
    """Share of the tokens of first thoughts at which each feature fires."""
    fired, n_tokens = torch.zeros(dictionary.d_sae, dtype=torch.float64), 0
    for _, acts in read_first_thoughts(lm, episodes, dictionary):
        fired += (acts > 0).double().sum(dim=0).cpu()
        n_tokens += len(acts)
    return (fired / max(n_tokens, 1)).numpy()


def draw_counterparts(
    features: FeatureSet,
    firing_rates: Float[np.ndarray, " d_sae"],
    excluded: Collection[int],
    rng: np.random.Generator,
    most: int = N_MATCHED,
) -> list[FeatureSet]:
    """Sets as large as a dial's, matched to it in firing rate and decoder norm; fewer than `most` where there are few.

    Args:
        features: The dial.
        firing_rates: Of every feature of its SAE, see `measure_firing`.
        excluded: Features of its SAE that are selective for any emotion.
        rng: Source of chance.
        most: Sets that are wanted.
    """
    dictionary, size = features.dictionary, len(features.feature_idx)
    norms = np.array([float(dictionary.direction(index).norm()) for index in range(dictionary.d_sae)])
    free = (firing_rates > 0) & (norms > 0)
    free[[*excluded, *features.feature_idx]] = False
    n_sets = min(most, int(free.sum()) // size)
    drawn = draw_matched_features(firing_rates, norms, excluded, features.feature_idx, n_sets, rng) if n_sets else []
    return [
        FeatureSet(name_counterpart(features.name, number), dictionary, chosen, features.resid_norm)
        for number, chosen in enumerate(drawn)
    ]


def name_counterpart(dial: str, number: int) -> str:
    """What a matched set is called."""
    return f"random {number} like {dial}"


def tabulate_trajectory(loops: pa.Table, closings: pa.Table | None, dials: Mapping[str, int]) -> pa.Table:
    """Levels per attempt, slopes within episodes, and the drop once tests pass, of every dial.

    `quantity` is level (mean activation over the thought at `attempt`), slope (per attempt, within episodes), rise
    (slope of the dial less the mean slope of its matched sets), excess (rise with failures less that without, in
    episodes that share the first attempt), before and after (over the thought of the attempt that passes, and over that
    of a turn behind the news of it), otherwise (over that turn where the last failure is told again instead), drop
    (before less after) and relief (otherwise less after). What passes is mostly a cheat, and thoughts before a cheat
    are not any thoughts, so that a drop holds a return to the usual; relief does not. `loop` is
    failures, no failures, or difference; `n` counts episodes, at risk for a level, with two attempts or more for a
    slope. `mean` has a 95% interval over tasks; ends are infinite where there is one task. `rank` of a rise is (1 + b)
    / (K + 1), b being how many of K matched sets have a mean slope no smaller than the dial's: chance is uniform.

    Args:
        loops: The table of `play_loops`.
        closings: That of `play_closings`, if there is one.
        dials: How many matched sets each dial has, by its name.
    """
    rows = []
    for dial, n_matched in dials.items():
        names = [name_counterpart(dial, number) for number in range(n_matched)]
        rises: dict[str, dict[Key, float]] = {}
        for loop in ("failures", "no failures"):
            traces = {name: read_traces(loops, loop, name) for name in (dial, *names)}
            found, rises[loop] = _tabulate_loop(traces[dial], [traces[name] for name in names])
            rows += [{"dial": dial, "loop": loop, **row} for row in found]
        shared = rises["failures"].keys() & rises["no failures"].keys()
        excess = {key: rises["failures"][key] - rises["no failures"][key] for key in sorted(shared)}
        rows.append({"dial": dial, "loop": "difference", **_describe("excess", DIFFERENCE, excess)})
        if closings is not None:
            rows += [{"dial": dial, "loop": "failures", **row} for row in _tabulate_closings(closings, dial, names)]
    texts = ("dial", "loop", "features", "quantity")
    return make_table(
        rows, texts=texts, numbers=("mean", "lo", "hi", "p", "rank"), counts=("attempt", "n", "n_tasks", "n_matched")
    )


def read_traces(loops: pa.Table, loop: str, name: str) -> dict[Key, list[float]]:
    """Activations by attempt of every impossible episode of a loop in which nothing is held."""
    columns = ["condition", "dial", "impossible", "task_id", "episode", TRACE_PREFIX + name]
    return {
        (row["task_id"], row["episode"]): row[TRACE_PREFIX + name]
        for row in loops.select(columns).to_pylist()
        if row["condition"] == loop and row["dial"] == "-" and row["impossible"] and row[TRACE_PREFIX + name]
    }


def find_slopes(traces: Traces) -> dict[Key, float]:
    """Least-squares slope per attempt of every episode with two attempts or more; attempts without a thought miss."""
    longest = max(map(len, traces.values()), default=0)
    acts = np.full((len(traces), longest), np.nan)
    for row, values in zip(acts, traces.values(), strict=True):
        row[: len(values)] = values
    known = np.isfinite(acts)
    n_known = known.sum(axis=1)
    attempts = np.where(known, np.arange(longest), 0.0)
    centred = np.where(known, attempts - (attempts.sum(axis=1) / np.maximum(n_known, 1))[:, None], 0.0)
    slopes = (centred * np.where(known, acts, 0.0)).sum(axis=1) / np.maximum(np.square(centred).sum(axis=1), 0.5)
    return {key: float(slope) for key, slope, n in zip(traces, slopes, n_known, strict=True) if n > 1}


def _tabulate_loop(dial: Traces, matched: Sequence[Traces]) -> tuple[list[dict[str, Any]], dict[Key, float]]:
    """Rows of one loop, and the rise of each of its episodes."""
    average = {key: np.mean([one[key] for one in matched], axis=0).tolist() for key in dial} if matched else {}
    own, others = find_slopes(dial), [find_slopes(one) for one in matched]
    drift = find_slopes(average)
    rise = {key: own[key] - drift[key] for key in own if key in drift}
    rows = _tabulate_levels(DIAL, dial) + (_tabulate_levels(MATCHED, average) if matched else [])
    rows += [_describe("slope", DIAL, own)] + ([_describe("slope", MATCHED, drift)] if matched else [])
    if matched:
        above = sum(_mean(one) >= _mean(own) for one in others)
        rank = (1 + above) / (len(matched) + 1) if own else None
        rows.append({**_describe("rise", DIFFERENCE, rise), "rank": rank, "n_matched": len(matched)})
    return rows, rise


def _mean(values: Mapping[Key, float]) -> float:
    return float(np.mean(list(values.values()))) if values else math.nan


def _tabulate_levels(features: str, traces: Traces) -> list[dict[str, Any]]:
    rows = []
    for at in range(max(map(len, traces.values()), default=0)):
        held = {key: float(row[at]) for key, row in traces.items() if len(row) > at and math.isfinite(row[at])}
        rows.append({**_describe("level", features, held), "attempt": at + 1})
    return rows


def _tabulate_closings(closings: pa.Table, dial: str, names: Sequence[str]) -> list[dict[str, Any]]:
    kinds = ("before", "after", "otherwise")
    found: dict[str, dict[Key, Float[np.ndarray, " kind"]]] = {name: {} for name in (dial, *names)}
    for row in closings.to_pylist():
        values = np.array([row[kind] for kind in kinds], dtype=np.float64)
        if row["name"] in found and np.isfinite(values).all():
            found[row["name"]][row["task_id"], row["episode"]] = values
    groups = {DIAL: found[dial]}
    if names:
        groups[MATCHED] = {key: np.mean([found[name][key] for name in names], axis=0) for key in found[dial]}
        groups[DIFFERENCE] = {key: found[dial][key] - mean for key, mean in groups[MATCHED].items()}
    rows = []
    for features, group in groups.items():
        for at, kind in enumerate(kinds if features != DIFFERENCE else ()):
            rows.append(_describe(kind, features, {key: float(values[at]) for key, values in group.items()}))
        for quantity, less in (("drop", 0), ("relief", 2)):
            rows.append(_describe(quantity, features, {key: float(v[less] - v[1]) for key, v in group.items()}))
    return rows


def _describe(quantity: str, features: str, values: Mapping[Key, float]) -> dict[str, Any]:
    """A mean over episodes with its interval over tasks."""
    tasks = np.array([task for task, _ in values])
    found = Interval(math.nan, -math.inf, math.inf)
    if values:
        found = clustered_mean(np.array(list(values.values())), tasks, bound=math.inf)
    return {
        "quantity": quantity,
        "features": features,
        "n": len(values),
        "n_tasks": len(set(tasks.tolist())),
        "mean": found.estimate,
        "lo": found.lo,
        "hi": found.hi,
        "p": found.p,
    }
