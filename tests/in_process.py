"""A runner of programs without a sandbox, for programs that a test wrote itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emosae.scenarios.jail.tester import run_test
from emosae.scenarios.jail.wire import pack, unpack
from emosae.scenarios.sandbox import Job, Outcome, TestResult


class InProcess:
    """Runs programs here, which is fine for those of a script."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        self.jobs += jobs
        return [self._run(job) for job in jobs]

    def start(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    def result(self, job: Job) -> Outcome:
        return self._run(job)

    def _run(self, job: Job) -> Outcome:
        ask = self._asker(job.code)
        return Outcome(tuple(TestResult(**run_test(test, ask)) for test in job.tests))

    def _asker(self, code: str) -> Callable[[Any], Any]:
        def ask(call: Any) -> Any:
            namespace: dict[str, Any] = {}
            name, args, kwargs = (unpack(part) for part in call)
            try:
                exec(code, namespace)
                return {"value": pack(namespace[name](*args, **kwargs))}
            except Exception as error:
                return {"error": f"raised {type(error).__name__}"}

        return ask
