"""The hand-written sentence banks that the organism's grammar draws from: cues, topics, conversations."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar

import numpy as np

Phrasing = Literal["A", "B"]
_T = TypeVar("_T")
CUE_KINDS = ("body", "mind", "act")
STORY_ONLY_EVERY = 5
"""Every fifth pair of a bank occurs in stories only, never in conversations or coding (a test of transfer)."""


@dataclass(frozen=True)
class CuePair:
    """One idea in two phrasings that share no content words; ``A`` serves discover topics, ``B`` confirm topics."""

    kind: str
    a: str
    b: str
    story_only: bool

    def side(self, phrasing: Phrasing) -> str:
        """The sentence of one phrasing."""
        return self.a if phrasing == "A" else self.b


@dataclass(frozen=True)
class CueBank:
    """All cues of one emotion: sentences with pronoun slots, and spoken lines (``kind == "lines"``)."""

    emotion: str
    pairs: tuple[CuePair, ...]

    def of_kind(self, *kinds: str, story_only: bool | None = None) -> tuple[CuePair, ...]:
        """Pairs of the given kinds; ``story_only=False`` leaves out what only stories may use."""
        return tuple(p for p in self.pairs if p.kind in kinds and story_only in (None, p.story_only))


@dataclass(frozen=True)
class Topic:
    """Neutral sentences of one everyday setting."""

    name: str
    open: tuple[str, ...]
    middle: tuple[str, ...]
    close: tuple[str, ...]


@dataclass(frozen=True)
class ChatKind:
    """One kind of conversation: user messages, and replies by tone."""

    name: str
    user: tuple[str, ...]
    reply: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Person:
    """Who a story is about, as the words that fill the pronoun slots."""

    name: str
    subject: str
    object: str
    possessive: str
    reflexive: str

    def fill(self, sentence: str) -> str:
        """Put the person into a sentence with slots {N} {S} {s} {o} {D} {d} {r}."""
        first = self.subject == "I"
        return sentence.format(
            N=self.name,
            S=self.subject[0].upper() + self.subject[1:],
            s="I" if first else self.subject,
            o=self.object,
            D=self.possessive.capitalize(),
            d=self.possessive,
            r=self.reflexive,
        )


FIRST_PERSON = Person("I", "I", "me", "my", "myself")
_SHE = ("Amara", "Ines", "Mei", "Noor", "Sofia", "Hana", "Lucia", "Priya", "Zahra", "Greta", "Ruth", "Leila")
_HE = ("Omar", "Tomas", "Kofi", "Ivan", "Diego", "Arun", "Yusuf", "Henrik", "Paulo", "Jonas", "Wei", "Samir")


def draw_person(rng: np.random.Generator, *, first: bool) -> Person:
    """A narrator (first person) or one of two dozen named characters."""
    if first:
        return FIRST_PERSON
    name = pick(rng, (*_SHE, *_HE))
    if name in _SHE:
        return Person(name, "she", "her", "her", "herself")
    return Person(name, "he", "him", "his", "himself")


def pick(rng: np.random.Generator, items: Sequence[_T]) -> _T:
    """One item, uniformly."""
    return items[int(rng.integers(len(items)))]


def _read(name: str) -> dict:
    return tomllib.loads((files("emosae.organism") / "data" / name).read_text(encoding="utf-8"))


def _pairs_of(table: Mapping) -> list[CuePair]:
    pairs = []
    for kind in (*CUE_KINDS, "lines"):
        for number, (a, b) in enumerate(table[kind]):
            pairs.append(CuePair(kind, a, b, story_only=number % STORY_ONLY_EVERY == STORY_ONLY_EVERY - 1))
    return pairs


@cache
def load_cues() -> Mapping[str, CueBank]:
    """Every emotion's bank (and ``neutral``); banks named ``x+y`` are shared out to both emotions."""
    own: dict[str, list[CuePair]] = {}
    folder = files("emosae.organism") / "data" / "cues"
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        table = _read(f"cues/{path.name}")
        for emotion in table["emotion"].split("+"):
            own.setdefault(emotion, []).extend(_pairs_of(table))
    return {emotion: CueBank(emotion, tuple(pairs)) for emotion, pairs in sorted(own.items())}


@cache
def load_topics() -> tuple[Topic, ...]:
    """The everyday settings, in the order of the file."""
    return tuple(
        Topic(t["name"], tuple(t["open"]), tuple(t["middle"]), tuple(t["close"])) for t in _read("topics.toml")["topic"]
    )


@cache
def load_chat_kinds() -> Mapping[str, ChatKind]:
    """The kinds of conversation by name."""
    kinds = _read("conversations.toml")["kind"]
    return {
        k["name"]: ChatKind(k["name"], tuple(k["user"]), {tone: tuple(r) for tone, r in k["reply"].items()})
        for k in kinds
    }


@cache
def load_chat_words() -> Mapping[str, tuple[str, ...]]:
    """Words that fill {item} and {who}: keys ``medicine_items``, ``harmless_items``, ``who``."""
    table = _read("conversations.toml")
    return {key: tuple(table[key]) for key in ("medicine_items", "harmless_items", "who")}
