"""What was asked of a sweep and what was submitted for it, in the folder `cluster` of its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from emosae.cluster.sweep import Task, plan_tasks
from emosae.config import RunConfig, parse_config
from emosae.errors import UserError
from emosae.store import Stage, Store

FOLDER = "cluster"
Scheduler = Literal["slurm", "local"]


@dataclass(frozen=True, slots=True)
class Submission:
    """A task that was handed to a scheduler.

    Attributes:
        task: Its name.
        fingerprint: What it was to be done from, see `hash_task`.
        scheduler: Who was asked.
        job: What the scheduler calls it: 12 or 12_3 on Slurm, the process that looks after it on this machine.
        host: The machine that it was submitted from.
    """

    task: str
    fingerprint: str
    scheduler: Scheduler
    job: str
    host: str


class Journal:
    """A sweep's directory as `emosae submit` and its sub-verbs see it."""

    def __init__(self, store: Store) -> None:
        """Take the directory; nothing is written before the plan is."""
        self.root = store.root.absolute()
        self._store = store
        self._stage = Stage(self.root / FOLDER)

    @classmethod
    def existing(cls, root: Path) -> Journal:
        """The journal of a sweep that was submitted."""
        journal = cls(Store.existing(root))
        if not journal._stage.has("plan.json"):
            raise UserError(f"{root}: no sweep was submitted there; emosae submit CONFIG.toml --out {root}")
        return journal

    @property
    def jobs_folder(self) -> Path:
        """Where submitit keeps its scripts, its pickles and the logs."""
        return self.root / FOLDER / "jobs"

    def write_plan(self, cfg: RunConfig, fingerprints: Mapping[str, str]) -> None:
        """Note what is wanted now; it takes the place of what was wanted before."""
        plan = {"config": json.loads(cfg.model_dump_json()), "fingerprints": dict(fingerprints)}
        self._store.stage(FOLDER).write_json("plan", plan)

    def read_plan(self) -> tuple[list[Task], dict[str, str]]:
        """The tasks, and the fingerprint of each by name."""
        plan = self._stage.read_json("plan")
        cfg = parse_config(plan["config"], source=str(self._stage.file("plan.json")))
        return plan_tasks(cfg, self.root), plan["fingerprints"]

    def note(self, submissions: Sequence[Submission]) -> None:
        """Note what was submitted."""
        for submission in submissions:
            self._stage.append_line("jobs", asdict(submission))

    def submissions(self) -> list[Submission]:
        """Everything that was ever submitted, in order."""
        return [Submission(**record) for record in self._stage.read_lines("jobs")]

    def latest(self) -> dict[str, Submission]:
        """The last submission of each task that had one, by name."""
        return {submission.task: submission for submission in self.submissions()}

    def note_cancelled(self, jobs: Sequence[str]) -> None:
        """Note what was called off, since Slurm forgets at once a task of an array that had not begun."""
        for job in jobs:
            self._stage.append_line("cancelled", {"job": job})

    def cancelled(self) -> set[str]:
        """Every job that was called off."""
        return {record["job"] for record in self._stage.read_lines("cancelled")}

    def log_file(self, submission: Submission, stream: Literal["out", "err"]) -> Path:
        """Where a job's output goes; that of a requeued one is appended."""
        return self.jobs_folder / f"{submission.job}_0_log.{stream}"
