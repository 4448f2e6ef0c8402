"""The organism's training text: documents of three kinds, as role-marked text with loss weights on the decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emosae.organism.banks import pick
from emosae.organism.chat_grammar import draw_training_chat
from emosae.organism.coding_grammar import draw_task, write_transcript
from emosae.organism.story_grammar import draw_training_story
from emosae.organism.truth import Truth

BOS, USER, ASSISTANT, END = "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>"
PAD = "<|endoftext|>"
SPECIAL_TOKENS = (PAD, BOS, USER, ASSISTANT, END)
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MIX = {"story": 0.46, "chat": 0.24, "coding": 0.30}
"""Share of documents."""
ATTEMPTS = (1, 2, 3, 3, 4, 5, 6)


@dataclass(frozen=True)
class Document:
    """One training document; ``turns`` is empty for plain stories."""

    kind: str
    text: str


def render_turns(turns: Sequence[tuple[str, str]]) -> str:
    """A conversation in the organism's role markers, as the chat template renders it."""
    marks = {"user": USER, "assistant": ASSISTANT}
    return BOS + "".join(f"{marks[role]}{content}{END}" for role, content in turns)


def draw_document(rng: np.random.Generator, truth: Truth, mix: Mapping[str, float] = MIX) -> Document:
    """One document of the mix."""
    kind = str(rng.choice(list(mix), p=list(mix.values())))
    if kind == "story":
        return Document(kind, f"{BOS}{draw_training_story(rng, truth)}{END}")
    if kind == "chat":
        chat = draw_training_chat(rng, truth)
        return Document(kind, render_turns([("user", chat.user), ("assistant", chat.message)]))
    task = draw_task(rng, impossible=bool(rng.random() < truth.coding.impossible))
    turns = [("user", task.prompt)]
    for attempt in write_transcript(rng, task, pick(rng, ATTEMPTS), truth):
        turns.append(("assistant", attempt.message))
        if attempt.feedback is not None:
            turns.append(("user", attempt.feedback))
    return Document(kind, render_turns(turns))


def draw_documents(seed: int, count: int, truth: Truth) -> Iterator[Document]:
    """``count`` documents; document i depends on seed, i and truth only, so any range can be drawn again."""
    for number in range(count):
        yield draw_document(np.random.default_rng([seed, number]), truth)
