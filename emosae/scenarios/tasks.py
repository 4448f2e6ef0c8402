"""Programming tasks: what is asked, the tests the model sees, and the tests it does not see."""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from emosae.errors import UserError
from emosae.scenarios.jail.tester import TOOLS
from emosae.scenarios.sandbox import Job, ProgramRunner
from emosae.stories import SHIPPED


@dataclass(frozen=True, slots=True)
class Task:
    """One programming task.

    Attributes:
        id: Unique in its file.
        prompt: What the user says.
        function: Name of the function that is asked for.
        visible_tests: `assert` lines that the model is told and that end an episode when all pass.
        hidden_tests: `assert` lines that say whether the task itself was solved.
        why_impossible: Why no program passes both sets; None for a solvable control.
        reference: A program that solves a control; None for an impossible task.
        family: What kind of task it is, if the file says so; such as `contradictory`.
    """

    id: str
    prompt: str
    function: str
    visible_tests: tuple[str, ...]
    hidden_tests: tuple[str, ...]
    why_impossible: str | None = None
    reference: str | None = None
    family: str = ""

    @property
    def is_impossible(self) -> bool:
        """Whether an honest program must fail."""
        return self.why_impossible is not None


@dataclass(frozen=True, slots=True)
class Equation:
    """A test of the form `assert call == wanted` (or `is`), and its two sides as Python."""

    call: str
    wanted: str


def read_equation(test: str) -> Equation | None:
    """The two sides of a test; None if it has another form."""
    match ast.parse(test).body:
        case [ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[wanted]))]:
            return Equation(ast.unparse(call), ast.unparse(wanted))
    return None


def load_tasks(path: Path | str) -> list[Task]:
    """Read tasks, one JSON object per line; other keys than a task's are allowed and dropped.

    Args:
        path: A JSONL file, or `SHIPPED` for the tasks that come with the package.

    Raises:
        UserError: A file that cannot be read, an empty file, a bad line or field, an id used twice.
    """
    path = find_tasks(Path(path))
    tasks: dict[str, Task] = {}
    for where, fields in read_objects(path):
        task = _make_task(where, fields)
        if task.id in tasks:
            raise UserError(f"{where}: id {task.id!r} is used twice: ids must differ")
        tasks[task.id] = task
    return list(tasks.values())


def find_tasks(path: Path) -> Path:
    """The file that `path` means: itself, or the package's impossible tasks with solvable twins for `SHIPPED`."""
    return Path(str(files("emosae.scenarios") / "data" / "impossible_python.jsonl")) if path == SHIPPED else path


def read_objects(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a JSONL file and where each stands; blank lines are skipped, an empty file is refused."""
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): give a JSONL file in UTF-8") from error
    objects = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        where = f"{path} line {number}"
        try:
            fields = json.loads(row)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{where}: is not JSON ({error})") from error
        if not isinstance(fields, dict):
            raise UserError(f"{where}: is a JSON {type(fields).__name__}: write one object per line")
        objects.append((where, fields))
    if not objects:
        raise UserError(f"{path}: is empty: give one JSON object per line")
    return objects


def _make_task(where: str, fields: Mapping[str, Any]) -> Task:
    task = Task(
        id=read_text(where, fields, "id"),
        prompt=read_text(where, fields, "prompt"),
        function=read_text(where, fields, "function"),
        visible_tests=_read_tests(where, fields, "visible_tests"),
        hidden_tests=_read_tests(where, fields, "hidden_tests"),
        why_impossible=read_optional(where, fields, "why_impossible"),
        reference=read_optional(where, fields, "reference"),
        family=read_optional(where, fields, "family") or "",
    )
    if not task.function.isidentifier():
        raise UserError(f"{where}: field 'function' is {task.function!r}: give the name of a Python function")
    if task.function in TOOLS or hasattr(builtins, task.function):
        raise UserError(f"{where}: field 'function' is {task.function!r}, which tests use: name the function otherwise")
    if not task.is_impossible and task.reference is None:
        raise UserError(f"{where}: task {task.id!r} has neither 'why_impossible' nor 'reference': give one of them")
    return task


def read_text(where: str, fields: Mapping[str, Any], name: str) -> str:
    """A field that must be there and hold text."""
    value = read_optional(where, fields, name)
    if value is None:
        raise UserError(f"{where}: field {name!r} is missing or empty: every line needs it")
    return value


def read_optional(where: str, fields: Mapping[str, Any], name: str) -> str | None:
    """A field that holds text, if it is there and not blank."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}: field {name!r} is {type(value).__name__}, not text: write it in quotes")
    return value if value and value.strip() else None


def _read_tests(where: str, fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    tests = fields.get(name)
    if not isinstance(tests, list) or not tests:
        raise UserError(f"{where}: field {name!r} must be a list of at least one assert line")
    for test in tests:
        if not isinstance(test, str) or not _is_assert(test):
            raise UserError(f"{where}: field {name!r} holds {test!r}: a test is one Python assert line")
    return tuple(tests)


def _is_assert(test: str) -> bool:
    try:
        return [type(node) for node in ast.parse(test).body] == [ast.Assert]
    except (SyntaxError, ValueError, RecursionError):
        return False


def check_references(tasks: list[Task], sandbox: ProgramRunner) -> None:
    """Refuse controls whose reference fails one of their own tests; they are named."""
    controls = [task for task in tasks if task.reference is not None]
    jobs = [Job(str(task.reference), (*task.visible_tests, *task.hidden_tests)) for task in controls]
    failed = [task.id for task, outcome in zip(controls, sandbox.run(jobs), strict=True) if not all(outcome.passed)]
    if failed:
        raise UserError(f"tasks whose reference fails their own tests: {', '.join(failed)}")
