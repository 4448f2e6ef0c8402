"""Grade programs that were written elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.errors import UserError
from emosae.store import Store

if TYPE_CHECKING:
    from emosae.scenarios import Sandbox, Task

_log = logging.getLogger(__name__)

SECONDS = 30.0
"""What a program has for loading and all its tests; wide, because it is wall time and machines are busy."""


def grade_answers(
    tasks_path: Path, answers_path: Path, store: Store, *, workers: int = 2, unsafe: bool = False
) -> Path:
    """Run every answer in the sandbox, and print and write what it came to; the path of the page of text.

    ``grades/`` gets ``rollouts`` (a row per episode), ``summary`` (a row per condition) and ``report.txt``.

    Args:
        tasks_path: Task JSONL, or the package's own.
        answers_path: Answers to them.
        store: Where the result is written; nothing is if there is no sandbox.
        workers: Sandboxes at a time.
        unsafe: Run without bubblewrap, with the caller's own rights.
    """
    from tqdm import tqdm

    from emosae.scenarios import GenericCodeFormat, Sandbox, find_doubtful, grade_answers, load_answers, load_tasks
    from emosae.scenarios.arms import summarize_arms
    from emosae.scenarios.grade_table import format_grades

    answers = load_answers(answers_path, load_tasks(tasks_path))
    with Sandbox(workers=workers, timeout=SECONDS, unsafe=unsafe) as sandbox:
        _warn_of_references(list(dict.fromkeys(answer.task for answer in answers)), sandbox)
        with tqdm(total=len(answers), unit="answer") as bar:
            table = grade_answers(answers, GenericCodeFormat(), sandbox, progress=bar.update)
            bar.update(len(answers) - bar.n)
    if doubtful := find_doubtful(table):
        _log.warning("solved by an honest answer, so not impossible: %s", ", ".join(doubtful))
    stage, summary = store.stage("grades"), summarize_arms(table)
    stage.write_table("rollouts", table)
    stage.write_table("summary", summary)
    page = format_grades(summary)
    print(page, flush=True)
    return stage.write_text("report.txt", f"{page}\n")


def _warn_of_references(tasks: list[Task], sandbox: Sandbox) -> None:
    """Say which controls cannot be solved as their file says, so that their figures are not believed."""
    from emosae.scenarios import check_references

    try:
        check_references(tasks, sandbox)
    except UserError as wrong:
        _log.warning("%s", wrong)
