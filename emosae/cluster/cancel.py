"""Call off what is on its way."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from emosae.cluster.jobs import ACTIVE, Run, is_process_of, judge_jobs, run_program
from emosae.cluster.journal import Journal
from emosae.errors import UserError


def cancel_tasks(journal: Journal, names: Sequence[str] = (), run: Run = run_program) -> list[str]:
    """Cancel the last job of each task, or of those named; the names of the tasks that had one on its way.

    Tasks of earlier configs of the sweep count, too. What a training saved stays: submitted again, it goes on.
    """
    latest = journal.latest()
    if unknown := [name for name in names if name not in latest]:
        raise UserError(f"{unknown[0]}: no such task was submitted; emosae submit status {journal.root} lists them")
    asked = [one for one in latest.values() if not names or one.task in names]
    states = judge_jobs(asked, run)
    active = [one for one in asked if states[one.task][0] in ACTIVE]
    journal.note_cancelled([one.job for one in active])
    jobs = [one.job for one in active if one.scheduler == "slurm"]
    if jobs:
        answer = run(["scancel", *jobs])
        if answer.returncode != 0:
            raise UserError(f"scancel: {' '.join(answer.stderr.split())}")
    for one in active:
        if one.scheduler == "local" and is_process_of(one):
            os.kill(int(one.job), signal.SIGINT)
    return [one.task for one in active]
