"""Read stories and conversations from JSONL; whatever is wrong is refused by file, line and field."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from emosae.errors import UserError
from emosae.stories.records import NEUTRAL, SPLITS, Conversation, Story

SHIPPED = Path("shipped")
"""What to say instead of a file for the package's own stories or neutral passages."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One JSON object of a file, and where it stood."""

    where: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field that must be there and hold text."""
        value = self.optional(name)
        if value is None:
            raise UserError(f"{self.where}: field {name!r} is missing or empty: every line needs it")
        return value

    def optional(self, name: str) -> str | None:
        """A field that may be absent, null or blank; anything else must be valid text."""
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            kind = type(value).__name__
            raise UserError(f"{self.where}: field {name!r} is {kind}, not text: write it in quotes")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(f"{self.where}: field {name!r} holds a broken escape") from error
        return value.strip() or None

    def split(self) -> str | None:
        """The stored split, one of SPLITS."""
        split = self.optional("split")
        if split is not None and split not in SPLITS:
            raise UserError(f"{self.where}: field 'split' is {split!r}: use one of {', '.join(SPLITS)}")
        return split


def load_stories(path: Path | str, neutral_path: Path | str | None = None) -> list[Story]:
    """Read the stories of `path` and, after them, the control text of `neutral_path`.

    Lines need `emotion` and `text`; other keys than a story's are allowed and dropped. A missing `id` is made
    from emotion, topic and a count. Text of `neutral_path` is `neutral` whether it says so or not.

    Args:
        path: A JSONL file, or `SHIPPED` for the corpus that comes with the package.
        neutral_path: The same for neutral text.

    Raises:
        UserError: A file that cannot be read, an empty file, a bad line, an id used twice, an emotion with
            one story, or fewer than two emotions; the message names it.
    """
    path = find_corpus(Path(path), "stories")
    lines = list(_read_lines(path))
    stories = _make_stories(lines)
    _refuse_thin_emotions(path, stories)
    if neutral_path is not None:
        neutral = [_as_neutral(line) for line in _read_lines(find_corpus(Path(neutral_path), "neutral"))]
        stories += _make_stories(neutral, taken=Counter(_slug(story) for story in stories))
        lines += neutral
    _refuse_twins(lines, [story.id for story in stories])
    return stories


def find_corpus(path: Path, name: Literal["stories", "neutral"]) -> Path:
    """The file that `path` means: itself, or where the package keeps its own for `SHIPPED`."""
    return Path(str(files("emosae.stories") / "data" / f"{name}.jsonl")) if path == SHIPPED else path


def load_conversations(path: Path | str) -> list[Conversation]:
    """Read conversations: `id`, `expected` (an emotion) and `text` on every line; `extra` keeps other keys.

    Raises:
        UserError: A file that cannot be read, an empty file, a bad line or an id used twice; it is
            named.
    """
    lines = list(_read_lines(Path(path)))
    known = ("id", "expected", "text")
    conversations = [
        Conversation(
            *(line.text(name) for name in known),
            extra={key: value for key, value in line.fields.items() if key not in known},
        )
        for line in lines
    ]
    _refuse_twins(lines, [conversation.id for conversation in conversations])
    return conversations


def format_stories(stories: Sequence[Story]) -> str:
    """Stories as JSONL, with their splits, so that the assignment is stored with the corpus."""
    names = ("id", "emotion", "topic", "text", "writer", "perspective", "split")
    rows = [{name: getattr(story, name) for name in names} for story in stories]
    kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def _read_lines(path: Path) -> Iterator[_Line]:
    """The objects of a JSONL file; blank lines are skipped, an empty file is refused."""
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): give a JSONL file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if not any(row.strip() for row in rows):
        raise UserError(f"{path}: is empty: give one JSON object per line")
    for number, row in enumerate(rows, start=1):
        if row.strip():
            yield _parse_line(f"{path} line {number}", row)


def _parse_line(where: str, row: str) -> _Line:
    try:
        fields = json.loads(row)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise UserError(f"{where}: is a JSON {type(fields).__name__}: write one object per line")
    return _Line(where, fields)


def _as_neutral(line: _Line) -> _Line:
    emotion = line.optional("emotion")
    if emotion not in (None, NEUTRAL):
        raise UserError(f"{line.where}: field 'emotion' is {emotion!r}: neutral text must be {NEUTRAL!r}")
    return _Line(line.where, {**line.fields, "emotion": NEUTRAL})


def _make_stories(lines: Sequence[_Line], taken: Counter[str] | None = None) -> list[Story]:
    """Stories in file order; missing ids are numbered within emotion and topic, after those `taken`."""
    seen = Counter() if taken is None else taken
    stories: list[Story] = []
    for line in lines:
        story = Story(
            id=_given_id(line),
            emotion=line.text("emotion"),
            topic=line.optional("topic"),
            text=line.text("text"),
            writer=line.optional("writer"),
            perspective=line.optional("perspective"),
            split=line.split(),
        )
        slug = _slug(story)
        stories.append(story if story.id else _with_id(story, f"{slug}/{seen[slug]}"))
        seen[slug] += 1
    return stories


def _given_id(line: _Line) -> str:
    """The id in the file as text; whole numbers are taken as they are, and "" means that there is none."""
    value = line.fields.get("id")
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else (line.optional("id") or "")


def _with_id(story: Story, story_id: str) -> Story:
    rest = (story.emotion, story.topic, story.text, story.writer, story.perspective, story.split)
    return Story(story_id, *rest)


def _slug(story: Story) -> str:
    parts = (story.emotion, story.topic or "no-topic")
    return "/".join(re.sub(r"\W+", "-", part.lower()).strip("-") for part in parts)


def _refuse_thin_emotions(path: Path, stories: Sequence[Story]) -> None:
    counts = Counter(story.emotion for story in stories if not story.is_neutral)
    thin = sorted(emotion for emotion, count in counts.items() if count < 2)
    if thin:
        raise UserError(f"{path}: emotions with one story: {', '.join(thin)}: add a story or leave them out")
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise UserError(f"{path}: emotions besides {NEUTRAL!r}: {found}: two are needed to tell them apart")


def _refuse_twins(lines: Sequence[_Line], ids: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for line, story_id in zip(lines, ids, strict=True):
        if story_id in first:
            twin = first[story_id]
            raise UserError(f"{line.where}: id {story_id!r} is already used at {twin}: ids must differ")
        first[story_id] = line.where
