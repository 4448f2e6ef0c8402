"""Which stories are shown, and how they are stored: every story once, however many features it is an example of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emosae.site.records import Example, SiteData

PER_SPLIT = 4
"""Stories kept for each feature and split, the strongest."""

MAX_TOKENS = 600
"""Tokens kept of a story, around its strongest one."""

STORIES_IN_PART = 200
FEATURES_IN_CHUNK = 100
TOKENS_IN_SEARCH = 6

Address = tuple[str, int]


def choose_examples(examples: Sequence[Example], wanted: Mapping[Address, int]) -> dict[int, list[Example]]:
    """The strongest stories of each feature that is on the map, by its row; ties keep the order given.

    Args:
        examples: Any number for each feature and split.
        wanted: Row of each feature's node.
    """
    groups: dict[tuple[int, str], list[Example]] = defaultdict(list)
    for example in examples:
        row = wanted.get((example.sae, example.feature_idx))
        if row is not None and example.peak > 0:
            groups[row, example.split].append(example)
    chosen: dict[int, list[Example]] = defaultdict(list)
    for (row, _), group in groups.items():
        chosen[row] += sorted(group, key=lambda example: -example.peak)[:PER_SPLIT]
    return {row: sorted(chosen[row], key=lambda example: -example.peak) for row in sorted(chosen)}


def list_chosen(data: SiteData) -> list[Example]:
    """All examples that the pages show, in the order of the nodes."""
    nodes = zip(data.nodes["sae"].to_pylist(), data.nodes["feature_idx"].to_pylist(), strict=True)
    chosen = choose_examples(data.examples, {key: row for row, key in enumerate(nodes)})
    return [example for some in chosen.values() for example in some]


def name_tokens(examples: Sequence[Example]) -> list[str]:
    """The distinct tokens at which a feature is strongest in its stories, strongest first, for lists and the search."""
    peaks: dict[str, float] = {}
    for example in examples:
        token = example.tokens[example.values.index(example.peak)].strip()
        if token:
            peaks[token] = max(peaks.get(token, 0.0), example.peak)
    return sorted(peaks, key=lambda token: -peaks[token])[:TOKENS_IN_SEARCH]


@dataclass
class Library:
    """Stories in parts and examples in chunks; each becomes a data file that is loaded when it is needed."""

    parts: list[dict[str, list[Any]]] = field(default_factory=list)
    chunks: list[dict[str, list[Any]]] = field(default_factory=list)
    _places: dict[tuple[str, tuple[str, ...]], tuple[int, int]] = field(default_factory=dict)

    def add_feature(self, row: int, examples: Sequence[Example]) -> int:
        """Store a feature's examples and return the number of their chunk."""
        if not self.chunks or len(set(self.chunks[-1]["feature"])) >= FEATURES_IN_CHUNK:
            self.chunks.append({name: [] for name in ("feature", "part", "story", "at", "values")})
        chunk = self.chunks[-1]
        for example in examples:
            start, stop = _cut(example)
            part, story = self._place_story(example, start, stop, row)
            fires = [(at, value) for at, value in enumerate(example.values[start:stop]) if value > 0]
            cells = (row, part, story, [at for at, _ in fires], [shorten(value, 3) for _, value in fires])
            for name, cell in zip(chunk, cells, strict=True):
                chunk[name].append(cell)
        return len(self.chunks) - 1

    def _place_story(self, example: Example, start: int, stop: int, row: int) -> tuple[int, int]:
        tokens = example.tokens[start:stop]
        key = (example.story_id, tokens)
        if key not in self._places:
            if not self.parts or len(self.parts[-1]["id"]) >= STORIES_IN_PART:
                self.parts.append({name: [] for name in ("id", "emotion", "split", "feature", "cut", "tokens")})
            part = self.parts[-1]
            self._places[key] = (len(self.parts) - 1, len(part["id"]))
            is_cut = len(tokens) < len(example.tokens)
            cells = (example.story_id, example.emotion, example.split, row, is_cut, list(tokens))
            for name, cell in zip(part, cells, strict=True):
                part[name].append(cell)
        return self._places[key]


def shorten(value: float, digits: int) -> float | int:
    """The number with so many significant digits; whole ones as integers."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _cut(example: Example) -> tuple[int, int]:
    """The span of tokens that is kept."""
    peak = example.values.index(example.peak)
    start = max(0, min(peak - MAX_TOKENS // 2, len(example.tokens) - MAX_TOKENS))
    return start, min(len(example.tokens), start + MAX_TOKENS)
