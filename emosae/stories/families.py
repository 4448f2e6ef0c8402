"""Families of emotion words that the original experiment's statements are about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Words that a statement puts together.

    Attributes:
        statement: What is said of them.
        definition: Which words of the taxonomy are meant, and why.
        words: The words, in lower case.
    """

    statement: str
    definition: str
    words: frozenset[str]


STATEMENTS = (
    Family(
        "grief and loss overlap",
        "words of the taxonomy's family sadness that name sorrow; not lonely or brooding, which name being alone and "
        "turning things over",
        frozenset(
            {"grieving", "grief-stricken", "heartbroken", "sad", "unhappy"}
            | {"melancholy", "miserable", "depressed", "gloomy", "dispirited"}
        ),
    ),
    Family(
        "joy and excitement overlap",
        "words of the taxonomy's families joy and energy that name gladness or excitement; not amused or playful, nor "
        "words for being awake or rested such as refreshed",
        frozenset(
            {"blissful", "cheerful", "delighted", "ecstatic", "elated", "euphoric", "exuberant", "happy", "joyful"}
            | {"jubilant", "pleased", "excited", "enthusiastic", "thrilled"}
        ),
    ),
)
"""The original experiment's two statements."""
