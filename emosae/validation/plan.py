"""Which worlds are simulated how often, and what must hold in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from emosae.validation.experiments import ALPHA, Kind
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
        condition: Name of the condition.
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
    Bar("effect 3: planted features discovered", "effect 3", "power", 0.8, 1.0),
    Bar("effect 3: planted features that max-T finds", "effect 3", "power_maxt", 0.8, 1.0),
    Bar("effect 3: the shared feature found for both", "effect 3", "overlap", 0.8, 1.0),
    Bar("95% intervals, features that know nothing", "intervals, effect 2", "noise", *_COVERAGE),
    Bar("95% intervals, AUROC .62 to .66", "intervals, effect 1", "planted", *_COVERAGE),
    Bar("95% intervals, AUROC .76 to .82", "intervals, effect 2", "planted", *_COVERAGE),
    Bar("95% intervals, AUROC .85 to .94: not too narrow", "intervals, effect 3", "planted", _COVERAGE[0], 1.0),
    Bar("95% intervals against the rival: not too narrow", "intervals, effect 2", "rival", _COVERAGE[0], 1.0),
)

CURVES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "effect, deviations": tuple((x, f"effect {x:g}") for x in (0.5, 1, 1.5, 2, 3, 4)),
    "discover stories per emotion (effect 1.5)": tuple((x, f"stories {x}") for x in (6, 12, 24, 48)),
    "lean of topics to an emotion (effect 2)": tuple((x, f"lean {x:g}") for x in (0, 0.25, 0.5, 0.75)),
    "share absorbed by a second feature (effect 3)": tuple(
        (x, f"absorbed {x:g}") for x in (0, 0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "features that share an emotion (effect 3)": tuple((x, f"split {x}") for x in (1, 2, 3, 4)),
}
"""What is varied on each curve, and the condition at each of its points."""

STRESS = "null, four alike stories a cell"
"""Stories of one emotion and topic are more alike than the emotion makes them, so exchanging them is not exact."""


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
        Condition(STRESS, "errors", World(copies=4, cell_sd=0.5), few),
    )
    n_intervals = max(_LEAST, simulations // 10)
    intervals = tuple(
        Condition(f"intervals, effect {effect}", "intervals", World(effect=float(effect)), n_intervals)
        for effect in (1, 2, 3)
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
        "lean": {x: World(2.0, lean=float(x)) for x in (0, 0.25, 0.5, 0.75)},
        "absorbed": {x: World(3.0, absorbed=float(x)) for x in (0, 0.1, 0.2, 0.3, 0.4, 0.5)},
        "split": {x: World(3.0, split=x) for x in (1, 2, 3, 4)},
    }
    return [(f"{name} {x:g}", world) for name, points in worlds.items() for x, world in points.items()]
