"""The bars hold for the protocol as it is, and each fails for a control that is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emosae.selectivity.candidates as candidates
import emosae.selectivity.screen as screening
import emosae.validation.experiments as experiments
import emosae.validation.running as running
from emosae.cli import DONE, FAILED, main
from emosae.selectivity.intervals import jackknife_interval
from emosae.selectivity.layout import Part
from emosae.selectivity.permutation import max_t
from emosae.selectivity.ranks import auroc_all
from emosae.selectivity.screen import Screen, screen_features
from emosae.store import Stage
from emosae.validation.plan import BARS, Bar, Condition, plan_conditions
from emosae.validation.running import run_conditions
from emosae.validation.verdicts import judge_bar, measure_rate
from emosae.validation.worlds import EMOTIONS, World, describe, plant

SMALL: dict[str, Any] = {"n_noise": 40}


def bar_of(condition: str, measure: str) -> Bar:
    (bar,) = [bar for bar in BARS if (bar.condition, bar.measure) == (condition, measure)]
    return bar


def judge(bar: Bar, world: World, simulations: int, tmp_path: Path) -> str:
    kind = "intervals" if bar.condition.startswith("intervals") else "errors"
    condition = Condition(bar.condition, kind, world, simulations)
    counts = run_conditions([condition], 3, Stage(tmp_path), progress=False)
    return judge_bar(bar, counts[bar.condition]).verdict


def across_topics(features: list, part: Part, **options) -> list[Screen]:
    everything = np.arange(len(part.label))
    return screen_features(features, replace(part, block=part.block * 0, cell=everything), **options)


def by_story(features: list, part: Part, **options) -> list[Screen]:
    return screen_features(features, replace(part, cell=np.arange(len(part.label))), **options)


def without_bh(p: np.ndarray) -> np.ndarray:
    return p


def without_emotions(z: list, tested: list, largest: list) -> list:
    n_emotions = int(np.any([mask.any(axis=0) for mask in tested], axis=0).sum())
    return [p / n_emotions for p in max_t(z, tested, largest)]


def with_holm(z: list, tested: list, largest: list) -> list:
    (p,) = max_t(z, tested, largest)
    raw = p / int(tested[0].any(axis=0).sum())
    order = np.argsort(np.argsort(np.nanmin(np.where(np.isnan(raw), 1, raw), axis=0), kind="stable"))
    return [raw * (raw.shape[1] - order)]


CASES = [
    ("null", "familywise", World(**SMALL), 60, screening, "max_t", without_emotions),
    ("null, topics lean", "familywise", World(lean=1.0, **SMALL), 30, experiments, "screen_features", across_topics),
    ("null, topics lean", "fdp", World(lean=1.0, **SMALL), 30, experiments, "screen_features", across_topics),
    ("partial", "fdp", World(2.0, **SMALL), 20, screening, "bh", without_bh),
    ("partial", "familywise", World(2.0, **SMALL), 120, screening, "max_t", without_emotions),
    pytest.param(
        "partial", "familywise", World(4.0, **SMALL), 600, screening, "max_t", with_holm, marks=pytest.mark.slow
    ),
    (
        "null, alike stories",
        "familywise",
        World(copies=4, cell_sd=0.8, **SMALL),
        40,
        experiments,
        "screen_features",
        by_story,
    ),
    (
        "intervals",
        "noise",
        World(2.0, **SMALL),
        25,
        candidates,
        "jackknife_interval",
        partial(jackknife_interval, level=0.8),
    ),
]


@pytest.mark.parametrize(("condition", "measure", "world", "simulations", "module", "name", "broken"), CASES)
def test_a_bar_holds_and_fails_if_the_control_is_broken(
    condition: str,
    measure: str,
    world: World,
    simulations: int,
    module: object,
    name: str,
    broken: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bar = bar_of(condition, measure)
    assert judge(bar, world, simulations, tmp_path / "sound") == "ok"
    monkeypatch.setattr(module, name, broken)
    assert judge(bar, world, simulations, tmp_path / "broken") == "FAILED"


def test_a_control_that_never_rejects_fails_the_bars_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3.0, **SMALL)
    bars = [bar_of("effect 3", measure) for measure in ("power", "power_maxt", "overlap")]
    assert [judge(bar, world, 15, tmp_path / "sound") for bar in bars] == ["ok"] * 3
    monkeypatch.setattr(screening, "bh", lambda p: p * 0 + 1)
    monkeypatch.setattr(screening, "max_t", lambda z, tested, largest: [p * 0 + 1 for p in max_t(z, tested, largest)])
    assert [judge(bar, world, 15, tmp_path / "broken") for bar in bars] == ["FAILED"] * 3


def test_what_was_not_measured_has_failed() -> None:
    assert judge_bar(bar_of("partial", "fdp"), [{}, {}]).verdict == "FAILED"


def test_a_rate_is_a_ratio_of_sums_with_the_error_of_independent_simulations() -> None:
    rng = np.random.default_rng(0)
    draws = [[{"hit": (float(rng.random() < 0.2), 1.0)} for _ in range(100)] for _ in range(300)]
    rates = [measure_rate(one, "hit") for one in draws]
    assert np.mean([rate.error for rate in rates]) == pytest.approx(np.std([rate.value for rate in rates]), rel=0.15)
    assert measure_rate([{"hit": (1.0, 4.0)}, {}, {"hit": (2.0, 2.0)}], "hit").value == 0.5


@pytest.mark.parametrize(
    "world", [World(2.0, **SMALL), World(3.0, absorbed=0.3, **SMALL), World(3.0, split=3, **SMALL)]
)
def test_the_truth_is_what_many_stories_show(world: World) -> None:
    many = replace(world, n_topics=240, copies=3)
    planted, truth = plant(many, np.random.default_rng(1)), describe(world)
    label = np.array([EMOTIONS.index(story.emotion) for story in planted.stories])
    seen = auroc_all(planted.features.mean, label, len(EMOTIONS))
    np.testing.assert_allclose(seen, truth.auroc, atol=0.06)
    assert truth.is_true.sum() == len(EMOTIONS) * len(world.shares) + 2
    assert describe(World(**SMALL)).is_true.sum() == 0


def test_worlds_lean_and_firing_rates_are_as_described() -> None:
    planted = plant(World(lean=0.5, copies=4), np.random.default_rng(2))
    by_topic = [[s.emotion for s in planted.stories if s.topic == f"topic {topic}"] for topic in range(24)]
    most = np.mean([max(map(one.count, EMOTIONS)) / len(one) for one in by_topic])
    assert 0.5 < most < 0.68
    rate = (planted.features.mean.toarray() > 0).mean(axis=0)
    assert rate[-1] == pytest.approx(0.6, abs=0.12)
    assert rate.min() > 0.02


def test_a_kill_loses_at_most_a_batch_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BATCH", 2)
    condition = Condition("null", "errors", World(n_noise=10), 5)
    whole = run_conditions([condition], 0, Stage(tmp_path / "whole"), progress=False)
    journal = (tmp_path / "whole" / "simulations.jsonl").read_text().splitlines(keepends=True)
    assert len(journal) == 3
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "simulations.jsonl").write_text(journal[0] + journal[1][:30])
    made, real = [], running._run_batch
    monkeypatch.setattr(running, "_run_batch", lambda one, seed, first: made.append(first) or real(one, seed, first))
    again = run_conditions([condition], 0, Stage(tmp_path / "killed"), progress=False)
    assert again == whole
    assert made == [2, 4]
    assert run_conditions([condition], 0, Stage(tmp_path / "killed"), progress=False) == whole
    assert made == [2, 4]
    run_conditions([condition], 1, Stage(tmp_path / "killed"), progress=False)
    assert made == [2, 4, 0, 2, 4]


def test_the_verb_writes_its_page_and_exits_1_if_a_bar_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    few = tuple(
        replace(one, world=replace(one.world, n_noise=10), simulations=4 if "interv" in one.name else 3)
        for one in plan_conditions(1)
    )
    monkeypatch.setattr("emosae.validation.selectivity.plan_conditions", lambda _: few)
    kept = [bar for bar in BARS if bar.condition in ("null", "effect 3") and bar.measure != "fdp"]
    monkeypatch.setattr("emosae.validation.selectivity.BARS", kept)
    out = tmp_path / "out"
    assert main(["validate", "selectivity", "--out", str(out)]) == DONE
    said = capsys.readouterr().out
    assert said.count(" ok") == len(kept)
    record = json.loads((out / "validation.json").read_text())
    assert {one["verdict"] for one in record["bars"]} == {"ok"}
    assert "<svg" in (out / "index.html").read_text()
    assert "FAILED" not in (out / "validation.md").read_text()
    shutil.rmtree(out)
    monkeypatch.setattr(screening, "max_t", without_emotions)
    monkeypatch.setattr("emosae.validation.selectivity.BARS", [replace(kept[-1], lo=0.0, hi=0.1)])
    assert main(["validate", "selectivity", "--out", str(out)]) == FAILED
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert "bars failed" in captured.err
    assert main(["validate", "selectivity", "--simulations", "0"]) == 2


@pytest.mark.slow
def test_every_bar_holds_in_the_full_run(tmp_path: Path) -> None:
    assert main(["validate", "selectivity", "--out", str(tmp_path)]) == DONE
