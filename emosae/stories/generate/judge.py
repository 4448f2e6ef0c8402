"""Take or refuse a story while others are being written."""

from __future__ import annotations

from emosae.stories.banned import find_banned
from emosae.stories.duplicates import DuplicateIndex
from emosae.stories.generate.cells import Cell
from emosae.stories.limits import Lengths


class Judge:
    """Holds every story to its length, its banned forms, and to being unlike all those taken before."""

    def __init__(self, lengths: Lengths) -> None:
        self._lengths = lengths
        self._index = DuplicateIndex(lengths.max_similarity)

    def remember(self, story_id: str, text: str) -> None:
        """Take a story without judging it."""
        self._index.add(story_id, text)

    def fault(self, cell: Cell, text: str | None) -> tuple[str, str] | None:
        """The kind of fault and what to tell the writer about it; None for a story that is as it should be."""
        low, high = self._lengths.min_words, self._lengths.max_words
        if text is None:
            return "missing", "it was missing from the answer"
        n_words = len(text.split())
        if not low <= n_words <= high:
            return "length", f"it had {n_words} words where {low} to {high} are allowed"
        if banned := find_banned(text, cell.emotion):
            return "banned", f"it used forbidden words: {', '.join(dict.fromkeys(banned))}"
        if self._index.find(text):
            return "duplicate", "it was too much like a story that exists already"
        return None
