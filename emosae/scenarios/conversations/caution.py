"""Whether a reply warns: a fixed list of phrases (`data/warning_phrases.txt`), and no more than that.

A phrase that the same clause denies ("no need to call a doctor") does not count. Nothing is made of whom the warning is
for, of irony, or of a warning in other words.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_DENIED = re.compile(r"\b(?:no need|no reason|not need|needn't|don't need|without|nothing|not|never|isn't|aren't)\b")
_CLAUSE = re.compile(r"[.!?;:\n]+|,? but |,? so |, and ")


def list_phrases() -> list[str]:
    """What counts as a warning, in lower case; `*` stands for the rest of a word."""
    lines = (files("emosae.scenarios") / "data" / "warning_phrases.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@cache
def _pattern() -> re.Pattern[str]:
    spelled = sorted((re.escape(phrase).replace(r"\*", r"\w*") for phrase in list_phrases()), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(spelled)})(?!\w)")


def gives_warning(text: str) -> bool:
    """Whether a text holds a phrase of the list that its own clause does not deny before it."""
    for clause in _CLAUSE.split(text.lower().replace("\u2019", "'")):
        for match in _pattern().finditer(clause):
            if not _DENIED.search(clause[: match.start()]):
                return True
    return False
