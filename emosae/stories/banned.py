"""Find in a text the words that would give its emotion away."""

from __future__ import annotations

import re
from functools import lru_cache

from emosae.stories.taxonomy import banned_forms, load_taxonomy

_LETTER = r"[^\W_]"
_ENDINGS = ("s", "d", "ly", "ness", "ful", "fully", "less", "ment")
_VOWEL_ENDINGS = ("es", "ed", "ing", "er", "ers", "est")


def fold_text(text: str) -> str:
    """Lower case with straight apostrophes, so that one word has one spelling."""
    return text.casefold().replace("\u2019", "'").replace("\u00ad", "")


def find_banned(text: str, emotion: str) -> tuple[str, ...]:
    """The banned forms of `emotion` as they stand in `text`, in order; each counts as a whole word or phrase.

    A part of a hyphenated word is a whole word, and so is one before an apostrophe: "fear-filled" and "fear's"
    hold "fear", "fearnought" does not.
    """
    return tuple(match.group() for match in _pattern(emotion).finditer(fold_text(text)))


@lru_cache(maxsize=512)
def _pattern(emotion: str) -> re.Pattern[str]:
    forms = {fold_text(form) for form in banned_forms(emotion)}
    if emotion.lower() not in load_taxonomy():
        forms |= _inflect(fold_text(emotion))
    spelled = sorted((form for form in forms if form), key=lambda form: (-len(form), form))
    phrases = "|".join(r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", form))) for form in spelled)
    return re.compile(rf"(?<!{_LETTER})(?:{phrases})(?!{_LETTER})")


def _inflect(word: str) -> set[str]:
    """Regular forms of a word that the taxonomy does not know, some of which no dictionary has either."""
    forms = {word + ending for ending in (*_ENDINGS, *_VOWEL_ENDINGS)}
    for changed, stem in (("e$", ""), ("y$", "i"), ("([aeiou])([bdgmnprt])$", r"\1\2\2")):
        if re.search(changed, word):
            forms |= {re.sub(changed, stem, word) + ending for ending in _VOWEL_ENDINGS}
    return forms | {word[:-1] + "i" + ending for ending in _ENDINGS if word.endswith("y")}
