"""Whether a text shows emotion in its words. Graded apart from what was done: a desperate deed can be worded calmly."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files

_PHRASES = ("oh no", "please, please", "please please", "oh god", "oh my god", "i beg", "at my wits")
_SHOUTING = re.compile(r"!!|(?:\b[A-Z]{2,}\b[ ,!]+){3}\b[A-Z]{2,}\b")


@cache
def _pattern(extra: frozenset[str]) -> re.Pattern[str]:
    named = (files("emosae.scenarios") / "data" / "emotional_words.txt").read_text(encoding="utf-8").split()
    words = sorted({*named, *_PHRASES, *(word.lower() for word in extra)})
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b")


def emotional_wording(text: str, extra: Collection[str] = ()) -> bool:
    """Whether a text names a feeling, pleads, or shouts (`!!`, or four words in capitals).

    Args:
        text: What a model said.
        extra: More words whose presence counts, such as the emotions that a run knows.
    """
    return bool(_pattern(frozenset(extra)).search(text.lower()) or _SHOUTING.search(text))
