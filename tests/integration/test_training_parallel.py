"""Two processes train what one does, each looking for the largest activations in a number format of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from planted import HOOK, planted_resid
from safetensors.torch import load_file

from emosae.activations import MemoryStream
from emosae.cli import main
from emosae.store import Stage
from emosae.training import ARCHITECTURES, CheckpointPolicy, SaeTrainSpec, World, train_saes, trainer

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")]

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_training_parallel import train_here
train_here(Path(sys.argv[1]), killed_at=13)
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def train_here(folder: Path, killed_at: int = 0) -> None:
    """Train every architecture, with the others if there are any; the second process is killed before a step."""
    torch.set_num_threads(1)
    resid = 2 * planted_resid(1500, 16, 24, l0=3.0)[0] + 1
    options = {"model_name": "tiny", "hook_name": HOOK, "d_sae": 64, "k": 3, "steps": 20, "batch_size": 128}
    specs = [SaeTrainSpec(name=name, architecture=name, dead_window=4, **options) for name in ARCHITECTURES]
    world = World.join()
    trainer.quickest_format = lambda: (torch.bfloat16, torch.float32)[world.rank]  # type: ignore[assignment]
    stream = MemoryStream({HOOK: resid}, 128, seed=0)
    if killed_at and world.rank == 1:
        _kill_before(stream, killed_at + 2 * (1500 // 128))
    policy = CheckpointPolicy(every_steps=5, every_seconds=None)
    train_saes(stream, {HOOK: resid[:100]}, specs, Stage(folder), policy=policy)
    World.leave()


def _kill_before(stream: MemoryStream, batch: int) -> None:
    draw, calls = stream.next_batch, []

    def watched(*ranks: int) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*ranks)

    stream.next_batch = watched  # type: ignore[method-assign]


def fork_ranks(work: Callable[[], object], size: int = 2) -> None:
    """Do some work in processes that know of one another as torchrun's do, but are warm: forks of this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(size):
        ranks.append(os.fork())
        if not ranks[-1]:
            told = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": size,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            os.environ.update({name: str(value) for name, value in told.items()})
            code = 1
            try:
                code = int(bool(work()))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
    assert [os.waitpid(process, 0)[1] for process in ranks] == [0] * size


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sae_lens  # noqa: F401 - slow, and every fork has it then

    folder = tmp_path_factory.mktemp("alone") / "saes"
    fork_ranks(lambda: train_here(folder), size=1)
    return folder


def compare(found: Path, expected: Path) -> None:
    for name in ARCHITECTURES:
        ours, theirs = (load_file(folder / name / "sae_weights.safetensors") for folder in (found, expected))
        for key, value in theirs.items():
            off = float((ours[key] - value).abs().max() / value.abs().max().clamp(min=1e-9))
            assert off < 1e-5, f"{name} {key}: {off}"


def test_two_processes_train_the_weights_of_one_for_every_architecture(tmp_path: Path, alone: Path) -> None:
    fork_ranks(lambda: train_here(tmp_path / "saes"))
    compare(tmp_path / "saes", alone)


def test_a_killed_process_ends_the_others_and_all_go_on_from_the_last_checkpoint(tmp_path: Path, alone: Path) -> None:
    here = Path(__file__).parent
    (tmp_path / "train.py").write_text(SCRIPT.format(tests=str(here.parent), here=str(here)))
    command = [*TORCHRUN, str(tmp_path / "train.py"), str(tmp_path / "saes")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0
    assert "SIGKILL" in ended.stderr
    assert (tmp_path / "saes" / "checkpoints" / "step-000000010.json").exists()
    fork_ranks(lambda: train_here(tmp_path / "saes"))
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
    train = ["train", str(tmp_path / "sae.toml"), "--out"]
    assert main([*train, str(tmp_path / "one")]) == 0
    two = [*train, str(tmp_path / "two")]
    found = subprocess.run([*TORCHRUN, "-m", "emosae", *two], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr[-3000:]
    fork_ranks(lambda: main(two))  # with nothing left to do
    one, two = (load_file(tmp_path / name / "saes" / "sae" / "sae_weights.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        assert float((two[key] - value).abs().max() / value.abs().max()) < 1e-5, key
