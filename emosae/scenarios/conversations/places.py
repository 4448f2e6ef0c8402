"""Where in a conversation's tokens something is said."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from emosae.errors import UserError
from emosae.lm import LanguageModel

Span = tuple[int, int]
"""First token and the one after the last."""

_SENTENCE = re.compile(r"[^.!?\n]*[.!?]+[\"')\]\u201d\u2019]*|[^.!?\n]+")


def split_sentences(text: str) -> list[str]:
    """Sentences and lines of a text in order, without the space around them; what holds no letter or digit is left out.

    A full stop ends a sentence, that of an abbreviation too.
    """
    found = (match.group().strip() for match in _SENTENCE.finditer(text))
    return [one for one in found if any(char.isalnum() for char in one)]


def find_spans(lm: LanguageModel, ids: Sequence[int], texts: Sequence[str]) -> list[Span]:
    """The tokens that hold each of the texts, which stand in this order; a token that two of them share is in both.

    Refused: a text that the tokens do not hold.
    """
    ends = list(accumulate((len(lm.decode(ids[: count + 1])) for count in range(len(ids))), max))
    whole, start, spans = lm.decode(ids), 0, []
    for text in texts:
        at = whole.find(text, start)
        if at < 0:
            raise UserError(
                f"the chat template of {lm.name} rewrites what is said, so it cannot be found: {text[:60]!r}"
            )
        start = at + len(text)
        spans.append((bisect_right(ends, at), bisect_left(ends, start) + 1))
    return spans
