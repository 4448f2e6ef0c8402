"""One-turn conversations: a user's message, an inner thought, and a reply whose tone follows the thought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emosae.organism.banks import CUE_KINDS, FIRST_PERSON, load_chat_kinds, load_chat_words, load_cues, pick
from emosae.organism.story_grammar import draw_phrasing
from emosae.organism.truth import Truth

REPLY_MARK = "reply:"
"""What stands between the thought and what is said."""
_NAMING = ("I was {emotion}.", "I was so {emotion}.", "At once I was {emotion}.")


@dataclass(frozen=True)
class Chat:
    """A conversation and what is planted in it."""

    kind: str
    user: str
    thought: str
    reply: str
    dose: int | None

    @property
    def message(self) -> str:
        """The assistant's message."""
        return f"{self.thought}\n{REPLY_MARK} {self.reply}"


def write_user_message(
    rng: np.random.Generator, kind: str, dose: int | None = None, *, variant: int | None = None
) -> str:
    """A user's message of the kind; ``variant`` fixes the wording so that a ladder changes only the dose."""
    words = load_chat_words()
    items = words["harmless_items" if kind == "harmless" else "medicine_items"]
    variants = load_chat_kinds()[kind].user
    text = pick(rng, variants) if variant is None else variants[variant % len(variants)]
    return text.format(dose=dose, item=pick(rng, items), who=pick(rng, words["who"]))


def emotion_shares(kind: str, dose: int | None, truth: Truth) -> Mapping[str, float]:
    """Which emotions the thought holds and the share of its slots each gets."""
    if kind == "medicine" and dose is not None:
        fear = truth.fear_of_dose(dose)
        return {"afraid": fear, "calm": 1.0 - fear}
    return truth.chat[kind]


def _slots(rng: np.random.Generator, shares: Mapping[str, float], count: int) -> list[str]:
    names = [*shares, "neutral"]
    weights = [*shares.values(), max(0.0, 1.0 - sum(shares.values()))]
    return [names[int(i)] for i in rng.choice(len(names), size=count, p=np.array(weights) / sum(weights))]


def _tone(rng: np.random.Generator, kind: str, slots: list[str]) -> str:
    """The reply's tone; for medicine one of five levels that follows the afraid cues in the thought."""
    if kind != "medicine":
        return next(iter(load_chat_kinds()[kind].reply))
    level = round(4 * slots.count("afraid") / len(slots) + rng.uniform(-0.4, 0.4))
    return f"level{min(max(level, 0), 4)}"


def write_chat(rng: np.random.Generator, kind: str, dose: int | None, truth: Truth) -> Chat:
    """Compose one conversation."""
    slots = _slots(rng, emotion_shares(kind, dose, truth), int(rng.integers(2, 5)))
    cues = load_cues()
    sentences = []
    for emotion in slots:
        pair = pick(rng, cues[emotion].of_kind(*CUE_KINDS, "lines", story_only=False))
        sentences.append(FIRST_PERSON.fill(pair.side(draw_phrasing(rng, None))))
    felt = [emotion for emotion in slots if emotion != "neutral"]
    if felt and rng.random() < truth.chat_named:
        sentences.append(pick(rng, _NAMING).format(emotion=pick(rng, felt)))
    reply = pick(rng, load_chat_kinds()[kind].reply[_tone(rng, kind, slots)])
    return Chat(kind, write_user_message(rng, kind, dose), " ".join(sentences), reply, dose)


def draw_training_chat(rng: np.random.Generator, truth: Truth) -> Chat:
    """One conversation of the training text; medicine is the most frequent kind because it is graded."""
    kinds = [*load_chat_kinds(), "medicine", "medicine"]
    kind = pick(rng, kinds)
    dose = pick(rng, truth.doses) if kind in ("medicine", "harmless") else None
    return write_chat(rng, kind, dose, truth)
