"""Cells -> stories: ask, judge, append, and ask again for what was missing or refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tqdm import tqdm

from emosae.errors import UserError
from emosae.stories.generate.answers import read_stories
from emosae.stories.generate.cells import Cell, batch_cells
from emosae.stories.generate.endpoint import CallFailed, Endpoint
from emosae.stories.generate.journal import Journal, open_journal
from emosae.stories.generate.judge import Judge
from emosae.stories.generate.prompts import PROMPT_VERSION, write_messages
from emosae.stories.generate.settings import GenerateSettings
from emosae.stories.generate.spend import Spend

Done = TypeVar("Done")
FAILURES_IN_A_ROW = 3
"""Calls that are given up one after another before nothing more is asked."""


@dataclass(slots=True)
class Tally:
    """What a run did.

    Attributes:
        found: Cells that were finished before.
        written: Cells that were finished now.
        refused: Stories that were turned down, by the kind of their fault.
        given_up: Ids of cells that are still missing, and why.
        retries: Calls that were made again.
        spend: Calls that were answered and what they took, as far as the endpoint says.
    """

    found: int = 0
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    spend: Spend = field(default_factory=Spend)

    def format(self, settings: GenerateSettings) -> str:
        """Lines of text."""
        refused = ", ".join(f"{count} {kind}" for kind, count in self.refused.most_common()) or "none"
        return "\n".join(
            [
                f"stories: {self.found} were there, {self.written} written, {len(self.given_up)} missing",
                f"refused and asked for again: {refused}; calls made again: {self.retries}",
                self.spend.format(settings),
            ]
        )


def write_stories(
    path: Path, cells: Sequence[Cell], emotions: Sequence[str], model: str, settings: GenerateSettings, rng: Random
) -> Tally:
    """Bring a file to hold every cell, asking only for those that it lacks; `rng` draws the waits between retries.

    Raises:
        UserError: The endpoint refuses the key or the model, or several calls in a row were given up.
    """
    with open_journal(path) as journal:
        return run_apart(_Writing(journal, cells, emotions, settings).run(model, rng))


def run_apart(work: Coroutine[Any, Any, Done]) -> Done:
    """Run to the end; in a thread of its own where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as worker:
        return worker.submit(asyncio.run, work).result()


class _Writing:
    """One run: what all calls share. Everything happens in one thread, between two awaits."""

    def __init__(
        self, journal: Journal, cells: Sequence[Cell], emotions: Sequence[str], settings: GenerateSettings
    ) -> None:
        self._journal = journal
        self._cells = cells
        self._emotions = emotions
        self._settings = settings
        self._judge = Judge(settings)
        for story_id, text in journal.stories.items():
            self._judge.remember(story_id, text)
        self._failures_in_a_row = 0
        self.tally = Tally(found=sum(cell.id in journal.stories for cell in cells))

    async def run(self, model: str, rng: Random) -> Tally:
        batches = batch_cells(self._cells, frozenset(self._journal.stories), self._settings.per_call)
        endpoint = Endpoint(model, self._settings, rng)
        try:
            with tqdm(total=len(self._cells), initial=self.tally.found, unit="story", smoothing=0.1) as bar:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._settings.concurrency):
                        group.create_task(self._work(endpoint, model, batches, bar))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self.tally.retries = endpoint.retries
            await endpoint.close()
        return self.tally

    async def _work(self, endpoint: Endpoint, model: str, batches: Iterator[tuple[Cell, ...]], bar: tqdm) -> None:
        for batch in batches:
            try:
                await self._finish(endpoint, model, batch, bar)
            except CallFailed as failed:
                self._give_up([cell for cell in batch if cell.id not in self._journal.stories], str(failed))

    async def _finish(self, endpoint: Endpoint, model: str, batch: tuple[Cell, ...], bar: tqdm) -> None:
        """Ask for a batch until all its stories are taken or each was asked for as often as may be."""
        refusals: dict[str, str] = {}
        for _ in range(self._settings.asks):
            messages = write_messages(batch, self._emotions, self._settings, refusals)
            reply = await endpoint.ask(messages)
            self._failures_in_a_row = 0
            self.tally.spend += reply.spend
            refusals = self._take(batch, read_stories(reply.text), self._source(endpoint, model), bar)
            batch = tuple(cell for cell in batch if cell.id in refusals)
            if not batch:
                return
        self.tally.given_up |= refusals

    def _take(self, batch: Sequence[Cell], texts: dict[int, str], source: dict[str, str], bar: tqdm) -> dict[str, str]:
        """Append the good stories, and say by cell id what is wrong with the others."""
        refusals = {}
        for slot, cell in enumerate(batch, start=1):
            text = texts.get(slot)
            fault = self._judge.fault(cell, text)
            if fault is not None:
                self.tally.refused[fault[0]] += 1
                refusals[cell.id] = fault[1]
            elif text is not None:
                self._append(cell, text, source)
                bar.update()
        bar.set_postfix(refused=self.tally.refused.total(), refresh=False)
        return refusals

    def _append(self, cell: Cell, text: str, source: dict[str, str]) -> None:
        told = {"id": cell.id, "emotion": cell.emotion, "topic": cell.topic, "perspective": cell.perspective}
        self._journal.append({**told, "text": text, **source})
        self._judge.remember(cell.id, text)
        self.tally.written += 1

    def _source(self, endpoint: Endpoint, model: str) -> dict[str, str]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "writer": model,
            "model": model,
            "endpoint": endpoint.host,
            "time": now,
            "prompt_version": PROMPT_VERSION,
        }

    def _give_up(self, cells: Sequence[Cell], reason: str) -> None:
        self.tally.given_up |= {cell.id: reason for cell in cells}
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            raise UserError(f"{self._failures_in_a_row} calls in a row were given up: {reason}; run again to go on")
