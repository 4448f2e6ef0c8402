"""The same tasks on this machine, a few at a time, through submitit's local executor."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from emosae.cluster.journal import Journal
from emosae.cluster.submission import Todo, load_submitit, submission_of
from emosae.cluster.sweep import Task
from emosae.cluster.work import Work, is_finished
from emosae.config import ClusterSection, RunConfig
from emosae.errors import UserError

if TYPE_CHECKING:
    from submitit import LocalExecutor

POLL_SECONDS = 0.2
GRACE_SECONDS = 2.0
"""What an interrupted task is given to save what it has; submitit's controller kills it a second after the signal."""
_NO_LIMIT_MINUTES = 60 * 24 * 30

_log = logging.getLogger(__name__)


def run_tasks_here(cfg: RunConfig, journal: Journal, todo: Todo) -> None:
    """Run what is left of a sweep and return when all of it is done.

    A task starts when those that it needs are finished, `cluster.parallel` at a time. One that fails holds up only
    what needs it. What belongs to the cluster alone, such as time limits, modules and containers, is left out.

    Raises:
        UserError: Some tasks failed; they are named.
    """
    if todo.jobs:
        raise UserError(f"{journal.root}: tasks are on their way already: {', '.join(todo.jobs)}; wait, or cancel them")
    cluster = cfg.cluster or ClusterSection()
    journal.write_plan(cfg, todo.fingerprints)
    line = _Line(journal, todo, cluster)
    with _note_interrupts() as interrupts:
        try:
            while line.start_more() or line.running:
                time.sleep(POLL_SECONDS)
                ended = line.find_ended()
                if interrupts:  # what ended did so because of it, and has not failed
                    raise KeyboardInterrupt
                line.collect(ended)
        except BaseException:
            line.stop()
            raise
    if line.failed:
        blocked = f"; {len(line.waiting)} more wait for them" if line.waiting else ""
        raise UserError(f"failed: {', '.join(line.failed)}{blocked}; emosae submit logs {journal.root}")


class _Line:
    """Tasks that wait, that run, and that failed."""

    def __init__(self, journal: Journal, todo: Todo, cluster: ClusterSection) -> None:
        self.waiting = list(todo.tasks)
        self.running: dict[str, tuple[Task, Any]] = {}
        self.failed: list[str] = []
        self._journal, self._cluster = journal, cluster
        self._fingerprints: Mapping[str, str] = todo.fingerprints
        self._unfinished = {task.name for task in todo.tasks}

    def start_more(self) -> bool:
        """Start tasks for which there is room and nothing is lacking; whether any was."""
        free = (self._cluster.parallel or 1) - len(self.running)
        ready = [task for task in self.waiting if not self._unfinished & set(task.needs)][:free]
        for task in ready:
            work = Work(task, self._fingerprints[task.name])
            executor = _open_executor(self._journal, self._cluster, task)
            with _stderr_to(self._journal.jobs_folder / "controllers.err"):
                job = executor.submit(work)
            self._journal.note([submission_of(work, "local", job.job_id)])
            self.running[task.name] = (task, job)
            self.waiting.remove(task)
            _log.info("%s: started", task.name)
        return bool(ready)

    def find_ended(self) -> list[str]:
        """Those that no longer run."""
        return [name for name, (_, job) in self.running.items() if job.done()]

    def collect(self, ended: Sequence[str]) -> None:
        """Note how they ended."""
        for name in ended:
            task, _ = self.running.pop(name)
            if is_finished(task, self._fingerprints[name]):
                self._unfinished.discard(name)
                _log.info("%s: finished", name)
            else:
                self.failed.append(name)
                _log.info("%s: failed", name)

    def stop(self) -> None:
        """Interrupt those that run, unless Ctrl-C at the console has reached them already, and wait for their end."""
        self._journal.note_cancelled([job.job_id for _, job in self.running.values()])
        self._wait_for_ends()
        for _, job in self.running.values():
            if not job.done():
                job.cancel()
        self._wait_for_ends()

    def _wait_for_ends(self) -> None:
        end = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < end and not all(job.done() for _, job in self.running.values()):
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _note_interrupts() -> Iterator[list[int]]:
    """Note every Ctrl-C beside raising it: one that falls into a finaliser of some library is swallowed there."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield seen
        return

    def answer(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, answer)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Let programs that are started meanwhile complain to a file; submitit's controllers print tracebacks at Ctrl-C."""
    path.parent.mkdir(parents=True, exist_ok=True)
    console = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(console, 2)
        os.close(console)


def _open_executor(journal: Journal, cluster: ClusterSection, task: Task) -> LocalExecutor:
    executor = load_submitit().LocalExecutor(journal.jobs_folder)
    gpus = cluster.resources(task.stage).gpus or int(task.cfg.model.device.startswith("cuda"))
    executor.update_parameters(timeout_min=_NO_LIMIT_MINUTES, gpus_per_node=gpus)  # it hides all others
    return executor
