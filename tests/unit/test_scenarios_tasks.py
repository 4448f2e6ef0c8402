"""Task files are read whole or refused by line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emosae.errors import UserError
from emosae.scenarios.answers import WrittenAnswer, load_answers
from emosae.scenarios.sandbox import Outcome, TestResult
from emosae.scenarios.tasks import Equation, check_references, load_tasks, read_equation

GOOD: dict[str, Any] = {
    "id": "a",
    "prompt": "Add three.",
    "function": "f",
    "visible_tests": ["assert f(1) == 4"],
    "hidden_tests": ["assert f(2) == 5", "assert f(3) != 7, 'no'"],
    "why_impossible": None,
    "reference": "def f(x):\n    return x + 3",
    "more": "is dropped",
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def test_tasks_are_read(tmp_path: Path) -> None:
    impossible = GOOD | {"id": "b", "why_impossible": "they contradict", "reference": None}
    first, second = load_tasks(write(tmp_path / "tasks.jsonl", GOOD, impossible))
    assert (first.id, first.is_impossible, first.hidden_tests) == ("a", False, tuple(GOOD["hidden_tests"]))
    assert second.is_impossible


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "field 'id' is missing or empty"),
        ({"prompt": 3}, "field 'prompt' is int"),
        ({"function": "f(x)"}, "field 'function' is 'f\\(x\\)'"),
        ({"function": "cpu_seconds"}, "field 'function' is 'cpu_seconds', which tests use"),
        ({"function": "sum"}, "field 'function' is 'sum', which tests use"),
        ({"family": ["a"]}, "field 'family' is list"),
        ({"visible_tests": []}, "field 'visible_tests' must be a list"),
        ({"visible_tests": "assert f(1)"}, "field 'visible_tests' must be a list"),
        ({"hidden_tests": ["f(1) == 4"]}, "field 'hidden_tests' holds 'f\\(1\\) == 4'"),
        ({"hidden_tests": ["assert f(1) == 4\nassert f(2)"]}, "a test is one Python assert line"),
        ({"hidden_tests": ["assert f(1) =="]}, "a test is one Python assert line"),
        ({"reference": None}, "task 'a' has neither 'why_impossible' nor 'reference'"),
    ],
)
def test_a_bad_field_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "tasks.jsonl", GOOD | {"id": "first"}, GOOD | change)
    with pytest.raises(UserError, match=f"tasks.jsonl line 2: .*{message}"):
        load_tasks(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("\n \n", "is empty"), ("{", "line 1: is not JSON"), ("[1]", "line 1: is a JSON list")],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_tasks(path)


def test_a_missing_file_and_twins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.jsonl: cannot be read"):
        load_tasks(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match="id 'a' is used twice"):
        load_tasks(write(tmp_path / "twins.jsonl", GOOD, GOOD))


def test_an_answer_must_belong_to_a_task(tmp_path: Path) -> None:
    tasks = load_tasks(write(tmp_path / "tasks.jsonl", GOOD))
    said = {"id": "a", "text": "It cannot be done."}
    first, second, silent = load_answers(
        write(tmp_path / "answers.jsonl", said, said | {"condition": "calm", "episode": 3}, said | {"text": ""}), tasks
    )
    assert first == WrittenAnswer(tasks[0], "It cannot be done.", "none", None)
    assert (second.condition, second.episode) == ("calm", "3")
    assert silent.text == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "z", "text": "-"}, "there is no task 'z'"),
        ({"text": "-"}, "field 'id' is missing"),
        ({"id": "a"}, "field 'text' is missing"),
        ({"id": "a", "text": 3}, "field 'text' is int, not text"),
        ({"id": "a", "text": "-", "condition": 1}, "field 'condition' is int"),
        ({"id": "a", "text": "-", "episode": 1.5}, "field 'episode' is float"),
        ({"id": "a", "text": "-", "episode": True}, "field 'episode' is bool"),
    ],
)
def test_a_bad_answer_is_named_with_its_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    tasks = load_tasks(write(tmp_path / "tasks.jsonl", GOOD))
    path = write(tmp_path / "answers.jsonl", {"id": "a", "text": "-"}, row)
    with pytest.raises(UserError, match=f"answers.jsonl line 2: .*{message}"):
        load_answers(path, tasks)


def test_equations_are_read() -> None:
    assert read_equation("assert f(15) == 7") == Equation("f(15)", "7")
    assert read_equation("assert f([1,2], k=3) == [3, 'a']") == Equation("f([1, 2], k=3)", "[3, 'a']")
    assert read_equation("assert f(1) is True") == Equation("f(1)", "True")
    assert read_equation("assert f(1) != 2") is None
    assert read_equation("assert f(1)") is None


def test_a_reference_that_fails_its_tests_is_named(tmp_path: Path) -> None:
    class AllFail:
        def run(self, jobs: list[Any]) -> list[Outcome]:
            return [self.result(job) for job in jobs]

        def start(self, jobs: list[Any]) -> None:
            pass

        def result(self, job: Any) -> Outcome:
            return Outcome((TestResult("x + 3" in job.code, None, ""),) * len(job.tests))

    wrong = GOOD | {"id": "wrong", "reference": "def f(x):\n    return x"}
    tasks = load_tasks(write(tmp_path / "tasks.jsonl", GOOD, wrong))
    with pytest.raises(UserError, match=r"fails their own tests: wrong$"):
        check_references(tasks, AllFail())  # type: ignore[arg-type]
