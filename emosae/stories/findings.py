"""What a check of a corpus found. Plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emosae.stories.limits import CheckName


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing to mend: which story, emotion or cell, and what is wrong with it."""

    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check's outcome.

    Attributes:
        name: One of CHECKS.
        measured: What is compared with the limit; None if it could not be measured, and then `note` says why.
        unit: What `measured` is.
        limit: The limit, as a user would write it.
        violations: All of them, in corpus order.
        note: What was left out of the check, if anything.
    """

    name: CheckName
    measured: float | int | None
    unit: str
    limit: str
    violations: tuple[Violation, ...] = ()
    note: str = ""

    @property
    def verdict(self) -> str:
        """`ok`, `FAILED`, or `-` for what could not be measured."""
        return "FAILED" if self.violations else "-" if self.measured is None else "ok"


@dataclass(frozen=True, slots=True)
class LeaningWord:
    """A word and the log odds, relative to the mean over emotions, that it adds to an average held-out story."""

    word: str
    weight: float


@dataclass(frozen=True, slots=True)
class Leakage:
    """How well single words tell the emotions apart on topics that the model was not fitted on.

    Attributes:
        accuracy: Share of stories whose emotion the model names first.
        chance: 1 / number of emotions.
        error: Standard error of `accuracy`, topics as the independent units.
        n_stories: Stories that were predicted.
        folds: Groups of topics held out in turn.
        recall: `accuracy` of each emotion's own stories.
        leaning: The words that the model leans on in an emotion's held-out stories, most first.
    """

    accuracy: float
    chance: float
    error: float
    n_stories: int
    folds: int
    recall: Mapping[str, float]
    leaning: Mapping[str, tuple[LeaningWord, ...]]


@dataclass(frozen=True, slots=True)
class EmotionSummary:
    """One emotion's part of a corpus; `first_share` is that of first-person stories among those that say."""

    emotion: str
    stories: int
    mean_words: float
    first_share: float | None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that `check_stories` found; emotions and topics are those of stories that are not neutral."""

    n_stories: int
    n_neutral: int
    n_emotions: int
    n_topics: int
    checks: tuple[Check, ...]
    emotions: tuple[EmotionSummary, ...]
    leakage: Leakage | None

    @property
    def violations(self) -> Mapping[str, int]:
        """How many violations each failed check has."""
        return {check.name: len(check.violations) for check in self.checks if check.violations}

    def as_json(self) -> dict[str, Any]:
        """The report as plain values, with its verdicts spelled out."""
        plain = asdict(self)
        for check, record in zip(self.checks, plain["checks"], strict=True):
            record["verdict"] = check.verdict
        return {"passed": not self.violations, **plain}
