"""Grade answers that were written elsewhere, by whatever model, as episodes like those that are played here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.hooks import Prompt
from emosae.scenarios.conditions import Condition
from emosae.scenarios.episodes import Episode, Turn, make_job
from emosae.scenarios.formats import CodeFormat
from emosae.scenarios.grading import Attempt, grade_attempt, is_well_formed
from emosae.scenarios.rollouts import describe_episode, make_rollouts
from emosae.scenarios.sandbox import Outcome, Sandbox
from emosae.scenarios.tasks import Task, read_objects, read_optional, read_text
from emosae.stories import SHIPPED

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """What somebody said to a task.

    Attributes:
        task: The task.
        text: The whole answer.
        condition: Under which condition it was said.
        episode: Answers to a task under a condition with the same episode are its attempts, in order; without one an
            answer is an episode of its own.
    """

    task: Task
    text: str
    condition: str = "none"
    episode: str | None = None


def find_answers(path: Path) -> Path:
    """The file that `path` means: itself, or the scripted answers to the package's own tasks for `SHIPPED`."""
    name = "impossible_python_answers.jsonl"
    return Path(str(files("emosae.scenarios") / "data" / name)) if path == SHIPPED else path


def load_answers(path: Path | str, tasks: Iterable[Task]) -> list[WrittenAnswer]:
    """Read answers, one JSON object per line; other keys than those below are allowed and dropped.

    `id` (of a task; it may have several answers) and `text`, the whole answer; if wanted `condition` (none if it is not
    there) and `episode`, a number or a name.

    Raises:
        UserError: A file that cannot be read, a bad line or field, an answer to a task that is not there.
    """
    by_id = {task.id: task for task in tasks}
    answers = []
    for where, fields in read_objects(find_answers(Path(path))):
        task_id = read_text(where, fields, "id")
        if task_id not in by_id:
            raise UserError(f"{where}: there is no task {task_id!r}: answers name the ids of the task file")
        condition = read_optional(where, fields, "condition") or "none"
        answer = WrittenAnswer(by_id[task_id], _read_answer(where, fields), condition, _read_episode(where, fields))
        answers.append(answer)
    return answers


def _read_answer(where: str, fields: Mapping[str, Any]) -> str:
    """The text, which may be empty: a model may say nothing."""
    text = fields.get("text")
    if not isinstance(text, str):
        found = "is missing" if text is None else f"is {type(text).__name__}, not text"
        raise UserError(f"{where}: field 'text' {found}: give the whole answer in quotes")
    return text.encode(errors="replace").decode()  # JSON can hold half of a character, a table cannot


def _read_episode(where: str, fields: Mapping[str, Any]) -> str | None:
    episode = fields.get("episode")
    if isinstance(episode, bool) or not isinstance(episode, (int, str, type(None))):
        raise UserError(f"{where}: field 'episode' is {type(episode).__name__}: give a number or a name")
    return None if episode is None else str(episode)


def grade_answers(
    answers: Sequence[WrittenAnswer],
    code_format: CodeFormat,
    sandbox: Sandbox,
    *,
    progress: Callable[[int], object] | None = None,
) -> pa.Table:
    """Run and grade answers; a row per episode, with the columns of every table of episodes.

    Args:
        answers: What was said.
        code_format: How programs are read from it.
        sandbox: Where they are run; equal programs with equal tests run once.
        progress: Called with the number of programs that ended.
    """
    read = [code_format.read(answer.text) for answer in answers]
    jobs = {
        index: make_job(code_format, answer.task, str(one.program))
        for index, (answer, one) in enumerate(zip(answers, read, strict=True))
        if one.program is not None
    }
    outcomes = dict(zip(jobs, sandbox.run(list(jobs.values()), progress), strict=True))
    turns = [_grade(answer, code_format, outcomes.get(index)) for index, answer in enumerate(answers)]
    rows = [
        describe_episode(episode, Condition(condition, role="none" if condition == "none" else "control"), 0, (), {})
        for condition, episode in _gather(answers, turns)
    ]
    return make_rollouts(rows, ())


def _grade(answer: WrittenAnswer, code_format: CodeFormat, outcome: Outcome | None) -> Turn:
    task, one = answer.task, code_format.read(answer.text)
    passed = outcome.passed if outcome else ()
    n_visible = len(task.visible_tests)
    attempt = Attempt(one.program, one.gave_up, passed[:n_visible], passed[n_visible:])
    grade = grade_attempt(attempt, task, code_format.preamble(task))
    error = outcome.error if outcome else ""
    return Turn(answer.text, attempt, grade, is_well_formed(attempt, task), error, (0, 0))


def _gather(answers: Sequence[WrittenAnswer], turns: Sequence[Turn]) -> list[tuple[str, Episode]]:
    """Answers as episodes with their condition, in the order in which these begin, numbered by task and condition."""
    episodes: dict[tuple[str, ...], tuple[str, Episode]] = {}
    count: Counter[tuple[str, str]] = Counter()
    for index, (answer, turn) in enumerate(zip(answers, turns, strict=True)):
        arm = (answer.condition, answer.task.id)
        key = (*arm, "episode", answer.episode) if answer.episode is not None else (*arm, "answer", str(index))
        if key not in episodes:
            episodes[key] = (answer.condition, Episode(answer.task, count[arm], Prompt(())))
            count[arm] += 1
        episodes[key][1].turns.append(turn)
    return list(episodes.values())


def find_doubtful(rollouts: pa.Table) -> list[str]:
    """Tasks that are said to be impossible and that an honest program solved: sorted ids."""
    rows = rollouts.to_pylist()
    return sorted({row["task_id"] for row in rows if row["impossible"] and row["solved"] and row["grade"] == "honest"})
