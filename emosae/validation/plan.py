"""Which worlds are simulated how often, and what must hold in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emosae.validation.experiments import ALPHA, BANDS, Counts, Kind, name_band
from emosae.validation.worlds import World

TOLERANCE = 3.0
"""Monte-Carlo errors by which a bar may be missed: the chance that one bar fails by accident is 0.3%."""

_COVERAGE = (0.935, 0.965)
_RATE_SD = math.sqrt(ALPHA * (1 - ALPHA))
_LEAST = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """One world, what is done in it, and how often."""

    name: str
    kind: Kind
    world: World
    simulations: int


@dataclass(frozen=True, slots=True)
class Bar:
    """What must hold of one measure of one condition, from `lo` to `hi`.

    Attributes:
        claim: What it means, a few words.
        condition: Name of the condition; several whose names begin with it and a comma are taken together.
        measure: Name of the measure.
        lo: Smallest value allowed.
        hi: Largest.
        sd: Deviation of one simulation at the bar, for rates that are so small that the observed one may be 0;
            0 where the observed one is used.
    """

    claim: str
    condition: str
    measure: str
    lo: float
    hi: float
    sd: float = 0.0


BARS = (
    Bar("global null: max-T rejects anything", "null", "familywise", ALPHA, ALPHA, _RATE_SD),
    Bar("global null: q discovers anything", "null", "fdp", 0.0, ALPHA, _RATE_SD),
    Bar("global null, topics lean: max-T rejects anything", "null, topics lean", "familywise", 0.0, ALPHA, _RATE_SD),
    Bar("global null, topics lean: q discovers anything", "null, topics lean", "fdp", 0.0, ALPHA, _RATE_SD),
    Bar("partial null: mean share of false discoveries", "partial", "fdp", 0.0, ALPHA),
    Bar("partial null, topics lean: the same", "partial, topics lean", "fdp", 0.0, ALPHA),
    Bar("partial null: max-T rejects a null feature", "partial", "familywise", 0.0, ALPHA, _RATE_SD),
    Bar("partial null, topics lean: the same", "partial, topics lean", "familywise", 0.0, ALPHA, _RATE_SD),
    *(
        Bar(f"global null, {told}: {claim}", f"null, {name}", measure, low, ALPHA, _RATE_SD)
        for name, told in (("alike stories", "4 alike stories a cell"), ("uneven cells", "uneven cells"))
        for claim, measure, low in (("max-T", "familywise", ALPHA), ("q", "fdp", 0.0))
    ),
    Bar("partial null, 4 alike stories a cell: false share", "partial, alike stories", "fdp", 0.0, ALPHA),
    Bar(
        "partial null, 4 alike stories: max-T, null feature",
        "partial, alike stories",
        "familywise",
        0.0,
        ALPHA,
        _RATE_SD,
    ),
    Bar("effect 3: planted features discovered", "effect 3", "power", 0.8, 1.0),
    Bar("effect 3: planted features that max-T finds", "effect 3", "power_maxt", 0.8, 1.0),
    Bar("effect 3: the shared feature found for both", "effect 3", "overlap", 0.8, 1.0),
    Bar("95% intervals, features that know nothing", "intervals", "noise", *_COVERAGE),
    *(Bar(f"95% intervals, {name_band(edge)}", "intervals", name_band(edge), *_COVERAGE) for edge in BANDS[:-2]),
    Bar("95% intervals against the rival", "intervals", "rival", *_COVERAGE),
    Bar("95% intervals of a difference", "intervals", "difference", *_COVERAGE),
)

CURVES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "effect, deviations": tuple((x, f"effect {x:g}") for x in (0.5, 1, 1.5, 2, 3, 4)),
    "discover stories per emotion (effect 1.5)": tuple((x, f"stories {x}") for x in (6, 12, 24, 48)),
    "alike stories of each emotion on a topic (effect 1.5)": tuple((x, f"alike {x}") for x in (1, 2, 4, 8)),
    "lean of topics to an emotion (effect 2)": tuple((x, f"lean {x:g}") for x in (0, 0.25, 0.5, 0.75)),
    "share absorbed by a second feature (effect 3)": tuple(
        (x, f"absorbed {x:g}") for x in (0, 0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "features that share an emotion (effect 3)": tuple((x, f"split {x}") for x in (1, 2, 3, 4)),
}
"""What is varied on each curve, and the condition at each of its points."""


LAYOUTS: Mapping[str, World] = {
    f"intervals, {n // 3} x {copies}": World(n_topics=n, copies=copies, varied=True)
    for n, copies in ((18, 1), (24, 1), (36, 1), (18, 4), (24, 2), (24, 4))
}
"""Confirm topics and stories of each emotion on each of them."""


def plan_conditions(simulations: int) -> tuple[Condition, ...]:
    """Every condition, so many simulations of the global null and fewer of the others.

    Correlated noise, topic effects and a feature that two emotions share are part of every world.
    """
    some, few = (max(_LEAST, simulations // part) for part in (4, 40))
    main = (
        Condition("null", "errors", World(), simulations),
        Condition("null, topics lean", "errors", World(lean=0.6), some),
        Condition("partial", "errors", World(effect=2.0), some),
        Condition("partial, topics lean", "errors", World(effect=2.5, lean=0.5), some),
        Condition("null, alike stories", "errors", World(copies=4, cell_sd=0.5), some),
        Condition("null, uneven cells", "errors", World(copies=4, lean=0.2, cell_sd=0.5), some),
        Condition("partial, alike stories", "errors", World(effect=1.5, copies=4, cell_sd=0.5), some),
    )
    n_intervals = max(_LEAST, simulations // 50)
    intervals = tuple(
        Condition(f"{layout}, effect {effect:g}", "intervals", replace(world, effect=effect), n_intervals)
        for layout, world in LAYOUTS.items()
        for effect in (1.6, 2.0, 2.4)
    )
    points = (Condition(name, "errors", world, few) for name, world in _list_points())
    return (*main, *intervals, *points)


def _list_points() -> list[tuple[str, World]]:
    stories = {
        6: World(1.5, n_topics=12, cell_sd=0.0),
        **{12 * n: World(1.5, copies=n, cell_sd=0.0) for n in (1, 2, 4)},
    }
    worlds = {
        "effect": {x: World(float(x)) for x in (0.5, 1, 1.5, 2, 3, 4)},
        "stories": stories,
        "alike": {n: World(1.5, copies=n, cell_sd=0.5) for n in (1, 2, 4, 8)},
        "lean": {x: World(2.0, lean=float(x)) for x in (0, 0.25, 0.5, 0.75)},
        "absorbed": {x: World(3.0, absorbed=float(x)) for x in (0, 0.1, 0.2, 0.3, 0.4, 0.5)},
        "split": {x: World(3.0, split=x) for x in (1, 2, 3, 4)},
    }
    return [(f"{name} {x:g}", world) for name, points in worlds.items() for x, world in points.items()]


def gather_counts(counts: Mapping[str, Sequence[Counts]], condition: str) -> list[Counts]:
    """The simulations of one condition, or of all whose names begin with this one and a comma."""
    if condition in counts:
        return list(counts[condition])
    return [one for name, several in counts.items() if name.startswith(f"{condition},") for one in several]
