"""Whose emotion a feature stands for: dialogues in which user, assistant and a third character feel differently.

Each dialogue has four passages: the user says something of their own feeling and then something about another person,
the assistant answers in a feeling of its own, and the user speaks again. The emotions of the three are crossed, so that
what a feature shows of one of them cannot come from another.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from emosae.errors import UserError
from emosae.generation import Prompt
from emosae.lm import LanguageModel
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.conversations.places import Span, find_spans
from emosae.scenarios.conversations.reading import read_sets
from emosae.scenarios.statistics import Interval, mean_interval
from emosae.scenarios.tables import make_table
from emosae.stories import Message

if TYPE_CHECKING:
    import pyarrow as pa

ROLES = ("user", "assistant", "third")
"""Whose emotion."""
TOKENS = ("user", "assistant", "third")
"""Whose tokens: the user's second message, the assistant's, and the user's words about the third character."""
AGAIN = "again"
FEWEST_EMOTIONS = 4
MOST_SCENES = 360

Voices = Mapping[str, Mapping[str, Sequence[str]]]
"""Passages by role (those of ROLES, and `again` for the user's second message) and emotion."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A dialogue: the emotion of each role, and what is said."""

    feels: Mapping[str, str]
    opening: str
    third: str
    answer: str
    again: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """As a chat template takes them."""
        first = Message("user", f"{self.opening} {self.third}")
        return (first, Message("assistant", self.answer), Message("user", self.again))

    def locate(self, lm: LanguageModel, ids: Sequence[int]) -> dict[str, Span]:
        """The tokens of each of TOKENS."""
        _, third, assistant, user = find_spans(lm, ids, [self.opening, self.third, self.answer, self.again])
        return {"user": user, "assistant": assistant, "third": third}


def load_voices() -> Voices:
    """The passages that come with the package: six emotions, none of them named."""
    lines = (files("emosae.scenarios") / "data" / "voices.jsonl").read_text(encoding="utf-8").splitlines()
    voices: dict[str, dict[str, list[str]]] = {}
    for row in map(json.loads, lines):
        voices.setdefault(row["role"], {}).setdefault(row["emotion"], []).append(row["text"])
    return voices


def compose_scenes(voices: Voices, emotions: Sequence[str], rng: np.random.Generator) -> list[Scene]:
    """Dialogues with three different emotions each, every ordered triple as often, at most MOST_SCENES of them.

    Args:
        voices: Passages of every role.
        emotions: Those that can be read; the others are left out.
        rng: Draws the passages, and the triples where there are too many.
    """
    roles = (*ROLES, AGAIN)
    if lacking := [role for role in roles if role not in voices]:
        raise UserError(f"dialogues lack passages for {', '.join(lacking)}: give some for each role and emotion")
    known = sorted(set(emotions).intersection(*(voices[role] for role in roles)))
    triples = list(itertools.permutations(known, 3))
    chosen = rng.permutation(len(triples))[:MOST_SCENES]

    def draw(role: str, emotion: str) -> str:
        passages = voices[role][emotion]
        return passages[int(rng.integers(len(passages)))]

    return [
        Scene(
            dict(zip(ROLES, (user, assistant, third), strict=True)),
            draw("user", user),
            draw("third", third),
            draw("assistant", assistant),
            draw(AGAIN, user),
        )
        for user, assistant, third in (triples[index] for index in sorted(chosen.tolist()))
    ]


def read_whose(lm: LanguageModel, voices: Voices, features: Sequence[FeatureSet], rng: np.random.Generator) -> pa.Table:
    """Read crossed dialogues and tell whose emotion the features follow at whose tokens; empty with too few emotions.

    Every ordered triple needs `FEWEST_EMOTIONS` emotions that have both passages and a feature.
    """
    scenes = compose_scenes(voices, [one.name for one in features], rng)
    named = {emotion for scene in scenes for emotion in scene.feels.values()}
    if len(named) < FEWEST_EMOTIONS:
        return tabulate_whose([], [], np.zeros((0, len(TOKENS), 0)))
    sets = [one for one in features if one.name in named]
    prompts = [Prompt(tuple(lm.chat([one.as_chat() for one in scene.messages], open_turn=False))) for scene in scenes]
    acts = read_sets(lm, prompts, sets)
    values = np.array(
        [
            [seen[slice(*spans[place])].mean(axis=0) for place in TOKENS]
            for scene, prompt, seen in zip(scenes, prompts, acts, strict=True)
            for spans in [scene.locate(lm, prompt.ids)]
        ]
    )
    return tabulate_whose([scene.feels for scene in scenes], [one.name for one in sets], values)


def tabulate_whose(
    feels: Sequence[Mapping[str, str]], emotions: Sequence[str], values: Float[np.ndarray, "scene place emotion"]
) -> pa.Table:
    """A row per place and role: how much higher a feature stands where that role has its emotion than where nobody has.

    In standard deviations of the feature at that place over all dialogues; the mean over emotions, with a t interval
    for which emotions are what is drawn. `contrast` rows hold the difference of two roles, paired by emotion:
    `user - assistant` at each place, and so on. Chance is 0 everywhere; at the words about the third character the
    assistant has not spoken yet, so there its emotion must show 0.
    """
    rows: list[dict[str, Any]] = []
    for at, place in enumerate(TOKENS if len(feels) else ()):
        effects = {role: _effects(feels, emotions, values[:, at], role) for role in ROLES}
        pairs = {f"{a} - {b}": effects[a] - effects[b] for a, b in itertools.combinations(ROLES, 2)}
        for is_contrast, group in ((False, effects), (True, pairs)):
            rows += [
                {"tokens": place, "whose": whose, "contrast": is_contrast, "n_scenes": len(feels), **_describe(each)}
                for whose, each in group.items()
            ]
    numbers = ("effect", "lo", "hi", "p")
    counts = ("n_emotions", "n_scenes")
    return make_table(rows, texts=("tokens", "whose"), numbers=numbers, counts=counts, flags=("contrast",))


def _effects(
    feels: Sequence[Mapping[str, str]],
    emotions: Sequence[str],
    values: Float[np.ndarray, "scene emotion"],
    role: str,
) -> Float[np.ndarray, " emotion"]:
    """Per emotion, in SDs; 0 for a feature that is the same in all dialogues."""
    found = np.zeros(len(emotions))
    for column, emotion in enumerate(emotions):
        has: Bool[np.ndarray, " scene"] = np.array([one[role] == emotion for one in feels])
        nobody = np.array([emotion not in one.values() for one in feels])
        spread = float(values[:, column].std())
        if spread > 0:
            found[column] = (values[has, column].mean() - values[nobody, column].mean()) / spread
    return found


def _describe(effects: Float[np.ndarray, " emotion"]) -> dict[str, Any]:
    found: Interval = mean_interval(effects)
    return {"n_emotions": len(effects), "effect": found.estimate, "lo": found.lo, "hi": found.hi, "p": found.p}
