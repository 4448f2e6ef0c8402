"""A way to put tasks that suits a small random model: whatever it babbles is a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emosae.scenarios.formats import Answer
from emosae.scenarios.sandbox import TestResult
from emosae.scenarios.tasks import Task


@dataclass(frozen=True)
class Babble:
    """The program returns how often the model said "a"; the first half of what it said is its thought."""

    max_new_tokens: int = 10
    stop_text: tuple[str, ...] = ()
    thought_end: tuple[str, ...] = ("e", " ")

    def first_message(self, task: Task, instruction: str = "") -> str:
        return f"{task.prompt}{instruction}"

    def preamble(self, task: Task) -> str:
        return ""

    def read(self, text: str) -> Answer:
        return Answer(text[: len(text) // 2], f"def f(x):\n    return {text.count('a')}", False)

    def feedback(self, task: Task, results: Sequence[TestResult] | None) -> str:
        assert results is not None
        return f"no {results[0].got}"
