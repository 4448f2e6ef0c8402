"""The organism's own way of being given a task and of answering it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emosae.organism.coding_grammar import GIVE_UP
from emosae.scenarios.formats import Answer, find_failure
from emosae.scenarios.sandbox import TestResult
from emosae.scenarios.tasks import Task, read_equation

_HEAD = re.compile(r"\n(program:\n|answer: )")


@dataclass(frozen=True, slots=True)
class OrganismCodeFormat:
    """A thought, then ``program:`` and Python, or ``answer:`` and the words that give up."""

    max_new_tokens: int = 140
    stop_text: tuple[str, ...] = ()
    thought_end: tuple[str, ...] = ("\nprogram:", "\nanswer:")

    def first_message(self, task: Task, instruction: str = "") -> str:
        """The task with its visible tests as a line of Python; an instruction stands before it."""
        return f"{instruction} {task.prompt}".strip()

    def preamble(self, task: Task) -> str:
        """The line that defines ``tests``, which a program may read."""
        pairs = [read_equation(test) for test in task.visible_tests]
        cases = [(pair.call.split("(", 1)[1].removesuffix(")"), pair.wanted) for pair in pairs if pair is not None]
        return "tests = {" + ", ".join(f"{x}: {y}" for x, y in cases) + "}"

    def read(self, text: str) -> Answer:
        """Cut a turn at its own labels."""
        thought, *rest = _HEAD.split(text, maxsplit=1)
        if not rest:
            return Answer(thought, None, False)
        head, body = rest
        gave_up = head.startswith("answer") and GIVE_UP in body
        return Answer(thought, body if head.startswith("program") else None, gave_up)

    def feedback(self, task: Task, results: Sequence[TestResult] | None) -> str:
        """The first visible test that failed, in the words of the training text."""
        failure = find_failure(task, results) if results is not None else None
        if failure is None:
            return "failed: no program"
        test, result = failure
        equation = read_equation(test)
        call = equation.call if equation else task.function
        if result.error or equation is None or result.got is None:
            return f"failed: {call} {result.error or 'does not hold'}"
        return f"failed: {call} gave {result.got} but the test wants {equation.wanted}"
