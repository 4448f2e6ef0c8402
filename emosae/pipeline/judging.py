"""Have a language model read graded answers, and say how far it agrees with the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.store import Stage, Store
from emosae.stories.generate.settings import CallSettings
from emosae.stories.generate.spend import Spend

if TYPE_CHECKING:
    from tqdm import tqdm

    from emosae.scenarios.judging import Judged
    from emosae.stories.generate.endpoint import Endpoint

LINES = "judged"
ASKS = 3
"""How often an answer is asked about whose grade cannot be read."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges.

    Attributes:
        model: By the endpoint's name for it.
        base_url: The endpoint; None: the one that OPENAI_BASE_URL names.
        settings: How it is called.
    """

    model: str
    base_url: str | None = None
    settings: CallSettings = field(default_factory=CallSettings)


def judge_answers(store: Store, tasks_path: Path, judge: Judge, rng: Random) -> Path:
    """Ask about every distinct answer that `scenario grade` graded; the path of the page, which tells the agreement.

    ``grades/judged.jsonl`` gets a line for each answer as soon as it is judged; those that stand there from the same
    judge are not asked about again. ``grades/report.txt`` gets a second section; the rules stay its headline.

    Raises:
        UserError: Nothing was graded here, another task file, an endpoint that refuses, or answers left without grade.
    """
    from emosae.scenarios import load_tasks
    from emosae.scenarios.agreement import measure_agreement
    from emosae.scenarios.grade_table import format_agreement, format_grades
    from emosae.scenarios.judging import collect_answers, find_judgements
    from emosae.stories.generate.write import run_apart

    stage = store.stage("grades")
    answers = collect_answers(stage.read_table("rollouts"), load_tasks(tasks_path))
    found = find_judgements(stage.read_lines(LINES), answers, judge.model)
    missing = [answer for answer in answers if answer.key(judge.model) not in found]
    asking = _Asking(stage, judge, missing)
    given_up = run_apart(asking.run(rng)) if missing else {}
    found = find_judgements(stage.read_lines(LINES), answers, judge.model)
    read = [(answer, found[key][0]) for answer in answers if (key := answer.key(judge.model)) in found]
    if read:
        rules, grades, named = zip(*((one.rules, grade, one.task.id) for one, grade in read), strict=True)
        agreement = measure_agreement(rules, grades, named)
        section = format_agreement(agreement, judge.model, n_missing=len(answers) - len(read))
        print(f"{section}\n\n{asking.spend.format(judge.settings)}", flush=True)
        page = f"{format_grades(stage.read_table('summary'))}\n\n{section}\n"
        stage.write_text("report.txt", page)
    if given_up:
        said = f"{len(given_up)} of {len(answers)} answers have no grade of {judge.model}"
        raise UserError(f"{said}, such as {next(iter(given_up.values()))}; the same command asks about them again")
    return stage.file("report.txt")


class _Asking:
    """One run: what all calls share. Everything happens in one thread, between two awaits."""

    def __init__(self, stage: Stage, judge: Judge, answers: Sequence[Judged]) -> None:
        self._stage, self._judge, self._answers = stage, judge, answers
        self._given_up: dict[str, str] = {}
        self._failures_in_a_row = 0
        self.spend = Spend()

    async def run(self, rng: Random) -> dict[str, str]:
        """Why some answers have no grade, by key."""
        import asyncio

        from tqdm import tqdm

        from emosae.stories.generate.endpoint import Endpoint

        judge, waiting = self._judge, iter(self._answers)
        endpoint = Endpoint(judge.model, judge.settings, rng, judge.base_url)
        try:
            with tqdm(total=len(self._answers), unit="answer") as bar:
                async with asyncio.TaskGroup() as group:
                    for _ in range(judge.settings.concurrency):
                        group.create_task(self._work(endpoint, waiting, bar))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            await endpoint.close()
        return self._given_up

    async def _work(self, endpoint: Endpoint, waiting: Iterator[Judged], bar: tqdm[Any]) -> None:
        from emosae.stories.generate.endpoint import CallFailed
        from emosae.stories.generate.write import FAILURES_IN_A_ROW

        for answer in waiting:
            try:
                await self._ask(endpoint, answer)
                self._failures_in_a_row = 0
            except CallFailed as failed:
                self._given_up[answer.key(self._judge.model)] = f"one to {answer.task.id} ({failed})"
                self._failures_in_a_row += 1
                if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                    raise UserError(
                        f"{FAILURES_IN_A_ROW} calls in a row were given up: {failed}; run again"
                    ) from failed
            bar.update()

    async def _ask(self, endpoint: Endpoint, answer: Judged) -> None:
        """Ask until there is a grade, and write it down; an answer that is never graded is left out."""
        from emosae.scenarios.judging import PROMPT_VERSION, read_judgement, write_messages

        for _ in range(ASKS):
            reply = await endpoint.ask(write_messages(answer.task, answer.text))
            self.spend += reply.spend
            said = read_judgement(reply.text)
            if said is not None:
                told = {"id": answer.key(self._judge.model), "task_id": answer.task.id, "text": answer.text}
                graded = {"grade": said[0], "reason": said[1], "rules": answer.rules, "model": self._judge.model}
                now = datetime.now(UTC).isoformat(timespec="seconds")
                source = {"endpoint": endpoint.host, "time": now, "prompt_version": PROMPT_VERSION}
                self._stage.append_line(LINES, {**told, **graded, **source})
                return
        name = f"one to {answer.task.id} (no grade could be read from {ASKS} replies)"
        self._given_up[answer.key(self._judge.model)] = name
