"""Rises over attempts: planted ones are found, survivors and drift do not make one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from planted import planted_sae

from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.rollouts import TRACE_PREFIX
from emosae.scenarios.tables import make_table
from emosae.scenarios.trajectory import draw_counterparts, find_slopes, name_counterpart, tabulate_trajectory

DIAL, MATCHED = "desperate", [name_counterpart("desperate", number) for number in range(3)]
DRAWS = 200


def draw_loops(
    rng: np.random.Generator, *, rise: float = 0.0, drift: float = 0.0, n_tasks: int = 20, per_task: int = 3
) -> pa.Table:
    """Both loops; all features drift, with failures the dial rises besides. High episodes end sooner."""
    rows: list[dict[str, Any]] = []
    for loop, slope in (("failures", rise), ("no failures", 0.0)):
        for task in range(n_tasks):
            own = rng.normal(0, 0.3)
            for episode in range(per_task):
                start = own + rng.normal(0, 1)
                length = 1 + int(rng.binomial(3, 1 / (1 + math.exp(start))))
                steps = np.arange(length)
                traces = {DIAL: start + (slope + drift) * steps} | {name: 2.0 + drift * steps for name in MATCHED}
                noisy = {name: (line + rng.normal(0, 0.5, length)).tolist() for name, line in traces.items()}
                facts = {"condition": loop, "dial": "-", "impossible": True, "task_id": f"t{task}", "episode": episode}
                rows.append(facts | {TRACE_PREFIX + name: values for name, values in noisy.items()})
    return tabulate_loops(rows)


def tabulate_loops(rows: list[dict[str, Any]]) -> pa.Table:
    numbers = [f"{TRACE_PREFIX}{name}[]" for name in (DIAL, *MATCHED)]
    texts = ("condition", "dial", "task_id")
    return make_table(rows, texts=texts, numbers=numbers, counts=("episode",), flags=("impossible",))


def pick(table: pa.Table, quantity: str, loop: str = "failures", features: str = "", attempt: int | None = None) -> Any:
    """The one row of a kind."""
    [row] = [
        row
        for row in table.to_pylist()
        if (row["quantity"], row["loop"], row["attempt"]) == (quantity, loop, attempt)
        and features in ("", row["features"])
    ]
    return row


def tabulate(loops: pa.Table, closings: pa.Table | None = None) -> pa.Table:
    return tabulate_trajectory(loops, closings, {DIAL: len(MATCHED)})


def test_a_planted_rise_is_covered_through_drift_and_dropping_out(rng: np.random.Generator) -> None:
    covered, excess, naive = 0, 0, []
    for _ in range(DRAWS):
        table = tabulate(draw_loops(rng, rise=0.3, drift=0.2))
        rise, beyond = pick(table, "rise"), pick(table, "excess", "difference")
        covered += rise["lo"] <= 0.3 <= rise["hi"]
        excess += beyond["lo"] <= 0.3 <= beyond["hi"]
        levels = [pick(table, "level", features="dial", attempt=at)["mean"] for at in (1, 3)]
        naive.append((levels[1] - levels[0]) / 2 - 0.2)
    assert 0.91 <= covered / DRAWS <= 0.985
    assert 0.91 <= excess / DRAWS <= 0.985
    assert np.mean(naive) < 0.1  # survivors are low: means per attempt hide two thirds of the rise


def test_drift_alone_is_no_rise_at_the_nominal_rate(rng: np.random.Generator) -> None:
    tables = [tabulate(draw_loops(rng, drift=0.4)) for _ in range(DRAWS)]
    assert 0.01 <= np.mean([pick(table, "rise")["p"] < 0.05 for table in tables]) <= 0.09
    assert np.mean([pick(table, "slope", features="dial")["lo"] > 0 for table in tables]) > 0.9


def test_slopes_are_numpys_and_skip_what_was_not_thought() -> None:
    traces = {("a", 0): [1.0, 4.0, 3.0], ("a", 1): [2.0, math.nan, 8.0], ("b", 0): [1.0], ("b", 1): [math.nan, 1.0]}
    slopes = find_slopes(traces)
    assert slopes == pytest.approx({("a", 0): np.polyfit([0, 1, 2], [1, 4, 3], 1)[0], ("a", 1): 3.0})


def test_numbers_at_risk_fall_and_stand_beside_each_level(rng: np.random.Generator) -> None:
    table = tabulate(draw_loops(rng))
    counts = [pick(table, "level", features="dial", attempt=at)["n"] for at in range(1, 5)]
    assert counts[0] == 60
    assert counts == sorted(counts, reverse=True)
    assert pick(table, "slope", features="dial")["n"] == counts[1] == pick(table, "rise")["n"]
    assert pick(table, "rise")["n_matched"] == 3


def test_the_rank_says_how_many_matched_sets_rise_as_much(rng: np.random.Generator) -> None:
    assert pick(tabulate(draw_loops(rng, rise=2.0)), "rise")["rank"] == 1 / 4
    assert pick(tabulate(draw_loops(rng, rise=-2.0)), "rise")["rank"] == 1


def test_the_drop_and_the_relief_are_differences_less_the_matched_ones(rng: np.random.Generator) -> None:
    facts = {"episode": 0, "impossible": True, "after": 1.0}
    rows = [
        {**facts, "task_id": f"t{at}", "name": name, "before": before, "otherwise": before - 1}
        for at in range(6)
        for name, before in ((DIAL, 4.0 + at), *((name, 1.5) for name in MATCHED))
    ]
    rows += [{**row, "task_id": "t9", "after": math.nan} for row in rows[:4]]  # a turn without a thought
    numbers = ("before", "after", "otherwise")
    closings = make_table(rows, texts=("task_id", "name"), numbers=numbers, counts=("episode",), flags=("impossible",))
    table = tabulate(draw_loops(rng), closings)
    assert pick(table, "before", features="dial")["mean"] == pytest.approx(6.5)
    assert pick(table, "after", features="matched")["mean"] == 1.0
    drops = [row for row in table.to_pylist() if row["quantity"] == "drop"]
    assert {row["features"]: row["mean"] for row in drops} == pytest.approx(
        {"dial": 5.5, "matched": 0.5, "dial minus matched": 5.0}
    )
    assert [row["n"] for row in drops] == [6, 6, 6]
    assert drops[-1]["lo"] > 0
    assert pick(table, "relief", features="dial")["mean"] == pytest.approx(4.5)
    assert pick(table, "relief", features="dial minus matched")["mean"] == pytest.approx(5.0)


def test_nothing_traced_says_nothing() -> None:
    table = tabulate_trajectory(tabulate_loops([]), None, {DIAL: 0})
    row = pick(table, "slope", features="dial")
    assert row["n"] == 0
    assert (row["lo"], row["hi"]) == (-math.inf, math.inf)


def test_counterparts_fire_as_often_and_are_not_selective(rng: np.random.Generator) -> None:
    sae = planted_sae(16, 60)
    rates = np.geomspace(1e-4, 0.5, 60)
    features = FeatureSet(DIAL, sae, (30, 40), 1.0)
    selective = {*range(24, 48)} - {30, 40}
    sets = draw_counterparts(features, rates, selective, rng, most=4)
    assert [one.name for one in sets] == [name_counterpart(DIAL, number) for number in range(4)]
    drawn = [index for one in sets for index in one.feature_idx]
    assert len(set(drawn)) == 8
    assert not {*selective, 30, 40} & set(drawn)
    assert all(abs(math.log(rates[one.feature_idx[0]] / rates[30])) < 4 for one in sets)
    assert len(draw_counterparts(features, np.where(np.arange(60) < 8, 0.1, 0.0), (), rng)) == 4
    assert draw_counterparts(features, np.zeros(60), (), rng) == []
