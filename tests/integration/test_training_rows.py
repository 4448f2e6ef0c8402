"""A run trains on the same rows by way of memory and of shards, and refuses shards that are not those of its config."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from emosae.config import parse_config
from emosae.errors import UserError
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.training_rows import TrainingRows, gather_rows, write_part
from emosae.store import Store

pytestmark = pytest.mark.integration

HOOKS = ["blocks.2.hook_resid_post", "blocks.3.hook_resid_post"]
SHARDS = {"dtype": "float32", "tasks": 2, "rows": 2000}
Open = Callable[..., Inputs]


@pytest.fixture(scope="module")
def lm() -> Any:
    return Inputs(parse_config({}, source="test"), Store(Path("nowhere"))).lm


@pytest.fixture
def open_inputs(lm: Any, tmp_path: Path) -> Open:
    """A run of the organism's SAEs at two layers; its directory is `name`."""

    def open_run(activations: str | None, *, name: str = "run", documents: int = 30, **shards: Any) -> Inputs:
        saes = [{"name": hook.split(".")[1], "hook_name": hook} for hook in HOOKS]
        training = {"documents": documents} | ({"activations": activations} if activations else {})
        values = {"training": training, "shards": SHARDS | shards, "saes": saes}
        inputs = Inputs(parse_config(values, source="test"), Store(tmp_path / name))
        inputs.store.update_manifest()
        inputs.__dict__["lm"] = lm
        return inputs

    return open_run


@pytest.fixture
def written(open_inputs: Open, tmp_path: Path) -> Path:
    """A folder of shards that a run has written, by tasks that ended in the wrong order."""
    folder = tmp_path / "written"
    for part in (1, 0):
        write_part(open_inputs("given", folder=str(folder)), part)
    return folder


def epoch(rows: TrainingRows, hook: str) -> list[list[float]]:
    stream = rows.open_stream(100)
    stream.batch_size = stream.n_rows
    return stream.next_batch()[hook].tolist()


def test_memory_and_shards_hold_the_same_rows_and_hold_out_as_many(open_inputs: Open) -> None:
    memory, shards = (gather_rows(open_inputs(way), HOOKS) for way in (None, "shards"))
    for hook in HOOKS:
        trained, held = zip(
            *((epoch(rows, hook), rows.held_out[hook].tolist()) for rows in (memory, shards)), strict=True
        )
        assert len(held[0]) == len(held[1]) == (len(held[0]) + len(trained[0])) // 20
        by_way = [torch.tensor(sorted(trained[way] + held[way])) for way in (0, 1)]
        torch.testing.assert_close(by_way[0], by_way[1], rtol=0, atol=2e-4)


def test_given_shards_are_read_and_the_model_is_not_asked(open_inputs: Open, written: Path) -> None:
    first = gather_rows(open_inputs("shards"), HOOKS)
    idle = open_inputs("given", folder=str(written), name="other")
    idle.__dict__["lm"] = replace(idle.lm, model=None)
    given = gather_rows(idle, HOOKS[1:])
    streams = [rows.open_stream(64) for rows in (first, given)]
    for _ in range(3):
        batches = [stream.next_batch() for stream in streams]
        assert torch.equal(batches[0][HOOKS[1]], batches[1][HOOKS[1]])
    assert torch.equal(first.held_out[HOOKS[1]], given.held_out[HOOKS[1]])


def test_processes_that_train_together_write_a_part_each(open_inputs: Open, tmp_path: Path) -> None:
    here, there = open_inputs("shards"), open_inputs("shards")

    def meet() -> None:
        assert {path.name for path in tmp_path.rglob("shard-*.json")} == {
            f"shard-1-{number:05d}.json" for number in range(len(list(tmp_path.rglob("shard-1-*.json"))))
        }
        write_part(there, 0)

    here.__dict__["world"] = SimpleNamespace(rank=1, size=2, wait=meet)
    assert gather_rows(here, HOOKS).open_stream(8).n_rows > 0


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"documents": 29}, r"shard-0-00000\.safetensors: is not of these shards \(documents is"),
        ({"dtype": "bfloat16"}, r"shard-0-00000\.safetensors: is not of these shards \(dtype is \"float32\", not"),
        ({"tasks": 3}, r"shard-0-00000\.safetensors: is not of these shards \(n_tasks is 2, not 3\)"),
    ],
)
def test_given_shards_of_another_config_are_refused_by_name(
    open_inputs: Open, written: Path, changed: dict[str, Any], finding: str
) -> None:
    with pytest.raises(UserError, match=finding):
        gather_rows(open_inputs("given", folder=str(written), **changed), HOOKS)


@pytest.mark.parametrize("check_hashes", [True, False])
def test_damaged_shards_are_refused_by_name(open_inputs: Open, written: Path, check_hashes: bool) -> None:
    inputs = open_inputs("given", folder=str(written), check_hashes=check_hashes)
    path = written / "shard-1-00000.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    if check_hashes:
        with pytest.raises(UserError, match=r"shard-1-00000\.safetensors: its bytes have changed; .* run task 1 again"):
            gather_rows(inputs, HOOKS)
    else:
        gather_rows(inputs, HOOKS)
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"shard-1-00000\.safetensors: has \d+ bytes, not \d+"):
        gather_rows(inputs, HOOKS)
    for leftover in written.glob("shard-1-*"):
        leftover.unlink()
    with pytest.raises(UserError, match=r"task 1 of 2 has no shard"):
        gather_rows(inputs, HOOKS)
    shutil.rmtree(written)
    with pytest.raises(UserError, match="holds no activation shards"):
        gather_rows(inputs, HOOKS)


def test_shards_of_another_config_are_not_in_the_way_of_a_run(open_inputs: Open, tmp_path: Path) -> None:
    for changed in ({}, {"documents": 20}, {"dtype": "bfloat16"}):
        assert gather_rows(open_inputs("shards", **changed), HOOKS).held_out[HOOKS[0]].isfinite().all()
    assert len(list((tmp_path / "run/shards").iterdir())) == 3
