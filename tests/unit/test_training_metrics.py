"""One training has one W&B id and each step once in the file; a second of the same name has its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from emosae.config import RunConfig, SaeOnDisk, SaeToTrain
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.training_metrics import open_metrics, read_metrics
from emosae.store import Stage, Store


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    saes = tuple(SaeToTrain(name=name, hook_name="blocks.0.hook_resid_post") for name in ("one", "two"))
    return Inputs(RunConfig(saes=saes), Store(tmp_path))


def train(inputs: Inputs, stage: Stage, name: str, steps: range, loss: float = 1.0) -> None:
    with open_metrics(inputs, stage, name) as tracker:
        for step in steps:
            tracker.log({"loss": loss}, step)


def logged(inputs: Inputs, stage: Stage, name: str) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(inputs, stage, name)]


def test_a_training_that_goes_on_keeps_its_id_and_repeats_no_step(inputs: Inputs) -> None:
    stage = inputs.store.stage("saes")
    train(inputs, stage, "one", range(1, 4))
    kept = stage.read_json("one.tracking")
    train(inputs, stage, "two", range(1, 3))
    train(inputs, stage, "one", range(2, 6))
    assert stage.read_json("one.tracking") == kept
    assert stage.read_json("two.tracking")["run_id"] != kept["run_id"]
    assert logged(inputs, stage, "one") == [(step, 1.0) for step in range(1, 6)]
    assert logged(inputs, stage, "two") == [(step, 1.0) for step in range(1, 3)]


def test_a_training_from_scratch_is_another_though_the_file_is_the_same(inputs: Inputs) -> None:
    stage = inputs.store.stage("saes")
    train(inputs, stage, "one", range(1, 4))
    earlier = stage.read_json("one.tracking")
    stage.clear()
    train(inputs, stage, "one", range(1, 3), loss=2.0)
    assert stage.read_json("one.tracking")["run_id"] != earlier["run_id"]
    assert logged(inputs, stage, "one") == [(1, 2.0), (2, 2.0)]
    assert len(inputs.store.home.read_lines("metrics")) == 5


def test_metrics_of_a_run_that_kept_no_record_are_all_read(inputs: Inputs) -> None:
    inputs.store.home.append_line("metrics", {"series": "one", "step": 1, "loss": 3.0})
    assert logged(inputs, inputs.store.stage("saes"), "one") == [(1, 3.0)]


def test_metrics_of_an_sae_that_another_run_trained_are_read_there_under_its_name_here(
    inputs: Inputs, tmp_path: Path
) -> None:
    train(inputs, inputs.store.stage("saes"), "one", range(1, 4))
    sae = SaeOnDisk(name="sweep.1", path=tmp_path / "saes" / "one")
    other = Inputs(RunConfig(saes=(sae,)), Store(tmp_path / "atlas"))
    lines = read_metrics(other, other.store.stage("saes"), "sweep.1")
    assert [(line["series"], line["step"]) for line in lines] == [("sweep.1", step) for step in range(1, 4)]
