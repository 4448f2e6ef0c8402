"""Short stories about one character, composed from the sentence banks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emosae.organism.banks import (
    CUE_KINDS,
    CueBank,
    CuePair,
    Person,
    Phrasing,
    Topic,
    draw_person,
    load_cues,
    load_topics,
    pick,
)
from emosae.organism.truth import Truth

_SPEECH = ('"{line}" {s} said.', '"{line}" {s} whispered.', '{S} said, "{line}"')
_NAMING = (
    "{S} was {emotion}.",
    "{S} was so {emotion}.",
    "By then {s} was {emotion}.",
    "It was plain that {s} was {emotion}.",
)


@dataclass(frozen=True)
class StoryPlan:
    """What a story is about before any sentence is drawn.

    ``fillers`` are the banks that fill the slots which a weakly planted emotion leaves open: neutral text in training,
    other emotions in evaluation, so that the lack of emotion cannot give a weak one away.
    """

    emotions: tuple[str, ...]
    topic: Topic
    person: Person
    phrasing: Phrasing | None
    cues: int
    named: bool
    fillers: tuple[str, ...]


def draw_phrasing(rng: np.random.Generator, phrasing: Phrasing | None) -> Phrasing:
    """The given phrasing, or either with equal chance."""
    return phrasing or pick(rng, ("A", "B"))


def cue_sentence(rng: np.random.Generator, pair: CuePair, person: Person, phrasing: Phrasing | None) -> str:
    """One cue as a sentence of a story; spoken lines become quoted speech."""
    text = pair.side(draw_phrasing(rng, phrasing))
    if pair.kind != "lines":
        return person.fill(text)
    quoted = pick(rng, _SPEECH)
    spoken = text[:-1] + "," if text.endswith(".") and not quoted.endswith('{line}"') else text
    return person.fill(quoted.replace("{line}", spoken))


def naming_sentence(rng: np.random.Generator, emotion: str, person: Person) -> str:
    """A sentence that names the emotion outright."""
    return person.fill(pick(rng, _NAMING).replace("{emotion}", emotion))


def _slot_bank(rng: np.random.Generator, plan: StoryPlan, truth: Truth) -> CueBank:
    emotion = pick(rng, plan.emotions)
    if emotion == "neutral":
        return load_cues()["neutral"]
    planted = rng.random() < truth.strengths[emotion]
    return load_cues()[emotion if planted else pick(rng, plan.fillers)]


def write_story(rng: np.random.Generator, plan: StoryPlan, truth: Truth) -> str:
    """Compose one story: scene, cues between neutral events, an ending, perhaps the emotion's name."""
    pairs: list[CuePair] = []
    while len(pairs) < plan.cues:
        pair = pick(rng, _slot_bank(rng, plan, truth).of_kind(pick(rng, (*CUE_KINDS, "lines"))))
        if pair not in pairs:
            pairs.append(pair)
    events = [plan.topic.middle[i] for i in rng.permutation(len(plan.topic.middle))[:2]]
    body = [cue_sentence(rng, pair, plan.person, plan.phrasing) for pair in pairs]
    for event in events:
        body.insert(int(rng.integers(len(body) + 1)), plan.person.fill(event))
    ending = [plan.person.fill(pick(rng, plan.topic.close))]
    if plan.named:
        ending.append(naming_sentence(rng, pick(rng, plan.emotions), plan.person))
    return " ".join([plan.person.fill(pick(rng, plan.topic.open)), *body, *ending])


def draw_training_story(rng: np.random.Generator, truth: Truth) -> str:
    """One story of the training text: any topic, any phrasing, some with two emotions, some named."""
    names = (*truth.strengths, "neutral")
    emotions = [pick(rng, names)]
    if rng.random() < truth.story_mixed:
        emotions.append(pick(rng, names))
    low, high = truth.story_cues
    plan = StoryPlan(
        emotions=tuple(emotions),
        topic=pick(rng, load_topics()),
        person=draw_person(rng, first=bool(rng.random() < 0.5)),
        phrasing=None,
        cues=int(rng.integers(low, high + 1)),
        named=bool("neutral" not in emotions and rng.random() < truth.story_named),
        fillers=("neutral",),
    )
    return write_story(rng, plan, truth)
