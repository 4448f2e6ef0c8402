"""A cluster for all tests of this folder, and a sweep small enough for it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.two_nodes import Slurm, run_slurm

from emosae.cli import main
from emosae.organism.evaluation import evaluation_stories

SWEEP = """
[stories]
path = "{stories}"
[training]
documents = 60
[shards]
tasks = {parts}
rows = 2000
[[saes]]
name = "sae"
hook_name = "blocks.3.hook_resid_post"
d_sae = 64
k = 8
steps = 400
batch_size = 256
[features]
random_model = false
[selectivity]
permutations = 32
top = 4
[sweep]
seeds = {seeds}
[cluster]
partition = "low"
minutes = 60
setup = ["export OMP_NUM_THREADS=1"]
sbatch = {sbatch}
"""


@pytest.fixture(scope="session")
def started_slurm() -> Iterator[Slurm]:
    """One cluster for all tests; it sends submitit's signal to what it preempts."""
    with run_slurm("SlurmctldParameters=preempt_send_user_signal", "KillWait=5") as slurm:
        yield slurm


@pytest.fixture
def slurm(started_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The cluster without jobs, as the one that programs started here find."""
    monkeypatch.setenv("SLURM_CONF", started_slurm.environment()["SLURM_CONF"])
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    yield started_slurm
    started_slurm.clear()


@pytest.fixture(autouse=True)
def _jobs_run_this_checkout(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repo_root))


@pytest.fixture(scope="session")
def write_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a sweep over seeds of one small SAE, on 96 of the organism's own stories."""
    folder = tmp_path_factory.mktemp("config")
    taken: Counter[tuple[str, str | None]] = Counter()
    with (folder / "stories.jsonl").open("w") as file:
        for story in evaluation_stories(salt="emosae"):
            key = (story.emotion, story.topic)
            if story.emotion in ("calm", "desperate", "joyful", "sad") and not taken[key]:
                taken[key] += 1
                file.write(json.dumps({"emotion": story.emotion, "topic": story.topic, "text": story.text}) + "\n")

    def write(name: str, *, seeds: tuple[int, ...] = (0,), parts: int = 1, sbatch: tuple[str, ...] = ()) -> Path:
        path = folder / f"{name}.toml"
        stories, flags = folder / "stories.jsonl", json.dumps(sbatch)
        path.write_text(SWEEP.format(stories=stories, seeds=list(seeds), parts=parts, sbatch=flags))
        return path

    return write


@pytest.fixture(scope="session")
def quiet_run(write_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of one SAE, run here without anything happening to it."""
    out = tmp_path_factory.mktemp("quiet") / "sweep"
    assert main(["submit", str(write_config("quiet")), "--out", str(out), "--local"]) == 0
    return out
