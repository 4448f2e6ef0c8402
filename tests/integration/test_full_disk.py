"""A disk that is full or may not be written: one line that names the file, nothing earlier lost, the same bits after.

Three disks: one with a limit on the size of a file, which any machine can set, and where mounting is allowed a small
one that is filled and one that becomes read-only (permissions would not do: root passes them by).
"""

from __future__ import annotations

import itertools
import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from planted import HOOK, planted_resid
from tiny_models import save_tiny_model

from emosae.activations import MemoryStream, write_shards
from emosae.errors import UserError
from emosae.lm import open_lm
from emosae.store import Stage, content_hash
from emosae.training import CheckpointPolicy, SaeTrainSpec, train_saes

pytestmark = pytest.mark.integration

RESID = planted_resid(1500, 16, 24, l0=3.0)[0]
SPECS = [
    SaeTrainSpec(
        model_name="tiny", hook_name=HOOK, name=kind, architecture=kind, d_sae=64, k=3, steps=24, batch_size=128
    )
    for kind in ("topk", "standard")
]
POLICY = CheckpointPolicy(every_steps=5, every_seconds=None)
SCALE_BATCHES = 2 * (1500 // 128)


@dataclass(frozen=True)
class Disk:
    """A folder on it, and how it is broken and mended."""

    folder: Path
    reason: str
    spoil: Callable[[], object]
    mend: Callable[[], object]


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(256))
        except OSError:
            return


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.fixture(params=["limit", "full", "read-only"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        yield Disk(folder, "File too large", lambda: limit_files(2048), lambda: limit_files(before))
        limit_files(before)
        return
    mount("-t", "tmpfs", "-o", "size=1m", "emosae-test", str(folder))
    try:
        if request.param == "full":
            yield Disk(folder, "No space left", lambda: fill(folder), (folder / "filler").unlink)
        else:
            change = ("-o", "remount,ro", str(folder)), ("-o", "remount,rw", str(folder))
            yield Disk(folder, "Read-only file system", lambda: mount(*change[0]), lambda: mount(*change[1]))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def train(folder: Path, before_step: Callable[[int], object] = lambda step: None) -> dict[str, str]:
    stream = MemoryStream({HOOK: RESID}, 128, seed=3)
    draw, steps = stream.next_batch, itertools.count(1 - SCALE_BATCHES)

    def watched(*ranks: int) -> Any:
        before_step(next(steps))
        return draw(*ranks)

    stream.next_batch = watched  # type: ignore[method-assign]
    paths = train_saes(stream, {HOOK: RESID[:100]}, SPECS, Stage(folder), policy=POLICY)
    return {name: content_hash(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return train(tmp_path_factory.mktemp("whole"))


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: content_hash(path) for path in folder.iterdir()}


def test_a_checkpoint_that_cannot_be_saved_costs_nothing_earlier(disk: Disk, whole: dict[str, str]) -> None:
    checkpoints, earlier = disk.folder / "checkpoints", {}

    def spoil(step: int) -> None:
        if step == 12:
            earlier.update(files_of(checkpoints))
            disk.spoil()

    with pytest.raises(UserError, match=rf"/checkpoints/topk\.000000015\.safetensors: .*\(.*{disk.reason}") as refused:
        train(disk.folder, spoil)
    assert "\n" not in str(refused.value)
    disk.mend()
    assert files_of(checkpoints) == earlier
    assert {"step-000000005.json", "step-000000010.json"} <= set(earlier)
    steps: list[int] = []
    assert train(disk.folder, steps.append) == whole
    assert max(steps) == 24 - 10


def test_an_sae_that_cannot_be_saved_is_saved_the_next_time(disk: Disk, whole: dict[str, str]) -> None:
    with pytest.raises(UserError, match=rf"/disk/topk: cannot be written \(.*{disk.reason}"):
        train(disk.folder, lambda step: disk.spoil() if step == 24 else None)
    disk.mend()
    assert [path.name for path in disk.folder.iterdir()] == ["checkpoints"]
    steps: list[int] = []
    assert train(disk.folder, steps.append) == whole
    assert max(steps) == 24 - 20


def test_a_full_disk_names_the_line_that_was_lost_and_keeps_the_others(disk: Disk) -> None:
    stage = Stage(disk.folder)
    stage.append_line("metrics", {"step": 1, "text": "x" * 100})
    disk.spoil()
    with pytest.raises(UserError, match=r"/disk/metrics\.jsonl: cannot be written"):
        stage.append_line("metrics", {"step": 2, "text": "x" * 9000})
    disk.mend()
    stage.append_line("metrics", {"step": 2, "text": ""})
    assert [record["step"] for record in stage.read_lines("metrics")] == [1, 2]


def test_shards_that_were_finished_stay_and_the_others_come_out_the_same(disk: Disk, tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path / "model", "llama"))
    documents = [lm.document(f"a cat sat on the mat {number} times") for number in range(24)]

    def write(folder: Path, task: int) -> None:
        hooks = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]
        write_shards(lm, documents, hooks, Stage(folder), task=task, n_tasks=2, rows_per_shard=120)

    for task in (0, 1):
        write(tmp_path / "whole", task)
    write(disk.folder, 0)
    earlier = files_of(disk.folder)
    disk.spoil()
    with pytest.raises(UserError, match=rf"/disk/shard-1-00000\.safetensors: cannot be written \(.*{disk.reason}"):
        write(disk.folder, 1)
    disk.mend()
    assert files_of(disk.folder) == earlier
    write(disk.folder, 1)
    assert files_of(disk.folder) == files_of(tmp_path / "whole")
