"""A harvest and a training that Slurm preempts go on in the queue, and end with the same bits as quiet ones."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.two_nodes import Slurm, find_task_process, run_slurm, wait_for, wait_until

from emosae.cli import main
from emosae.cluster import Journal
from emosae.files import content_hash, file_hash
from emosae.store import Stage, Store

pytestmark = [pytest.mark.integration, pytest.mark.slurm]

SAE = "blocks.3.hook_resid_post.d64.k8.seed0"
TRAIN = f"train/{SAE}"
SLEEPER = """
import os, signal, sys, time
from pathlib import Path
from emosae.cluster.work import answer_preemption
os.environ["SUBMITIT_EXECUTOR"] = "slurm"
here = Path(sys.argv[1])
signal.signal(signal.SIGUSR2, lambda *_: (here / "requeue").touch() or sys.exit(3))
signal.signal(signal.SIGTERM, lambda *_: (here / "bypass").touch() or sys.exit())
with answer_preemption():
    (here / "ready").touch()
    time.sleep(60)
"""


def make_room(slurm: Slurm, seconds: int = 2) -> None:
    """Take both nodes with a job of a partition that goes before."""
    slurm.run("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", f"--wrap=sleep {seconds}")


def preempt(slurm: Slurm, out: Path, task: str) -> None:
    """Have a running task put back into the queue."""
    process = find_task_process(Journal.existing(out).latest()[task].job)
    assert process is not None
    os.kill(process, signal.SIGSTOP)  # or a fast machine would be done before Slurm decides; it sends SIGCONT, too
    make_room(slurm)
    wait_for(out, task, "waiting")


def test_a_preempted_harvest_and_training_go_on_to_the_same_bits(
    slurm: Slurm, quiet_run: Path, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    assert main(["submit", str(write_config("preempted")), "--out", str(out)]) == 0
    assert main(["submit", "cancel", str(out), f"rank/{SAE}", "atlas/all"]) == 0
    wait_until(lambda: [*out.glob("shards/*/task-0/stories")] != [], "the beginning of a harvest", every=0.01)
    preempt(slurm, out, "harvest/task-0")
    assert "shards" not in Store.existing(*out.glob("shards/*/task-0")).read_manifest().get("cluster", {})
    run = out / "runs" / SAE
    wait_until((run / "metrics.jsonl").exists, "some steps", every=0.01)
    preempt(slurm, out, TRAIN)
    [checkpoint] = (run / "saes/checkpoints").glob("step-*.json")
    assert 50 <= json.loads(checkpoint.read_text())["step"] < 400
    wait_for(out, TRAIN, "finished")
    steps = [record["step"] for record in Stage(run).read_lines("metrics")]
    assert steps == list(range(50, 401, 50))
    harvested = [
        sorted((path.name, file_hash(path)) for path in sweep.glob("shards/*/shard-*")) for sweep in (out, quiet_run)
    ]
    assert harvested[0] == harvested[1] != []
    quiet = quiet_run / "runs" / SAE
    assert content_hash(run / "saes" / SAE) == content_hash(quiet / "saes" / SAE)


@pytest.fixture
def plain_slurm(monkeypatch: pytest.MonkeyPatch):
    """A cluster that sends SIGTERM to what it preempts, as most do."""
    with run_slurm("KillWait=1") as slurm:
        monkeypatch.setenv("SLURM_CONF", slurm.environment()["SLURM_CONF"])
        yield slurm


@pytest.mark.parametrize(("makes_room", "answer"), [(True, "requeue"), (False, "bypass")])
def test_sigterm_means_requeue_only_where_the_job_is_preempted(
    plain_slurm: Slurm, tmp_path: Path, makes_room: bool, answer: str
) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    command = f"srun {sys.executable} {tmp_path / 'sleeper.py'} {tmp_path}"
    job = plain_slurm.run("sbatch", "--parsable", "--partition=low", "--output=/dev/null", f"--wrap={command}").strip()
    wait_until((tmp_path / "ready").exists, "the job")
    if makes_room:
        make_room(plain_slurm)
    else:
        plain_slurm.run("scancel", f"--signal={signal.SIGTERM.name}", job)
    wait_until((tmp_path / answer).exists, answer)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["ready", "sleeper.py", answer])
