"""What a story and a conversation are. Plain records: no tensors, no third parties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEUTRAL = "neutral"
"""The emotion of text that has none; it is a control and never one of the emotions that are ranked."""

SPLITS = ("discover", "tune", "confirm")
"""discover selects, tune settles what is left to choose, confirm is read once."""


@dataclass(frozen=True, slots=True)
class Story:
    """One short text about one character with one dominant emotion that it never names.

    `topic` is the block of every within-topic test; without it permutation is unrestricted and no verdict
    goes beyond `detected`. `split` is None until `assign_splits` has set it.
    """

    id: str
    emotion: str
    topic: str | None
    text: str
    writer: str | None = None
    perspective: str | None = None
    split: str | None = None

    @property
    def is_neutral(self) -> bool:
        """True for control text without an emotion."""
        return self.emotion == NEUTRAL

    @property
    def n_words(self) -> int:
        """Length in words separated by white space."""
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is the chat template's (`user`, `assistant`, `system`)."""

    role: str
    content: str

    def as_chat(self) -> dict[str, str]:
        """The form that chat templates take."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A user's text and the emotion its reader is expected to bring up when it opens its turn.

    `extra` holds the file's other keys (for example `dose` for the rungs of a ladder) unchanged.
    """

    id: str
    expected: str
    text: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation up to the point where the assistant's turn opens."""
        return (Message("user", self.text),)
