"""Run programs that a model wrote, against tests, where they can harm nothing and forge nothing.

bubblewrap gives each worker its own namespaces without a network, and a read-only system that holds the Python library
and nothing else; `jail` says what runs inside. Without bubblewrap nothing runs, unless the caller insists.
"""

from __future__ import annotations

import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from emosae.errors import UserError
from emosae.scenarios.jail.wire import Ended, receive, send

MAX_CODE = 100_000
MEMORY_BYTES = 512 << 20
_GRACE_S = 5.0  # beyond a job's own time, before the sandbox itself is given up
_START_S = 30.0
_JAIL = Path(__file__).parent / "jail"
_BOOT = "import sys; sys.path[:0] = [{folder!r}]; from jail.tester import main; main()"
_FLAGS = ("-I", "-S", "-B", "-W", "ignore")
_INSTALL = "install it (apt-get install bubblewrap, dnf install bubblewrap)"
_OR_INSIST = "or pass --unsafe-no-sandbox to run the model's programs with your own rights"


class SandboxMissing(UserError):
    """There is no sandbox here, so nothing was run."""


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

    @property
    def timed_out(self) -> bool:
        """Whether the program used up its time."""
        return any(result.error == "timed out" for result in self.results)


@runtime_checkable
class ProgramRunner(Protocol):
    """Whoever runs programs against tests: `Sandbox`, or a stand-in in tests."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome per job, in order."""
        ...


def _all_failed(job: Job, error: str) -> Outcome:
    return Outcome((TestResult(False, None, error),) * len(job.tests))


class _Worker:
    """One sandbox: a process that takes a job at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self.job: Job | None = None
        self.deadline = 0.0
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            cwd="/",
            start_new_session=True,
        )
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
        self._command = _plain_command() if unsafe else bwrap_command()
        self._workers: list[_Worker] = []
        self._known: dict[Job, Outcome] = {}
        self._filtered = True
        self.n_broken = 0  # times that a worker had to be replaced

    def __enter__(self) -> Sandbox:
        self._workers = [self._open_worker()]
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def _open_worker(self) -> _Worker:
        worker = _Worker(self._command)
        reason = worker.greet()
        self._filtered = not reason
        if reason and not self._unsafe:
            worker.stop()
            raise SandboxMissing(
                f"bubblewrap cannot make a sandbox here ({reason}): allow unprivileged user namespaces {_OR_INSIST}"
            )
        return worker

    @property
    def n_distinct(self) -> int:
        """Different jobs that were run so far."""
        return len(self._known)

    def run(self, jobs: Sequence[Job], progress: Callable[[int], object] | None = None) -> list[Outcome]:
        """Run each job that was not run before. `progress` is called with the number of jobs that ended."""
        new = [job for job in dict.fromkeys(jobs) if job not in self._known]
        for job in new:
            if len(job.code) > MAX_CODE:
                self._known[job] = _all_failed(job, f"is longer than {MAX_CODE} characters")
        waiting = [job for job in reversed(new) if job not in self._known]
        while len(self._workers) < min(self._n_workers, len(waiting)):
            self._workers.append(self._open_worker())
        self._run_waiting(waiting, progress or (lambda _: None))
        return [self._known[job] for job in jobs]

    def _run_waiting(self, waiting: list[Job], progress: Callable[[int], object]) -> None:
        for slot in range(len(self._workers)):
            self._feed(slot, waiting)
        while busy := [worker for worker in self._workers if worker.job is not None]:
            patience = min(worker.deadline for worker in busy) - time.monotonic()
            ready, _, _ = select.select([worker.stdout for worker in busy], [], [], max(0.0, patience))
            for slot, worker in enumerate(list(self._workers)):
                job = worker.job
                if job is not None and (worker.stdout in ready or worker.deadline < time.monotonic()):
                    self._known[job] = self._collect(slot, job)
                    progress(1)
                    self._feed(slot, waiting)

    def _feed(self, slot: int, waiting: list[Job]) -> None:
        """Give a worker the next job; one that died while it had none is replaced first."""
        if not waiting:
            return
        job = waiting.pop()
        try:
            self._workers[slot].start(job, self._timeout, self._filtered)
        except Ended:
            self._replace(slot)
            self._workers[slot].start(job, self._timeout, self._filtered)

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


def bwrap_command() -> list[str]:
    """The command that starts a worker in bubblewrap. Refused where there is no bubblewrap."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxMissing(f"bubblewrap (bwrap) is missing, so no program was run: {_INSTALL} {_OR_INSIST}")
    base, version = Path(sys.base_prefix), sysconfig.get_python_version()
    executable = Path(sys.executable).resolve()
    command = [bwrap, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    command += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/nix/store"):
        command += _mount(Path(folder))
    command += [part for name in ("lib", "lib64") for part in _mount(base / name, f"/python/{name}")]
    command += ["--ro-bind", str(executable), f"/python/bin/python{version}", "--ro-bind", str(_JAIL), "/jail/jail"]
    command += ["--dev-bind", os.devnull, os.devnull, "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    command += ["--remount-ro", "/", "--chdir", "/"]
    return [*command, f"/python/bin/python{version}", *_FLAGS, "-c", _BOOT.format(folder="/jail")]


def _mount(source: Path, target: str | None = None) -> list[str]:
    """A folder of the system, read-only, as it is there: a link, a folder, or not at all."""
    if target is None and source.is_symlink():
        return ["--symlink", str(source.readlink()), str(source)]
    return ["--ro-bind", str(source.resolve()), target or str(source)] if source.is_dir() else []


def _plain_command() -> list[str]:
    if platform.system() not in ("Linux", "Darwin"):
        raise SandboxMissing(f"programs cannot be run on {platform.system()}: use Linux")
    return [sys.executable, *_FLAGS, "-c", _BOOT.format(folder=str(_JAIL.parent))]


@cache
def sandbox_available() -> bool:
    """Whether programs can be run safely on this machine."""
    try:
        with Sandbox(workers=1):
            return True
    except SandboxMissing:
        return False
