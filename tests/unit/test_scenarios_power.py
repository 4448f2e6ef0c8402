"""What the power table promises is what simulated experiments keep."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from emosae.scenarios.power import (
    ASSUMED_ICC,
    ASSUMED_RATE,
    NO_PILOT,
    Pilot,
    detectable_change,
    estimate_icc,
    plan_size,
    read_pilot,
    tabulate_power,
)
from emosae.scenarios.statistics import Interval, clustered_mean


def pilot(rate: float = 0.3, icc: float = 0.1) -> Pilot:
    return Pilot(Interval(rate, rate, rate), icc, 20, 80)


def draw_arm(rng: np.random.Generator, rate: float, icc: float, shape: tuple[int, int]) -> np.ndarray:
    """Outcomes with that correlation in rows: each row has a draw that each cell takes with chance sqrt(icc)."""
    common = rng.random((shape[0], 1)) < rate
    return np.where(rng.random(shape) < math.sqrt(icc), common, rng.random(shape) < rate).astype(float)


@pytest.mark.parametrize("icc", [0.0, 0.2, 0.6])
def test_the_correlation_within_tasks_is_found(rng: np.random.Generator, icc: float) -> None:
    values = draw_arm(rng, 0.3, icc, (3000, 4))
    found = estimate_icc(values.ravel(), np.repeat(np.arange(3000), 4))
    assert found == pytest.approx(icc, abs=0.03)


def test_the_correlation_of_uneven_clusters_is_found(rng: np.random.Generator) -> None:
    values = draw_arm(rng, 0.4, 0.3, (4000, 6))
    keep = np.arange(6)[None] < rng.integers(1, 7, size=(4000, 1))
    clusters = np.broadcast_to(np.arange(4000)[:, None], values.shape)
    assert estimate_icc(values[keep], clusters[keep]) == pytest.approx(0.3, abs=0.03)


def test_nothing_is_known_of_one_value_each_or_of_equal_values() -> None:
    assert math.isnan(estimate_icc(np.array([0.0, 1.0, 0.0]), np.arange(3)))
    assert math.isnan(estimate_icc(np.ones(6), np.arange(6) // 2))
    assert math.isnan(estimate_icc(np.array([0.0, 1.0]), np.zeros(2)))


def test_without_a_pilot_numbers_are_assumed_and_say_so() -> None:
    assert read_pilot([], []) is NO_PILOT
    assert (NO_PILOT.rate.estimate, NO_PILOT.icc, NO_PILOT.n_tasks) == (ASSUMED_RATE, ASSUMED_ICC, 0)
    found = read_pilot([True, False, False, False], ["a", "a", "b", "b"])
    assert (found.rate.estimate, found.n_tasks, found.n_episodes) == (0.25, 2, 4)


@pytest.mark.parametrize(("n", "n_tasks", "icc", "sign"), [(200, 50, 0.1, 1), (200, 50, 0.1, -1), (100, 20, 0.3, 1)])
def test_the_detectable_change_is_shown_four_times_in_five(
    rng: np.random.Generator, n: int, n_tasks: int, icc: float, sign: int
) -> None:
    """Two arms that share nothing, each with the pilot's correlation: the model that the formula is of."""
    size = detectable_change(n, pilot(icc=icc), n_tasks, sign=sign)
    tasks, shown = np.repeat(np.arange(n_tasks), n // n_tasks), 0
    for _ in range(600):
        arms = [draw_arm(rng, rate, icc, (n_tasks, n // n_tasks)).ravel() for rate in (0.3, 0.3 + sign * size)]
        found = clustered_mean(arms[1] - arms[0], tasks)
        shown += found.excludes_zero and found.estimate * sign > 0
    assert shown / 600 == pytest.approx(0.80, abs=0.055)


def test_what_is_planned_is_enough_and_no_more() -> None:
    n = plan_size(0.15, pilot(), 100)
    assert n is not None
    assert detectable_change(n, pilot(), 100) <= 0.15 < detectable_change(n - 1, pilot(), 100)


def test_few_tasks_cannot_be_made_up_for_by_episodes() -> None:
    assert plan_size(0.10, pilot(icc=0.5), 10) is None
    assert plan_size(0.10, pilot(icc=0.0), 10) is not None
    assert math.isnan(detectable_change(50, pilot(), 1))


def test_more_of_anything_that_costs_shows_less() -> None:
    rows = tabulate_power(pilot(), 100, 9)
    assert [(row["n"], row["tests"]) for row in rows] == [(n, m) for n in (50, 100, 200, 500) for m in (1, 9)]
    alone, family = rows[::2], rows[1::2]
    assert all(a["rise"] > b["rise"] for a, b in itertools.pairwise(alone))
    assert all(a["rise"] < b["rise"] for a, b in zip(alone, family, strict=True))
    assert tabulate_power(pilot(rate=0.02), 100, 1)[0]["fall"] is None
