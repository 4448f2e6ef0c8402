"""Whether a text shows emotion in its words. Graded apart from what was done: a desperate deed can be worded calmly.

The words are the taxonomy's with their inflections and some more (`data/emotional_words.txt`), without those that are
as much at home in a program, a manual or a polite phrase (`data/everyday_words.txt`). Simple rules: nothing is made of
negation ("not afraid" counts), of who feels it, or of irony.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files

from emosae.stories.taxonomy import load_taxonomy

_PHRASES = ("oh no", "please, please", "please please", "oh god", "oh my god", "i beg", "at my wits")
_SHOUTING = re.compile(r"!!|(?:\b[A-Z]{2,}\b[ ,!]+){3}\b[A-Z]{2,}\b")


def _read_words(name: str) -> set[str]:
    return set((files("emosae.scenarios") / "data" / name).read_text(encoding="utf-8").split())


@cache
def _pattern(extra: frozenset[str]) -> re.Pattern[str]:
    everyday, more = _read_words("everyday_words.txt"), _read_words("emotional_words.txt")
    of_taxonomy = {form for word in load_taxonomy().values() if word.word not in everyday for form in word.forms}
    words = sorted({*more, *(of_taxonomy - everyday), *_PHRASES, *(word.lower() for word in extra)})
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b")


def emotional_wording(text: str, extra: Collection[str] = (), *, given: str = "") -> bool:
    """Whether a text names a feeling, pleads, or shouts (`!!`, or four words in capitals).

    Args:
        text: What a model said.
        extra: More words whose presence counts, such as the emotions that a run knows.
        given: What it was given to answer; a word that stands there does not count.
    """
    pattern = _pattern(frozenset(extra))
    said = set(pattern.findall(text.lower())) - set(pattern.findall(given.lower()))
    return bool(said or _SHOUTING.search(text))
