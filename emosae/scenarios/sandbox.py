"""Run programs that a model wrote, against tests, where they can harm nothing and forge nothing.

bubblewrap gives each worker its own namespaces without a network, and a read-only system that holds the Python library
and nothing else; `jail` says what runs inside. Without bubblewrap nothing runs, unless the caller insists.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

from emosae.scenarios.bubblewrap import OR_INSIST, SandboxMissing, bwrap_command, plain_command, start_worker
from emosae.scenarios.jail.wire import Ended, receive, send

MAX_CODE = 100_000
MEMORY_BYTES = 512 << 20
_GRACE_S = 5.0  # beyond a job's own time, before the sandbox itself is given up
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """A whole program and the `assert` lines to hold against it."""

    code: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestResult:
    """One `assert` line.

    Attributes:
        passed: Whether it held.
        got: What the program's last call in it gave, as text of at most 200 characters; None if it gave nothing.
        error: Empty if the line was decided by values; else what happened, such as "raised KeyError" or "timed out".
    """

    passed: bool
    got: str | None
    error: str

    __test__ = False  # no test class, whatever pytest makes of the name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job; one result per test, in order."""

    results: tuple[TestResult, ...]

    @property
    def passed(self) -> tuple[bool, ...]:
        """Which tests passed."""
        return tuple(result.passed for result in self.results)

    @property
    def error(self) -> str:
        """The first thing that went wrong; empty if all tests were decided by values."""
        return next((result.error for result in self.results if result.error), "")


@runtime_checkable
class ProgramRunner(Protocol):
    """Whoever runs programs against tests: `Sandbox`, or a stand-in in tests."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome per job, in order."""
        ...

    def start(self, jobs: Sequence[Job]) -> None:
        """Have jobs run while the caller does something else; called now and then, since that moves jobs on."""
        ...

    def result(self, job: Job) -> Outcome:
        """The outcome of a job that was started, waited for."""
        ...


def _all_failed(job: Job, error: str) -> Outcome:
    return Outcome((TestResult(False, None, error),) * len(job.tests))


