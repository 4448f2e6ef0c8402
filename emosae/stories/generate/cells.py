"""What is to be written: one cell per story, and batches of cells that one call asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from emosae.errors import UserError
from emosae.stories.balance import PERSPECTIVES


@dataclass(frozen=True, slots=True)
class Cell:
    """One story to be written; copies of an emotion and topic count from 0."""

    emotion: str
    topic: str
    copy: int
    perspective: str

    @property
    def id(self) -> str:
        """The story's id, of the form that the loader makes."""
        return "/".join((_slug(self.emotion), _slug(self.topic), str(self.copy)))


def plan_cells(emotions: Sequence[str], topics: Sequence[str], per_cell: int) -> list[Cell]:
    """Every cell, emotion by emotion; perspectives alternate, so that each emotion has as many of each.

    Raises:
        UserError: No emotion or topic, or two whose ids would be the same.
    """
    for kind, names in (("emotion", emotions), ("topic", topics)):
        if not names:
            raise UserError(f"no {kind} is given")
        taken: dict[str, str] = {}
        for name in names:
            twin = taken.setdefault(_slug(name), name)
            if twin is not name or not _slug(name):
                raise UserError(f"{kind} {name!r} cannot be told from {twin!r} by its letters and digits")
    return [
        Cell(emotion, topic, copy, PERSPECTIVES[(place + at + copy) % 2])
        for place, emotion in enumerate(emotions)
        for at, topic in enumerate(topics)
        for copy in range(per_cell)
    ]


def batch_cells(cells: Sequence[Cell], done: Collection[str], per_call: int) -> Iterator[tuple[Cell, ...]]:
    """The cells whose ids are not done, up to `per_call` of one emotion at a time."""
    missing = (cell for cell in cells if cell.id not in done)
    for _, group in groupby(missing, key=lambda cell: cell.emotion):
        own = list(group)
        yield from (tuple(own[start : start + per_call]) for start in range(0, len(own), per_call))


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")
