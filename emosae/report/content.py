"""What a page is made of, whatever it is written in: sections with a finding, figures, tables and transcripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows as texts.

    Attributes:
        heads: Column headings.
        rows: As many texts as headings in each.
        numbers: Positions of the columns that hold numbers, which are set flush right.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Refuse ragged rows."""
        if any(len(row) != len(self.heads) for row in self.rows):
            raise ValueError(f"rows that do not have the {len(self.heads)} cells of {self.heads}")


@dataclass(frozen=True, eq=False, slots=True)
class Plate:
    """A figure with its words.

    Attributes:
        name: Unique in the page, for ids and file names.
        title: What the figure shows, a few words.
        caption: How to read it.
        alt: The same for those who do not see it.
        draw: Makes the figure at a width in pixels.
        table: The numbers behind it.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[float], Figure]
    table: TextTable


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of an episode: what the model thought, what it wrote, what came of it."""

    thought: str
    program: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Script:
    """One column of a transcript: its heading, its attempts, and the verdict on the whole."""

    heading: str
    attempts: tuple[Attempt, ...]
    ending: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Episodes of the same task side by side, on the same random numbers."""

    title: str
    prompt: str
    scripts: tuple[Script, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message and the reply to it."""

    heading: str
    message: str
    thought: str
    reply: str


@dataclass(frozen=True, eq=False, slots=True)
class Section:
    """One part of the report.

    Attributes:
        name: Unique in the page; the target of links.
        title: A few words.
        finding: What was found, one plain sentence.
        paragraphs: What a reader needs to judge it.
        plates: Figures.
        tables: Tables that stand open, each with a heading.
        folded: Tables that a reader opens, each with a heading.
        transcripts: Episodes side by side.
        exchanges: Messages and replies.
    """

    name: str
    title: str
    finding: str
    paragraphs: tuple[str, ...] = ()
    plates: tuple[Plate, ...] = ()
    tables: tuple[tuple[str, TextTable], ...] = ()
    folded: tuple[tuple[str, TextTable], ...] = ()
    transcripts: tuple[Transcript, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """The whole report.

    Attributes:
        title: What was studied.
        deck: One sentence on how.
        badge: A word or two that must not be overlooked; empty for none.
        cautions: What the numbers do not mean.
        notes: What did not run or could not be concluded.
        sections: In reading order.
    """

    title: str
    deck: str
    badge: str
    cautions: tuple[str, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
