"""Whether anything but the emotion tells the emotions apart: length, topic, perspective."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean, median

from emosae.stories.findings import Check, Violation
from emosae.stories.limits import Limits
from emosae.stories.records import Story

PERSPECTIVES = ("first", "third")


def check_lengths(stories: Sequence[Story], limits: Limits) -> Check:
    """Mean words of each emotion against the mean over emotions, as a share of it."""
    words: dict[str, list[int]] = defaultdict(list)
    for story in stories:
        words[story.emotion].append(story.n_words)
    means = {emotion: fmean(counts) for emotion, counts in words.items()}
    overall = fmean(means.values())
    off = {emotion: value / overall - 1 for emotion, value in means.items()}
    violations = [
        Violation(emotion, f"mean of {means[emotion]:.1f} words, {share:+.0%} from {overall:.1f}")
        for emotion, share in off.items()
        if abs(share) > limits.max_length_deviation
    ]
    worst = max(abs(share) for share in off.values())
    limit = f"<= {limits.max_length_deviation:g}"
    return Check("lengths", worst, "largest deviation of an emotion's mean length", limit, tuple(violations))


def check_cells(stories: Sequence[Story], limits: Limits) -> Check:
    """Stories of each topic and emotion against the median of the cells that have any, as a share of it."""
    unit, limit = "largest deviation of a topic x emotion cell", f"<= {limits.max_cell_deviation:g}"
    placed = [story for story in stories if story.topic is not None]
    if not placed:
        return Check("cells", None, unit, limit, note="no story has a topic")
    counts = Counter((story.topic, story.emotion) for story in placed)
    usual = median(counts.values())
    cells = [(t, e) for t in dict.fromkeys(s.topic for s in placed) for e in dict.fromkeys(s.emotion for s in stories)]
    off = {cell: counts[cell] / usual - 1 for cell in cells}
    violations = [
        Violation(f"{emotion} / {topic}", f"{counts[topic, emotion]} stories where {usual:g} are usual")
        for (topic, emotion), share in off.items()
        if abs(share) > limits.max_cell_deviation
    ]
    return Check("cells", max(abs(share) for share in off.values()), unit, limit, tuple(violations))


def check_perspectives(stories: Sequence[Story], limits: Limits) -> Check:
    """Share of each perspective within each emotion; a count that one story more or less evens out is even."""
    low, high = limits.min_perspective_share, limits.max_perspective_share
    unit, limit = "share of one perspective farthest from a half", f"{low:g}..{high:g}"
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for story in stories:
        if story.perspective in PERSPECTIVES:
            told[story.emotion][story.perspective] += 1
    if not told:
        return Check("perspectives", None, unit, limit, note="no story gives its perspective")
    violations, worst = [], 0.5
    for emotion, counts in told.items():
        first, third = (counts[name] for name in PERSPECTIVES)
        share = first / (first + third)
        worst = max(worst, share, key=lambda value: abs(value - 0.5))
        if abs(first - third) > 1 and not low <= min(share, 1 - share) <= max(share, 1 - share) <= high:
            violations.append(Violation(emotion, f"{first} first and {third} third person, first {share:.2f}"))
    silent = sum(story.perspective not in PERSPECTIVES for story in stories)
    note = f"{silent} stories do not say" if silent else ""
    return Check("perspectives", worst, unit, limit, tuple(violations), note)
