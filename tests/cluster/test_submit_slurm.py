"""A sweep on a real Slurm: arrays that wait for one another, tasks that are killed, jobs that are called off."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cluster.two_nodes import Slurm, find_task_process, look, states, wait_for, wait_until

from emosae.cli import main
from emosae.cluster import Journal, TaskState

pytestmark = [pytest.mark.integration, pytest.mark.slurm]

HARVEST0, HARVEST1 = "harvest/task-0", "harvest/task-1"
SEED0, SEED1 = (f"blocks.3.hook_resid_post.d64.k8.seed{seed}" for seed in (0, 1))


def submit(cfg: Path, out: Path, *flags: str) -> list[str]:
    """Submit; the names of the tasks that were."""
    before = len(Journal.existing(out).submissions()) if out.exists() else 0
    assert main(["submit", str(cfg), "--out", str(out), *flags]) == 0
    return [one.task for one in Journal.existing(out).submissions()[before:]]


@dataclass(frozen=True)
class Story:
    """What was seen of a sweep of which a harvest task, then a training was killed, each time submitted again."""

    out: Path
    submitted: list[list[str]]
    harvest_killed: dict[str, TaskState]
    train_killed: dict[str, TaskState]
    accounts: str
    end: dict[str, str]


def kill(out: Path, task: str) -> None:
    """End a task's process, and wait until that is seen."""
    job = Journal.existing(out).latest()[task].job
    wait_until(lambda: find_task_process(job) is not None, "the task's process")
    os.kill(find_task_process(job) or 0, signal.SIGKILL)
    wait_for(out, task, "failed")


@pytest.fixture
def story(slurm: Slurm, write_config: Callable[..., Path], tmp_path: Path) -> Story:
    cfg, out = write_config("killed", seeds=(0, 1), parts=2), tmp_path / "sweep"
    submitted = [submit(cfg, out)]
    kill(out, HARVEST1)
    wait_for(out, HARVEST0, "finished")
    harvest_killed = look(out)
    submitted.append(submit(cfg, out))
    kill(out, f"train/{SEED1}")
    wait_for(out, f"train/{SEED0}", "finished")
    train_killed = look(out)
    submitted.append(submit(cfg, out))
    wait_for(out, "atlas/all", "finished")
    submitted.append(submit(cfg, out))
    return Story(out, submitted, harvest_killed, train_killed, slurm.run("sacct", check=False), states(out))


def test_a_killed_task_is_seen_and_submitted_again_alone(story: Story) -> None:
    train0, train1, rank0, rank1, atlas = LATER = (
        f"train/{SEED0}",
        f"train/{SEED1}",
        f"rank/{SEED0}",
        f"rank/{SEED1}",
        "atlas/all",
    )
    assert story.submitted == [[HARVEST0, HARVEST1, *LATER], [HARVEST1, *LATER], [train1, rank1, atlas], []]
    assert story.accounts == ""
    seen = {name: one.state for name, one in story.harvest_killed.items()}
    assert seen == {HARVEST0: "finished", HARVEST1: "failed"} | dict.fromkeys(LATER, "blocked")
    assert story.harvest_killed[HARVEST1].note.startswith("FAILED")
    seen = {name: one.state for name, one in story.train_killed.items()}
    assert seen.pop(rank0) in {"waiting", "running"}
    assert seen == {
        HARVEST0: "finished",
        HARVEST1: "finished",
        train0: "finished",
        train1: "failed",
        rank1: "blocked",
        atlas: "blocked",
    }
    assert story.train_killed[train1].note.startswith("FAILED")
    assert set(story.end.values()) == {"finished"}
    assert set(pq.read_table(story.out / "atlas/nodes.parquet")["sae"].to_pylist()) <= {SEED0, SEED1}
    assert pq.read_table(story.out / "saes/saes.parquet")["name"].to_pylist() == [SEED0, SEED1]


def test_a_held_sweep_waits_and_can_be_called_off(
    slurm: Slurm, write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, out = write_config("held", seeds=(0, 1), sbatch=("--hold",)), tmp_path / "sweep"
    assert len(submit(cfg, out)) == 6
    assert submit(cfg, out) == []
    capsys.readouterr()
    assert main(["submit", "status", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "JobHeldUser" in printed
    assert printed.rstrip().endswith("6 waiting")
    assert main(["submit", "cancel", str(out), f"rank/{SEED0}"]) == 0
    assert capsys.readouterr().out == f"rank/{SEED0}\n"
    wait_until(lambda: states(out)[f"rank/{SEED0}"] == "cancelled", "one cancelled task")
    assert states(out)["atlas/all"] == "blocked"
    assert submit(cfg, out) == [f"rank/{SEED0}", "atlas/all"]
    assert set(states(out).values()) == {"waiting"}
    assert len(slurm.run("squeue", "--noheader", "--array", "--states=PENDING").splitlines()) == 6
    assert main(["submit", "cancel", str(out)]) == 0
    wait_until(lambda: not {"waiting", "running"} & set(states(out).values()), "cancelled tasks")
    assert main(["submit", "cancel", str(out)]) == 0
    assert "nothing was on its way" in capsys.readouterr().out
    assert main(["submit", "logs", str(out)]) == 0
    assert "_0_log.err" in capsys.readouterr().out
    assert len(submit(cfg, out)) == 6


def test_scripts_are_those_of_the_dry_run(
    slurm: Slurm, write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, out = write_config("dry", seeds=(0, 1), sbatch=("--hold",)), tmp_path / "sweep"
    assert main(["submit", str(cfg), "--out", str(out), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    submit(cfg, out)
    for name, task in (("HARVEST1", HARVEST0), ("TRAIN2", f"train/{SEED0}"), ("RANK3", f"rank/{SEED0}")):
        shown = shown.replace(name, Journal.existing(out).latest()[task].job.split("_")[0])
    scripts = sorted((out / "cluster/jobs").glob("*_submission.sh"), key=lambda path: int(path.name.split("_")[0]))
    assert len(scripts) == 4
    for script in scripts:
        assert script.read_text() in shown


def test_jobs_of_an_earlier_config_are_not_raced(
    slurm: Slurm, write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    submit(write_config("one", seeds=(0,), sbatch=("--hold",)), out)
    assert main(["submit", str(write_config("two", seeds=(0, 1), sbatch=("--hold",))), "--out", str(out)]) == 1
    assert f"emosae submit cancel {out} atlas/all" in capsys.readouterr().err
    assert main(["submit", "cancel", str(out), "atlas/all"]) == 0
    assert submit(write_config("two", seeds=(0, 1), sbatch=("--hold",)), out) == [
        f"train/{SEED1}",
        f"rank/{SEED1}",
        "atlas/all",
    ]


def test_what_sbatch_refuses_is_one_line(
    slurm: Slurm, write_config: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cfg = write_config("refused", sbatch=("--partition=nowhere",))
    assert main(["submit", str(cfg), "--out", str(tmp_path / "sweep")]) == 1
    complaint = capfd.readouterr().err
    assert complaint.count("\n") == 1
    assert "invalid partition specified: nowhere" in complaint
