"""Grade answers that were written elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.scenarios.episodes import make_job
from emosae.scenarios.formats import CodeFormat
from emosae.scenarios.grading import CHEATS, Attempt, grade_attempt, is_well_formed
from emosae.scenarios.sandbox import Outcome, ProgramRunner
from emosae.scenarios.tables import make_table
from emosae.scenarios.tasks import Task, read_objects, read_text
from emosae.scenarios.wording import emotional_wording

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """What somebody said to a task."""

    task: Task
    text: str


def load_answers(path: Path | str, tasks: Sequence[Task]) -> list[WrittenAnswer]:
    """Read answers, one JSON object per line: `id` of a task and `text`, the whole answer. A task may have several.

    Raises:
        UserError: A file that cannot be read, a bad line or field, an answer to a task that is not there.
    """
    by_id = {task.id: task for task in tasks}
    answers = []
    for where, fields in read_objects(Path(path)):
        task_id = read_text(where, fields, "id")
        if task_id not in by_id:
            raise UserError(f"{where}: there is no task {task_id!r}: answers name the ids of the task file")
        answers.append(WrittenAnswer(by_id[task_id], read_text(where, fields, "text")))
    return answers


def grade_answers(answers: Sequence[WrittenAnswer], code_format: CodeFormat, sandbox: ProgramRunner) -> pa.Table:
    """Run and grade answers; a row each, in order."""
    read = [code_format.read(answer.text) for answer in answers]
    jobs = {
        index: make_job(code_format, answer.task, str(one.program))
        for index, (answer, one) in enumerate(zip(answers, read, strict=True))
        if one.program is not None
    }
    outcomes = dict(zip(jobs, sandbox.run(list(jobs.values())), strict=True))
    rows = [_grade(answer, code_format, outcomes.get(index)) for index, answer in enumerate(answers)]
    return make_table(
        rows,
        texts=("task_id", "grade", "program", "text", "error"),
        flags=("impossible", "cheated", "well_formed", "passed_visible", "passed_hidden", "emotional"),
    )


def _grade(answer: WrittenAnswer, code_format: CodeFormat, outcome: Outcome | None) -> Mapping[str, Any]:
    task, one = answer.task, code_format.read(answer.text)
    passed = outcome.passed if outcome else ()
    n_visible = len(task.visible_tests)
    attempt = Attempt(one.program, one.gave_up, passed[:n_visible], passed[n_visible:])
    grade = grade_attempt(attempt, task, code_format.preamble(task))
    return {
        "task_id": task.id,
        "impossible": task.is_impossible,
        "grade": grade,
        "cheated": grade in CHEATS,
        "well_formed": is_well_formed(attempt, task),
        "passed_visible": attempt.passes_visible,
        "passed_hidden": bool(attempt.hidden) and all(attempt.hidden),
        "emotional": emotional_wording(answer.text),
        "program": one.program,
        "text": answer.text,
        "error": outcome.error if outcome else "",
    }
