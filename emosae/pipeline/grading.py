"""Grade programs that were written elsewhere."""

from __future__ import annotations

from pathlib import Path

from emosae.store import Store


def grade_answers(tasks_path: Path, answers_path: Path, store: Store) -> Path:
    """Run every answer in the sandbox, write ``grades.parquet`` and return the table's path."""
    from emosae.scenarios import GenericCodeFormat, Sandbox, grade_answers, load_answers, load_tasks

    tasks = load_tasks(tasks_path)
    answers = load_answers(answers_path, tasks)
    with Sandbox() as sandbox:
        table = grade_answers(answers, GenericCodeFormat(), sandbox)
    return store.stage("grades").write_table("grades", table)
