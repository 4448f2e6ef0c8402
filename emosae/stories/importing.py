"""Turn somebody else's table of labelled texts into stories that the loader reads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emosae.errors import UserError
from emosae.files import write_whole
from emosae.stories.loader import format_stories
from emosae.stories.records import NEUTRAL, SPLITS, Story
from emosae.stories.sources import Row, Source, read_sources

Multi = Literal["drop", "first"]
"""What becomes of a row with several emotions: it is left out, or it is a story of the first."""

FIELDS = ("emotion", "text", "topic", "id", "writer", "perspective", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Which column becomes which field; an optional field that is None takes the column of its own name, if any.

    `split` is the exception, since other people's splits do not keep topics apart: it is taken only if it is named,
    and must then hold discover, tune or confirm.
    """

    text: str = "text"
    emotion: str = "emotion"
    topic: str | None = None
    id: str | None = None
    writer: str | None = None
    perspective: str | None = None
    split: str | None = None

    def find(self, source: Source) -> dict[str, str]:
        """The column of each field that has one in a file; one that was asked for and is missing is refused."""
        found = {}
        for name in FIELDS:
            asked: str | None = getattr(self, name)
            if asked is not None and asked not in source.columns:
                raise UserError(f"{source.name}: no column {asked!r}: there are {', '.join(source.columns)}")
            if asked is not None:
                found[name] = asked
            elif name in source.columns and name != "split":
                found[name] = name
        return found


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Where the stories came from and what became of every row.

    Attributes:
        files: Rows read from each file.
        kept: Stories by emotion, neutral text among them.
        dropped: Rows left out by reason; the rows of `files` are those of `kept` and of `dropped`.
        columns: The column that each field came from.
        ignored: Columns that no field came from.
    """

    files: Mapping[str, int]
    kept: Mapping[str, int]
    dropped: Mapping[str, int]
    columns: Mapping[str, str]
    ignored: tuple[str, ...]

    def format(self) -> str:
        """The report as lines of text."""
        taken = ", ".join(f"{name} from {column!r}" for name, column in self.columns.items())
        return "\n".join(
            [
                f"rows read: {sum(self.files.values())}",
                *_list_counts(self.files),
                f"columns: {taken}; not taken: {', '.join(self.ignored) or 'none'}",
                f"rows kept: {sum(self.kept.values())}",
                *_list_counts(self.kept),
                f"rows dropped: {sum(self.dropped.values())}",
                *_list_counts(self.dropped),
            ]
        )


def import_stories(
    source: Path,
    column_map: ColumnMap | None = None,
    *,
    labels: Sequence[str] | None = None,
    multi: Multi = "drop",
    separator: str = ",",
    columns: Sequence[str] | None = None,
    quotes: bool | None = None,
) -> tuple[list[Story], ImportReport]:
    """Stories of a file or of a Hugging Face dataset directory, in file order.

    An emotion that is a whole number counts `labels` from 0; without `labels` it takes the name that a Hugging Face
    file carries for it, and else stays a number. Several emotions are a list, or text with `separator`; `multi` says
    what becomes of such rows. Rows without text or emotion, with an id used before, or with an emotion that no other
    row has are dropped and counted. `columns` and `quotes` are those of `read_sources`.

    Raises:
        UserError: What cannot be read, a missing column, a number outside `labels`, an unknown split, or fewer
            than two emotions among what is left.
    """
    intake = _Intake(column_map or ColumnMap(), labels, multi, separator)
    for part in read_sources(source, columns, quotes):
        intake.take(part)
    intake.drop_lone_emotions()
    report = intake.report()
    if len(set(report.kept) - {NEUTRAL}) < 2:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.items()) or "none"
        raise UserError(f"{source}: fewer than two emotions are left (dropped: {reasons}): check columns and --multi")
    return intake.stories, report


def write_stories(path: Path, stories: Sequence[Story]) -> Path:
    """Write stories as JSONL, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(format_stories(stories), encoding="utf-8"))


class _Dropped(Exception):
    """A row is left out; the message is the reason."""


@dataclass(slots=True)
class _Intake:
    """What has come in so far."""

    column_map: ColumnMap
    labels: Sequence[str] | None
    multi: Multi
    separator: str
    stories: list[Story] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    columns: dict[str, str] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    _ids: set[str] = field(default_factory=set)

    def take(self, source: Source) -> None:
        found = self.column_map.find(source)
        names = self.labels or source.label_names(found["emotion"])
        self.columns |= found
        self.seen |= dict.fromkeys(source.columns)
        self.files[source.name] = 0
        for number, row in enumerate(source.rows, start=1):
            self.files[source.name] += 1
            try:
                self.stories.append(self._read(f"{source.name} row {number}", row, found, names))
            except _Dropped as reason:
                self.dropped[str(reason)] += 1

    def drop_lone_emotions(self) -> None:
        """The loader refuses an emotion with one story."""
        counts = Counter(story.emotion for story in self.stories)
        lone = {emotion for emotion, count in counts.items() if count == 1 and emotion != NEUTRAL}
        if lone:
            self.dropped["the only row of their emotion"] += len(lone)
        self.stories = [story for story in self.stories if story.emotion not in lone]

    def report(self) -> ImportReport:
        kept = dict(Counter(story.emotion for story in self.stories).most_common())
        ignored = tuple(name for name in self.seen if name not in self.columns.values())
        return ImportReport(self.files, kept, dict(self.dropped.most_common()), self.columns, ignored)

    def _read(self, where: str, row: Row, found: Mapping[str, str], names: Sequence[str] | None) -> Story:
        text = _clean(row.get(found["text"]))
        if text is None:
            raise _Dropped("without text")
        emotion = self._single_emotion(where, row.get(found["emotion"]), names)
        rest = {name: _clean(row.get(column)) for name, column in found.items() if name not in ("text", "emotion")}
        story_id = rest.pop("id", None) or where
        if story_id in self._ids:
            raise _Dropped("with an id used before")
        if rest.get("split") not in (None, *SPLITS):
            raise UserError(f"{where}: split {rest['split']!r} is none of {', '.join(SPLITS)}")
        self._ids.add(story_id)
        return Story(story_id, emotion, rest.pop("topic", None), text, **rest)

    def _single_emotion(self, where: str, value: Any, names: Sequence[str] | None) -> str:
        parts = value if isinstance(value, list | tuple) else (_clean(value) or "").split(self.separator)
        emotions = [_name(where, label, names) for part in parts if (label := _clean(part)) is not None]
        if not emotions:
            raise _Dropped("without emotion")
        if len(emotions) > 1 and self.multi == "drop":
            raise _Dropped("with more than one emotion")
        return emotions[0]


def _name(where: str, label: str, names: Sequence[str] | None) -> str:
    """The name of a label that is a number; other labels are names already."""
    if names is None or not label.isdecimal():
        return label
    if int(label) >= len(names):
        raise UserError(f"{where}: label {label} has no name: {len(names)} are given, counted from 0")
    return names[int(label)]


def _clean(value: Any) -> str | None:
    """A value as text without outer space, or None if nothing is left of it."""
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    text = "" if value is None else str(value).strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _Dropped("with a broken escape") from None
    return text or None


def _list_counts(counts: Mapping[str, int]) -> list[str]:
    return [f"{count:>8}  {name}" for name, count in counts.items()]
