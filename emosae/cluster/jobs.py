"""What became of jobs, also where Slurm keeps no accounts.

A job is looked up among those that Slurm holds in memory, then in its accounts if there are any. One that is in neither
is gone without a result, so its task has failed.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emosae.cluster.journal import Submission
from emosae.errors import UserError

State = Literal["finished", "running", "waiting", "failed", "blocked", "cancelled", "new"]
ACTIVE: tuple[State, ...] = ("running", "waiting")
"""States of a task that a job is still on its way for."""
BLOCKED: tuple[State, str] = ("blocked", "a task that it needs did not finish")

_RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"}
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_NEVER = "DependencyNeverSatisfied"


@dataclass(frozen=True, slots=True)
class JobState:
    """What Slurm says of a job.

    Attributes:
        state: In Slurm's words.
        reason: Why, in Slurm's words.
        is_held: Whether Slurm still holds it in memory; a job in its accounts alone will not come back.
    """

    state: str
    reason: str = ""
    is_held: bool = True


Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]
"""Runs a program to its end and keeps what it prints."""


def run_program(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs; 127 if it is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError as missing:
        return subprocess.CompletedProcess(command, 127, "", str(missing))


def judge_jobs(submissions: Collection[Submission], run: Run = run_program) -> dict[str, tuple[State, str]]:
    """State and reason of each submission by its task's name, for tasks that did not finish."""
    known = look_up_jobs([one.job for one in submissions if one.scheduler == "slurm"], run)
    return {
        one.task: _judge(known.get(one.job)) if one.scheduler == "slurm" else _judge_process(one) for one in submissions
    }


def look_up_jobs(jobs: Collection[str], run: Run = run_program) -> dict[str, JobState]:
    """What Slurm knows of jobs, those that ended included; a job that it has forgotten is left out.

    Raises:
        UserError: Slurm does not answer, which tells nothing about the jobs.
    """
    if not jobs:
        return {}
    whole = sorted({job.split("_")[0] for job in jobs}, key=int)
    answer = run(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(whole)}"])
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        raise UserError(f"Slurm does not answer: {' '.join(answer.stderr.split())}")
    known = dict(_read_jobs(answer.stdout, is_held=True)) if answer.returncode == 0 else {}
    if set(jobs) - set(known):
        lines = [
            "sacct",
            "--noheader",
            "--parsable2",
            "--allocations",
            "--format=JobID,State",
            f"--jobs={','.join(whole)}",
        ]
        accounts = run(lines)
        if accounts.returncode == 0:
            known = dict(_read_jobs(accounts.stdout, is_held=False)) | known
    return {job: known[job] for job in jobs if job in known}


def _read_jobs(printed: str, *, is_held: bool) -> Iterator[tuple[str, JobState]]:
    for line in printed.splitlines():
        job, state, *reason = (part.strip() for part in line.split("|"))
        yield job, JobState(state.split()[0], reason[0] if reason else "", is_held)


def _judge(job: JobState | None) -> tuple[State, str]:
    """State and reason of a task that did not finish, by its job."""
    if job is None:
        return "failed", "the job is gone without a result"
    reason = "" if job.reason == "None" else job.reason
    if job.reason == _NEVER:
        return BLOCKED
    if job.state in _RUNNING:
        return "running", ""
    if job.state in _WAITING or (job.state == "PREEMPTED" and job.is_held):
        return "waiting", reason
    if job.state == "CANCELLED":
        return "cancelled", ""
    if job.state == "COMPLETED":
        return "failed", "the job ended without a result"
    return "failed", " ".join(filter(None, [job.state, reason]))


def _judge_process(submission: Submission) -> tuple[State, str]:
    """The same for a job of submitit's local executor; one on another machine cannot be looked at."""
    if submission.host != socket.gethostname():
        return "running", f"if at all, on {submission.host}"
    return ("running", "") if is_process_of(submission) else ("failed", "the process ended without a result")


def is_process_of(submission: Submission) -> bool:
    """Whether the process that looks after a local job is alive, and not another one of the same number."""
    if Path("/proc/self/cmdline").exists():
        command = Path(f"/proc/{submission.job}/cmdline")
        shown = command.read_text() if command.exists() else ""
    else:
        shown = run_program(["ps", "-o", "args=", "-p", submission.job]).stdout
    return "submitit.local._local" in shown
