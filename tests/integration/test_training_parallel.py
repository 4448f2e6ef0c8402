"""Two processes train what one does, each looking for the largest activations in a number format of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from emosae.training import ARCHITECTURES

pytestmark = pytest.mark.integration

SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from planted import HOOK, planted_resid
from emosae.activations import MemoryStream
from emosae.store import Stage
from emosae.training import ARCHITECTURES, CheckpointPolicy, SaeTrainSpec, World, train_saes, trainer

torch.set_num_threads(1)
resid = 2 * planted_resid(1500, 16, 24, l0=3.0)[0] + 1
options = dict(model_name="tiny", hook_name=HOOK, d_sae=64, k=3, steps=20, batch_size=128, dead_window=4)
specs = [SaeTrainSpec(name=name, architecture=name, **options) for name in ARCHITECTURES]
world = World.join()
trainer.quickest_format = lambda: (torch.bfloat16, torch.float32)[world.rank]
stream = MemoryStream({{HOOK: resid}}, 128, seed=0)
killed_at = int(os.environ.get("KILLED_AT", "0"))
if killed_at and world.rank == 1:
    draw, calls = stream.next_batch, []
    def watched(*ranks):
        calls.append(1)
        if len(calls) == killed_at + 2 * (1500 // 128):
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*ranks)
    stream.next_batch = watched
policy = CheckpointPolicy(every_steps=5, every_seconds=None)
train_saes(stream, {{HOOK: resid[:100]}}, specs, Stage(Path(sys.argv[1])), policy=policy)
World.leave()
"""


def train(folder: Path, n_processes: int, **environment: str) -> int:
    script = folder.parent / "train.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent.parent)))
    start = (
        [] if n_processes == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    )
    command = [sys.executable, *start, str(script), str(folder)]
    found = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)
    if found.returncode and not environment:
        raise AssertionError(found.stderr[-3000:])
    return found.returncode


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "saes"
    train(folder, 1)
    return folder


def compare(found: Path, expected: Path) -> None:
    for name in ARCHITECTURES:
        ours, theirs = (load_file(folder / name / "sae_weights.safetensors") for folder in (found, expected))
        for key, value in theirs.items():
            off = float((ours[key] - value).abs().max() / value.abs().max().clamp(min=1e-9))
            assert off < 1e-5, f"{name} {key}: {off}"


def test_two_processes_train_the_weights_of_one_for_every_architecture(tmp_path: Path, alone: Path) -> None:
    train(tmp_path / "saes", 2)
    compare(tmp_path / "saes", alone)


def test_a_killed_process_ends_the_others_and_all_go_on_from_the_last_checkpoint(tmp_path: Path, alone: Path) -> None:
    assert train(tmp_path / "saes", 2, KILLED_AT="13") != 0
    assert (tmp_path / "saes" / "checkpoints" / "step-000000010.json").exists()
    train(tmp_path / "saes", 2)
    compare(tmp_path / "saes", alone)


CONFIG = """
[stories]
per_emotion = 6
[training]
documents = 120
[[saes]]
name = "sae"
hook_name = "blocks.2.hook_resid_post"
d_sae = 96
k = 8
steps = 20
batch_size = 512
"""


def test_the_train_verb_under_torchrun_gives_the_weights_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "sae.toml").write_text(CONFIG)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, start in (("one", []), ("two", torchrun), ("two", torchrun)):
        command = [sys.executable, *start, "-m", "emosae", "train", "sae.toml", "--out", name]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "saes" / "sae" / "sae_weights.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        assert float((two[key] - value).abs().max() / value.abs().max()) < 1e-5, key
