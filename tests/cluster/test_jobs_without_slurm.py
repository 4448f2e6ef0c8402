"""What Slurm prints is read right, with accounts and without; a job that it does not know has failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from emosae.cluster.jobs import judge_jobs
from emosae.cluster.journal import Submission
from emosae.errors import UserError

NO_ACCOUNTS = (1, "", "Slurm accounting storage is disabled")


class Programs:
    """Answers in the place of Slurm's programs."""

    def __init__(self, squeue: tuple[int, str, str], sacct: tuple[int, str, str] = NO_ACCOUNTS) -> None:
        self.answers = {"squeue": squeue, "sacct": sacct}
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(command[0])
        return subprocess.CompletedProcess(command, *self.answers[command[0]])


def judge(programs: Programs, *jobs: str) -> list[tuple[str, str]]:
    submissions = [Submission(f"train/{job}", "", "slurm", job, "") for job in jobs]
    return list(judge_jobs(submissions, programs).values())


def squeue(*lines: str) -> tuple[int, str, str]:
    return (0, "".join(f"{line}\n" for line in lines), "")


@pytest.mark.parametrize(
    ("line", "state", "note"),
    [
        ("RUNNING|None", "running", ""),
        ("COMPLETING|None", "running", ""),
        ("PENDING|Resources", "waiting", "Resources"),
        ("PENDING|BeginTime", "waiting", "BeginTime"),
        ("PREEMPTED|None", "waiting", ""),
        ("PENDING|DependencyNeverSatisfied", "blocked", "a task that it needs did not finish"),
        ("CANCELLED|DependencyNeverSatisfied", "blocked", "a task that it needs did not finish"),
        ("CANCELLED|None", "cancelled", ""),
        ("FAILED|RaisedSignal:9(Killed)", "failed", "FAILED RaisedSignal:9(Killed)"),
        ("OUT_OF_MEMORY|OutOfMemory", "failed", "OUT_OF_MEMORY OutOfMemory"),
        ("TIMEOUT|TimeLimit", "failed", "TIMEOUT TimeLimit"),
        ("NODE_FAIL|NodeDown", "failed", "NODE_FAIL NodeDown"),
        ("COMPLETED|None", "failed", "the job ended without a result"),
    ],
)
def test_each_state_of_slurm_means_something(line: str, state: str, note: str) -> None:
    assert judge(Programs(squeue(f"7_0|{line}", "7_1|RUNNING|None")), "7_0") == [(state, note)]


def test_a_job_that_slurm_has_forgotten_has_failed() -> None:
    gone = ("failed", "the job is gone without a result")
    assert judge(Programs(squeue("7_1|RUNNING|None")), "7_0", "7_1") == [gone, ("running", "")]
    assert judge(Programs((1, "", "slurm_load_jobs error: Invalid job id specified")), "7") == [gone]


def test_accounts_tell_what_memory_no_longer_does() -> None:
    accounts = (0, "7_0|CANCELLED by 1000\n7_1|RUNNING\n7_2|PREEMPTED\n7_3|OUT_OF_MEMORY\n", "")
    programs = Programs(squeue("7_1|COMPLETING|None"), accounts)
    assert judge(programs, "7_0", "7_1", "7_2", "7_3") == [
        ("cancelled", ""),
        ("running", ""),
        ("failed", "PREEMPTED"),
        ("failed", "OUT_OF_MEMORY"),
    ]


def test_accounts_are_not_asked_for_what_memory_tells() -> None:
    programs = Programs(squeue("7|RUNNING|None"))
    judge(programs, "7")
    assert programs.asked == ["squeue"]
    judge(programs)
    assert programs.asked == ["squeue"]


def test_a_slurm_that_does_not_answer_is_no_verdict_on_its_jobs() -> None:
    silent = (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(UserError, match=r"does not answer: .*connect failure"):
        judge(Programs(silent), "7")
