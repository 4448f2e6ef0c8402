"""The bars of matching hold, and each fails if what it guards is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import emosae.matching.labels as labels
import emosae.matching.links as links
import emosae.matching.null as null
import emosae.validation.atlas as atlas
from emosae.cli import DONE, FAILED, main
from emosae.matching.nearest import Nearest
from emosae.store import Stage
from emosae.validation.atlas import SETTINGS, Setting, validate_atlas
from emosae.validation.twins import TwinWorld, plant_twins

SMALL = TwinWorld(n_features=60, n_changed=8, n_stories=240, n_tokens=12)
UNRELATED = TwinWorld(n_features=100, n_changed=0, n_stories=240, n_tokens=12, is_related=False)


def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: TwinWorld, simulations: int = 4) -> dict[str, str]:
    name = "noise 0.3" if world.is_related else "unrelated"
    monkeypatch.setattr(atlas, "SETTINGS", (Setting(name, world),))
    monkeypatch.setattr(atlas, "BARS", atlas._list_bars())
    found = validate_atlas(simulations, 0, Stage(tmp_path), progress=False)
    return {one.bar.measure: one.verdict for one in found}


def test_every_bar_holds_on_a_small_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert set(judge(monkeypatch, tmp_path, SMALL).values()) == {"ok"}
    assert judge(monkeypatch, tmp_path, UNRELATED) == {"linked": "ok"}


def match_strangers(rule: str, nearest: Nearest, *_: object) -> np.ndarray:
    return np.stack([nearest.mutual[:, 0], np.roll(nearest.mutual[:, 1], 1)], axis=1)


def nest_all(a: object, b: object, wanted: np.ndarray, *_: object, **__: object) -> np.ndarray:
    return np.stack([wanted, wanted * 0], axis=1)


def nest_none(*_: object, **__: object) -> np.ndarray:
    return np.zeros((0, 2), dtype=np.int64)


@pytest.mark.parametrize(
    ("module", "name", "broken", "measures"),
    [
        (labels, "ENOUGH", 0.0, {"split", "merge"}),
        (links, "find_nested", nest_none, {"absorbed"}),
        (links, "find_nested", nest_all, {"absorbed", "orphan"}),
        (null, "_apply", match_strangers, {"precision", "recall"}),
        (null, "upper_quantile", lambda values, alpha: 0.99, {"recall", "split"}),
    ],
)
def test_a_bar_fails_if_its_part_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: object, name: str, broken: object, measures: set[str]
) -> None:
    monkeypatch.setattr(module, name, broken)
    verdicts = judge(monkeypatch, tmp_path, SMALL)
    assert {measure for measure in measures if verdicts[measure] == "FAILED"} == measures


def test_unrelated_saes_are_linked_too_often_if_the_null_forgets_the_shape_of_their_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(links, "draw_alike", lambda rows, rng: rows[:, rng.permutation(rows.shape[1])])
    assert judge(monkeypatch, tmp_path, UNRELATED) == {"linked": "FAILED"}


def test_unrelated_saes_are_linked_too_often_without_a_threshold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(null, "upper_quantile", lambda values, alpha: 0.0)
    assert judge(monkeypatch, tmp_path, UNRELATED) == {"linked": "FAILED"}


def test_twins_hold_what_they_say() -> None:
    twins = plant_twins(replace(SMALL, noise=0.0), np.random.default_rng(0))
    a, b = (table.mean.toarray() for table in (twins.a, twins.b))
    for i, j in twins.pairs["match"]:
        np.testing.assert_allclose(a[:, i], b[:, j], rtol=1e-6)
    parts = {i: [j for own, j in twins.pairs["split"] if own == i] for i, _ in twins.pairs["split"]}
    assert all(len(two) == 2 for two in parts.values())
    for i, two in parts.items():
        np.testing.assert_allclose(a[:, i], b[:, two].sum(axis=1), rtol=1e-5, atol=1e-7)
    for i, j in twins.pairs["absorbed"]:
        assert (b[a[:, i] > 0, j] > 0).all()
    assert {kind: len(pairs) for kind, pairs in twins.pairs.items()} == {
        "match": 60, "split": 16, "merge": 16, "absorbed": 8, "orphan": 16,
    }  # fmt: skip


def test_the_verb_writes_its_table_and_exits_1_if_a_bar_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    few = tuple(one for one in SETTINGS if one.name in ("40 features", "unrelated"))
    monkeypatch.setattr(atlas, "SETTINGS", few)
    monkeypatch.setattr(atlas, "BARS", atlas._list_bars())
    out = tmp_path / "out"
    assert main(["validate", "atlas", "--out", str(out), "--simulations", "4"]) == DONE
    assert capsys.readouterr().out.count(" ok") == len(atlas.BARS)
    assert "bars hold" in (out / "validation.md").read_text()
    assert {bar["verdict"] for bar in json.loads((out / "validation.json").read_text())["bars"]} == {"ok"}
    monkeypatch.setattr(null, "upper_quantile", lambda values, alpha: 0.0)
    assert main(["validate", "atlas", "--out", str(out), "--simulations", "2"]) == FAILED
    assert "bars failed" in capsys.readouterr().err
    assert main(["validate", "atlas", "--simulations", "1"]) == 2


@pytest.mark.slow
def test_every_bar_holds_in_the_full_run(tmp_path: Path) -> None:
    assert main(["validate", "atlas", "--out", str(tmp_path)]) == DONE
