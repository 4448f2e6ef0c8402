"""Check a corpus: stories -> CheckReport."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean

from emosae.stories.balance import PERSPECTIVES, check_cells, check_lengths, check_perspectives
from emosae.stories.banned import find_banned
from emosae.stories.duplicates import DuplicateIndex
from emosae.stories.findings import Check, CheckReport, EmotionSummary, Leakage, Violation
from emosae.stories.leakage import measure_leakage
from emosae.stories.limits import CHECKS, CheckName, Limits
from emosae.stories.phrases import find_shared_phrases
from emosae.stories.records import Story


def check_stories(stories: Sequence[Story], limits: Limits | None = None, skip: Collection[str] = ()) -> CheckReport:
    """Hold a corpus to `limits`, leaving out the checks named in `skip`.

    Neutral stories are held to the schema and compared with all others for near-duplicates; they have no part in
    anything that compares emotions.
    """
    limits = limits or Limits()
    felt = [story for story in stories if not story.is_neutral]
    leakage = None if "leakage" in skip else _measure_leakage(felt, limits)
    perform: Mapping[CheckName, Callable[[], Check]] = {
        "schema": lambda: check_schema(stories),
        "words": lambda: check_words(felt, limits),
        "banned": lambda: check_banned(felt),
        "duplicates": lambda: check_duplicates(stories, limits),
        "phrases": lambda: check_phrases(felt, limits),
        "lengths": lambda: check_lengths(felt, limits),
        "cells": lambda: check_cells(felt, limits),
        "perspectives": lambda: check_perspectives(felt, limits),
        "leakage": lambda: check_leakage(leakage, limits),
    }
    checks = tuple(perform[name]() for name in CHECKS if name not in skip)
    return CheckReport(
        n_stories=len(felt),
        n_neutral=len(stories) - len(felt),
        n_emotions=len({story.emotion for story in felt}),
        n_topics=len({story.topic for story in felt if story.topic is not None}),
        checks=checks,
        emotions=tuple(_summarise(felt)),
        leakage=leakage,
    )


def refuse_corpus(reason: str) -> CheckReport:
    """The report of a file that cannot be read as stories; nothing but the schema was checked."""
    check = Check("schema", 1, "faults", "0", (Violation("file", reason),), "nothing else was checked")
    return CheckReport(0, 0, 0, 0, (check,), (), None)


def check_schema(stories: Sequence[Story]) -> Check:
    """What a loader lets pass but no analysis can use: gaps in a field, other values, topics in two splits."""
    violations = [Violation(name, f"{count} stories have this id") for name, count in _twins(stories).items()]
    placed = sum(story.topic is not None for story in stories if not story.is_neutral)
    splits: dict[str, set[str]] = defaultdict(set)
    for story in stories:
        if placed and story.topic is None and not story.is_neutral:
            violations.append(Violation(story.id, "has no topic where others have one"))
        if story.perspective not in (None, *PERSPECTIVES):
            violations.append(Violation(story.id, f"perspective {story.perspective!r} is neither first nor third"))
        if story.topic is not None and story.split is not None:
            splits[story.topic].add(story.split)
    for topic, names in splits.items():
        if len(names) > 1:
            violations.append(Violation(f"topic {topic}", f"is in two splits: {', '.join(sorted(names))}"))
    note = "" if placed else "no story has a topic: no verdict can go beyond `detected`"
    return Check("schema", len(violations), "faults", "0", tuple(violations), note)


def check_words(stories: Sequence[Story], limits: Limits) -> Check:
    """Length of every story."""
    low, high = limits.min_words, limits.max_words
    violations = [Violation(s.id, f"{s.n_words} words") for s in stories if not low <= s.n_words <= high]
    return Check("words", len(violations), "stories too short or too long", f"{low}..{high} words", tuple(violations))


def check_banned(stories: Sequence[Story]) -> Check:
    """The emotion's word, its inflections and its synonyms in stories about it."""
    found = [(story.id, find_banned(story.text, story.emotion)) for story in stories]
    violations = [Violation(name, ", ".join(dict.fromkeys(words))) for name, words in found if words]
    return Check("banned", len(violations), "stories that name their emotion", "0", tuple(violations))


def check_duplicates(stories: Sequence[Story], limits: Limits) -> Check:
    """Every text against those before it; `measured` is the highest similarity above the limit, else 0."""
    index, worst = DuplicateIndex(limits.max_similarity), 0.0
    violations = []
    for place, story in enumerate(stories):
        for other, similarity in index.find(story.text):
            pair = f"{stories[int(other)].id} and {story.id}"
            violations.append(Violation(pair, f"share {similarity:.0%} of their three-word sequences"))
            worst = max(worst, similarity)
        index.add(str(place), story.text)
    unit = "highest similarity of two texts above the limit"
    return Check("duplicates", worst, unit, f"<= {limits.max_similarity:g}", tuple(violations))


def check_phrases(stories: Sequence[Story], limits: Limits) -> Check:
    """Phrases that several stories of one emotion share."""
    shared = find_shared_phrases(stories, limits.ngram, limits.max_phrase_share)
    violations = [Violation(found.emotion, f"{found.phrase!r} in {', '.join(found.stories)}") for found in shared]
    unit = f"phrases of at least {limits.ngram} words shared within an emotion"
    limit = f"in 1 story or {limits.max_phrase_share:.0%}"
    return Check("phrases", len(violations), unit, limit, tuple(violations))


def check_leakage(leakage: Leakage | None, limits: Limits) -> Check:
    """Held-out-topic accuracy of a bag of words, or None where it could not be measured."""
    unit, limit = "accuracy of a bag of words on held-out topics", f"<= {limits.max_leakage:g}"
    if leakage is None:
        return Check("leakage", None, unit, limit, note="fewer than two topics or emotions to tell apart")
    note = f"chance {leakage.chance:.3f}, standard error {leakage.error:.3f} over topics"
    excess = Violation("corpus", f"accuracy {leakage.accuracy:.3f}; {note}")
    is_over = leakage.accuracy > limits.max_leakage
    return Check("leakage", leakage.accuracy, unit, limit, (excess,) if is_over else (), note)


def _measure_leakage(stories: Sequence[Story], limits: Limits) -> Leakage | None:
    placed = [story for story in stories if story.topic is not None]
    if min(len({story.topic for story in placed}), len({story.emotion for story in placed})) < 2:
        return None
    return measure_leakage(placed, limits.folds)


def _twins(stories: Sequence[Story]) -> dict[str, int]:
    counts = Counter(story.id for story in stories)
    return {name: count for name, count in counts.items() if count > 1}


def _summarise(stories: Sequence[Story]) -> list[EmotionSummary]:
    """One row per emotion, in corpus order."""
    by_emotion: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        by_emotion[story.emotion].append(story)
    return [
        EmotionSummary(emotion, len(own), fmean(story.n_words for story in own), _first_share(own))
        for emotion, own in by_emotion.items()
    ]


def _first_share(stories: Sequence[Story]) -> float | None:
    told = [story.perspective for story in stories if story.perspective in PERSPECTIVES]
    return told.count("first") / len(told) if told else None