class _Worker:
    """One sandbox: a process that takes a job at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self.job: Job | None = None
        self.deadline = 0.0
        self._process = start_worker(command)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self.stdout = self._process.stdin.fileno(), self._process.stdout.fileno()

    def greet(self) -> str:
        """Empty if the sandbox is up, else why not."""
        try:
            return receive(self.stdout, time.monotonic() + _START_S)["unfit"]
        except Ended:
            self._process.kill()
            assert self._process.stderr is not None
            said = self._process.stderr.read().decode(errors="replace").strip()
            return said.splitlines()[-1] if said else "it ended without a word"

    def start(self, job: Job, timeout: float, filtered: bool) -> None:
        """Hand over a job."""
        self.job, self.deadline = job, time.monotonic() + timeout + _GRACE_S
        limits = {"timeout": timeout, "memory_bytes": MEMORY_BYTES, "filtered": filtered}
        send(self._stdin, {"code": job.code, "tests": list(job.tests), **limits}, self.deadline)

    def finish(self) -> Outcome:
        """Take the verdict; `Ended` if the sandbox broke."""
        results = receive(self.stdout, self.deadline)
        self.job = None
        return Outcome(tuple(TestResult(**result) for result in results))

    def stop(self) -> None:
        """End every process of the sandbox."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class Sandbox:
    """Sandboxes that stay up between calls, and the memory of what was already run: equal jobs run once.

    Use as a context manager, on one thread.

    Args:
        workers: Jobs at a time.
        timeout: Seconds that a program has for loading and all its tests.
        unsafe: Run without bubblewrap, with the caller's own rights.
    """

    def __init__(self, *, workers: int = 2, timeout: float = 2.0, unsafe: bool = False) -> None:
        self._n_workers, self._timeout, self._unsafe = workers, timeout, unsafe
        self._command = plain_command() if unsafe else bwrap_command()
        self._workers: list[_Worker] = []
        self._known: dict[Job, Outcome] = {}
        self._waiting: deque[Job] = deque()
        self._started: set[Job] = set()  # without an outcome yet
        self._filtered = True
        self.n_broken = 0  # times that a worker had to be replaced

    def __enter__(self) -> Sandbox:
        self._workers = [self._open_worker()]
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []
        self._waiting.clear()
        self._started.clear()

    def _open_worker(self) -> _Worker:
        worker = _Worker(self._command)
        reason = worker.greet()
        self._filtered = not reason
        if reason and not self._unsafe:
            worker.stop()
            raise SandboxMissing(
                f"bubblewrap cannot make a sandbox here ({reason}): allow unprivileged user namespaces {OR_INSIST}"
            )
        return worker

    def run(self, jobs: Sequence[Job], progress: Callable[[int], object] | None = None) -> list[Outcome]:
        """Run each job that was not run before. `progress` is called with the number of jobs that ended."""
        self._enqueue(jobs)
        while any(job not in self._known for job in jobs):
            n_ended = self._advance(wait=True)
            if progress is not None and n_ended:
                progress(n_ended)
        return [self._known[job] for job in jobs]

    def start(self, jobs: Sequence[Job]) -> None:
        """Put each job that is new behind those that wait, take in verdicts, and hand out what waits; never waits."""
        self._enqueue(jobs)
        self._advance(wait=False)

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if len(job.code) > MAX_CODE:
                self._known[job] = _all_failed(job, f"is longer than {MAX_CODE} characters")
            elif job not in self._known and job not in self._started:
                self._started.add(job)
                self._waiting.append(job)

    def result(self, job: Job) -> Outcome:
        """The outcome of a job that was started, waited for."""
        return self.run([job])[0]

    def _advance(self, *, wait: bool) -> int:
        """Hand out what waits and take in verdicts, one at least if any is to come and `wait`; number of verdicts."""
        n_busy = sum(worker.job is not None for worker in self._workers)
        while len(self._workers) < min(self._n_workers, len(self._waiting) + n_busy):
            self._workers.append(self._open_worker())
        for slot, worker in enumerate(self._workers):
            if worker.job is None:
                self._feed(slot)
        busy = [worker for worker in self._workers if worker.job is not None]
        if not busy:
            return 0
        patience = max(0.0, min(worker.deadline for worker in busy) - time.monotonic()) if wait else 0.0
        ready, _, _ = select.select([worker.stdout for worker in busy], [], [], patience)
        n_ended = 0
        for slot, worker in enumerate(list(self._workers)):
            job = worker.job
            if job is not None and (worker.stdout in ready or worker.deadline < time.monotonic()):
                self._known[job] = self._collect(slot, job)
                self._started.discard(job)
                self._feed(slot)
                n_ended += 1
        return n_ended

    def _feed(self, slot: int) -> None:
        """Give a worker the next job; one that died while it had none is replaced. No worker takes it: it failed."""
        if not self._waiting:
            return
        job = self._waiting.popleft()
        for _ in range(2):
            try:
                return self._workers[slot].start(job, self._timeout, self._filtered)
            except Ended:
                self._replace(slot)
        self._known[job] = _all_failed(job, "could not be handed over")
        self._started.discard(job)

    def _collect(self, slot: int, job: Job) -> Outcome:
        """A worker's verdict; a sandbox that broke fails its job and is replaced."""
        try:
            return self._workers[slot].finish()
        except Ended as ended:
            self._replace(slot)
            return _all_failed(job, str(ended))

    def _replace(self, slot: int) -> None:
        self._workers[slot].stop()
        self.n_broken += 1
        self._workers[slot] = self._open_worker()


def run_programs(jobs: Sequence[Job], *, workers: int = 2, timeout: float = 2.0, unsafe: bool = False) -> list[Outcome]:
    """Run programs against their tests in sandboxes that are closed afterwards."""
    with Sandbox(workers=workers, timeout=timeout, unsafe=unsafe) as sandbox:
        return sandbox.run(jobs)


@cache
def sandbox_available() -> bool:
    """Whether programs can be run safely on this machine."""
    try:
        with Sandbox(workers=1):
            return True
    except SandboxMissing:
        return False
