"""Arms in which a part of a dial is turned up, inside or outside a subspace, and what they show together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emosae.scenarios.arms import Arm, compare_arms, split_arms, summarize_arms
from emosae.scenarios.conditions import Condition, FeatureSet
from emosae.scenarios.factorial import compare_parts
from emosae.scenarios.subspace import Side, Subspace, added_by, has_part, turn_part
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

NATURAL, EQUAL = "natural", "equal norm"
_SHOWN = ("rate", "lo", "hi", "delta", "delta_lo", "delta_hi", "p", "coherence", "solved", "solved_lo", "solved_hi")
_TERM = ("effect", "effect_lo", "effect_hi", "p", "share", "share_lo", "share_hi", "held", "energy", "chance")


def build_part_arms(
    features: FeatureSet, emotion: Subspace, controls: Mapping[str, Subspace], dose: float, n_episodes: int
) -> list[Condition]:
    """A dial's parts inside and outside the emotion subspace, as long as they are and as long as the whole.

    Of every control subspace the part inside, as long as the whole. A part without length has no arm.
    """
    wanted: list[tuple[str, Subspace, Side, str]] = []
    for method in (NATURAL, EQUAL):
        wanted.extend([("inside", emotion, "inside", method), ("outside", emotion, "outside", method)])
    wanted.extend((name, subspace, "inside", EQUAL) for name, subspace in controls.items())
    return [
        Condition(
            condition=name,
            dial=features.name,
            method=method,
            dose=dose,
            role="control" if name in controls else "target",
            interventions=(turn_part(features, subspace, side, dose, equal_norm=method == EQUAL),),
            n_episodes=n_episodes,
        )
        for name, subspace, side, method in wanted
        if has_part(features, subspace, side, dose)
    ]


def gather_arms(rollouts: pa.Table, parts: pa.Table, features: FeatureSet, dose: float) -> pa.Table:
    """The arms of the parts with two that were run before, nothing done and the whole turned up, on the same episodes.

    Without rows if one of the two is missing.
    """
    import pyarrow as pa

    played = {(row["task_id"], row["episode"], row["impossible"]) for row in parts.to_pylist()}
    chosen = {("none", "-", "-", 0.0): False, ("up", features.name, "sae", dose): False}
    keep = []
    for row in rollouts.to_pylist():
        arm = row["condition"], row["dial"], row["method"], row["dose"]
        wanted = arm in chosen and not row["hides_naming"]
        keep.append(wanted and (row["task_id"], row["episode"], row["impossible"]) in played)
        if wanted:
            chosen[arm] = True
    both = pa.concat_tables([rollouts.filter(pa.array(keep, pa.bool_())), parts], promote_options="default")
    return both if all(chosen.values()) else both.slice(0, 0)


def tabulate_parts(arms: pa.Table, features: FeatureSet, emotion: Subspace) -> pa.Table:
    """One row per term of the two-by-two experiment on the parts at their natural length, see `factorial`.

    `energy` is the share of the squared length of what the dial adds that lies inside the subspace of `rank`
    dimensions, `chance` what it would be for a random direction, `held` the share of the emotion vectors' variance that
    the subspace holds. No rows where one of the four arms is missing.
    """
    found = {(arm.facts["condition"], arm.facts["method"]): arm.outcomes() for arm in split_arms(arms)}
    four = [found.get(key) for key in (("none", "-"), ("inside", NATURAL), ("outside", NATURAL), ("up", "sae"))]
    whole = added_by(features, 1.0)
    facts = {
        "dial": features.name,
        "sae": features.dictionary.name,
        "hook_name": features.dictionary.hook_name,
        "rank": emotion.rank,
        "d_in": features.dictionary.d_in,
        "held": emotion.held,
        "energy": emotion.energy(whole),
        "chance": emotion.rank / features.dictionary.d_in,
    }
    nothing, inside, outside, both = four
    rows = []
    if nothing is not None and inside is not None and outside is not None and both is not None:
        rows = [facts | row for row in compare_parts(nothing, inside, outside, both)]
    return make_table(
        rows,
        texts=("dial", "sae", "hook_name", "term"),
        numbers=_TERM,
        counts=("n", "n_tasks", "rank", "d_in"),
    )


def tabulate_part_arms(
    arms: pa.Table, features: FeatureSet, emotion: Subspace, controls: Mapping[str, Subspace], dose: float
) -> pa.Table:
    """One row per arm of a dial: the columns of `summary` that matter here, and what was added.

    `cosine` is that of what is added with what the whole dial adds, `added` its length over the mean residual norm.
    `gap` is the rate of the equal-norm part inside less the arm's, paired by episode, with an interval over tasks.
    """
    whole = added_by(features, dose)
    found = split_arms(arms)
    inside = next((arm for arm in found if (arm.facts["condition"], arm.facts["method"]) == ("inside", EQUAL)), None)
    rows = []
    for arm, row in zip(found, summarize_arms(arms).to_pylist(), strict=True):
        name, method = arm.facts["condition"], arm.facts["method"]
        cosine = _cosine_of(name, whole, emotion, controls)
        rows.append(
            {"dial": features.name, "condition": name, "method": method, "role": arm.facts["role"]}
            | {key: row[key] for key in (*_SHOWN, "n", "n_tasks", "n_solvable")}
            | {"cosine": cosine, "added": dose * (cosine or 0.0) if method == NATURAL else dose}
            | ({"added": 0.0} if arm.is_reference else {})
            | _gap(inside, arm)
        )
    texts, counts = ("dial", "condition", "method", "role"), ("n", "n_tasks", "n_solvable")
    return make_table(rows, texts=texts, numbers=(*_SHOWN, "cosine", "added", "gap", "gap_lo", "gap_hi"), counts=counts)


def _cosine_of(name: str, whole: Any, emotion: Subspace, controls: Mapping[str, Subspace]) -> float | None:
    """Of a part with the whole: the part is its projection, so that its length says it."""
    if name == "none":
        return None
    if name == "up":
        return 1.0
    energy = controls.get(name, emotion).energy(whole)
    return math.sqrt(max(0.0, 1 - energy if name == "outside" else energy))


def _gap(inside: Arm | None, arm: Arm) -> dict[str, float]:
    if inside is None or arm is inside or arm.is_reference:
        return {}
    gap = compare_arms(inside, arm)
    return {"gap": gap.estimate, "gap_lo": gap.lo, "gap_hi": gap.hi}
