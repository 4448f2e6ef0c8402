"""Phrases that the stories of one emotion share with each other more than with the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emosae.stories.duplicates import words_of
from emosae.stories.records import Story


@dataclass(frozen=True, slots=True)
class SharedPhrase:
    """Words in a row that stand in several stories of one emotion, named by their ids."""

    emotion: str
    phrase: str
    stories: tuple[str, ...]


def find_shared_phrases(stories: Sequence[Story], ngram: int, max_share: float) -> list[SharedPhrase]:
    """Phrases of at least `ngram` words in more than `max_share` of an emotion's stories (one always may).

    A phrase counts for an emotion only if more than half of all stories that hold it are that emotion's, so that
    turns of everyday speech ("at the end of the") do not count where they are spread. Overlapping sequences that
    the same stories share are joined into one phrase.
    """
    words = [words_of(story.text) for story in stories]
    sizes = Counter(story.emotion for story in stories)
    allowed = {emotion: max(1, int(max_share * size)) for emotion, size in sizes.items()}
    shared: dict[tuple[str, tuple[int, ...]], set[tuple[str, ...]]] = defaultdict(set)
    for sequence, holders in _holders(words, ngram).items():
        emotion, held = Counter(stories[i].emotion for i in holders).most_common(1)[0]
        if held > allowed[emotion] and 2 * held > len(holders):
            own = tuple(i for i in holders if stories[i].emotion == emotion)
            shared[emotion, own].add(sequence)
    return [
        SharedPhrase(emotion, phrase, tuple(stories[i].id for i in holders))
        for (emotion, holders), sequences in shared.items()
        for phrase in _join(words[holders[0]], sequences, ngram)
    ]


def _holders(words: Sequence[Sequence[str]], ngram: int) -> Mapping[tuple[str, ...], list[int]]:
    """The stories of every sequence, in order and each once."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for story, text in enumerate(words):
        for sequence in dict.fromkeys(tuple(text[i : i + ngram]) for i in range(len(text) - ngram + 1)):
            holders[sequence].append(story)
    return holders


def _join(text: Sequence[str], sequences: set[tuple[str, ...]], ngram: int) -> list[str]:
    """The stretches of a text that the sequences cover, each once."""
    stretches: list[tuple[int, int]] = []
    for start in range(len(text) - ngram + 1):
        if tuple(text[start : start + ngram]) not in sequences:
            continue
        if stretches and start < stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], start + ngram)
        else:
            stretches.append((start, start + ngram))
    return list(dict.fromkeys(" ".join(text[start:stop]) for start, stop in stretches))
