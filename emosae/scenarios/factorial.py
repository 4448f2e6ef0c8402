"""What two parts of a change do alone and together: a two-by-two experiment on the same episodes.

With Y00 an episode's outcome with nothing done, Y10 and Y01 with one part and Y11 with both:

* `total` = Y11 - Y00.
* `inside` = Y10 - Y00 and `outside` = Y01 - Y00: what each part does alone.
* `interaction` = Y11 - Y10 - Y01 + Y00: what both do beyond the sum of that. The three make up the total.
* `inside_main` and `outside_main`: the factorial's main effects, each part's effect averaged over whether the other is
  there. These two make up the total as well: half of the interaction goes to each.

The scale is that of rates, on which an interaction is not only a matter of the parts: two parts that each suffice have
a negative one, and two that must together pass a threshold a positive one.

Intervals are over tasks. A share is a term over the total, given only where the 95% interval of the total excludes 0;
its interval is Fieller's. Shares may lie outside of [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from emosae.scenarios.mediation import share_of
from emosae.scenarios.statistics import Interval, clustered_mean

TERMS = ("total", "inside", "outside", "interaction", "inside_main", "outside_main")

Outcomes = Mapping[tuple[str, int], bool]
"""Whether an episode ended in the behaviour, by task and episode."""


@dataclass(frozen=True, slots=True)
class Term:
    """One effect, a difference of rates, and its share of the total; None where there is no total to share."""

    name: str
    effect: Interval
    share: Interval | None


def split_change(
    nothing: Float[np.ndarray, " episode"],
    inside: Float[np.ndarray, " episode"],
    outside: Float[np.ndarray, " episode"],
    both: Float[np.ndarray, " episode"],
    tasks: Shaped[np.ndarray, " episode"],
) -> list[Term]:
    """Every term of the experiment, in the order of TERMS, from outcomes of the same episodes in its four arms."""
    total = both - nothing
    values = {
        "total": total,
        "inside": inside - nothing,
        "outside": outside - nothing,
        "interaction": both - inside - outside + nothing,
        "inside_main": (inside - nothing + both - outside) / 2,
        "outside_main": (outside - nothing + both - inside) / 2,
    }
    has_total = clustered_mean(total, tasks).excludes_zero
    terms = []
    for name in TERMS:
        bound = 2.0 if name == "interaction" else 1.0
        effect = clustered_mean(values[name], tasks, bound=bound)
        share = share_of(values[name], total, tasks, bound=bound) if has_total and name != "total" else None
        terms.append(Term(name, effect, share))
    return terms


def compare_parts(nothing: Outcomes, inside: Outcomes, outside: Outcomes, both: Outcomes) -> list[dict[str, Any]]:
    """A row per term, over the episodes that all four arms have; no rows without any.

    `n` episodes of `n_tasks` tasks; `effect` a difference of rates with `effect_lo`, `effect_hi` and `p`; `share` with
    `share_lo` and `share_hi`, missing where the total is not shown.
    """
    keys: Sequence[tuple[str, int]] = sorted(set(nothing) & set(inside) & set(outside) & set(both))
    if not keys:
        return []
    arms = [np.array([float(one[key]) for key in keys]) for one in (nothing, inside, outside, both)]
    tasks = np.array([task for task, _ in keys])
    counts = {"n": len(keys), "n_tasks": len(set(tasks.tolist()))}
    rows = []
    for term in split_change(arms[0], arms[1], arms[2], arms[3], tasks):
        effect, share = term.effect, term.share
        row = {"term": term.name, **counts, "effect": effect.estimate, "effect_lo": effect.lo, "effect_hi": effect.hi}
        row |= {"p": effect.p}
        if share is not None:
            row |= {"share": share.estimate, "share_lo": share.lo, "share_hi": share.hi}
        rows.append(row)
    return rows
