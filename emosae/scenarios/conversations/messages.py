"""A conversation message by message: the user's, the token that opens the turn, and the sentences of the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from emosae.generation import Generation, Prompt
from emosae.lm import LanguageModel
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.conversations.facts import dose_of, kind_of, ladder_of
from emosae.scenarios.conversations.places import Span, find_spans, split_sentences
from emosae.scenarios.tables import make_table
from emosae.stories import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

USER, OPENING, SENTENCE = "user", "opening", "reply"
MOST_SENTENCES = 6
SHOWN_PER_KIND = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Some tokens of a conversation: whose they are, where they stand in it, and what they say."""

    name: str
    span: Span
    text: str


def list_parts(lm: LanguageModel, conversation: Conversation, reply: Generation, prompt: Prompt) -> list[Part]:
    """The user's message, the last token before the reply, and the reply's first sentences, in order."""
    [said] = find_spans(lm, prompt.ids, [conversation.text.strip()])
    opening = (len(prompt) - 1, len(prompt))
    sentences = split_sentences(reply.text)[:MOST_SENTENCES]
    spans = [(start + len(prompt), stop + len(prompt)) for start, stop in find_spans(lm, reply.ids, sentences)]
    return [
        Part(USER, said, conversation.text),
        Part(OPENING, opening, lm.decode(prompt.ids[slice(*opening)])),
        *(Part(SENTENCE, span, text) for span, text in zip(spans, sentences, strict=True)),
    ]


def tabulate_messages(
    conversations: Sequence[Conversation],
    features: Sequence[FeatureSet],
    parts: Mapping[int, Sequence[Part]],
    acts: Sequence[Float[np.ndarray, "_ feature_set"]],
) -> pa.Table:
    """A row per part and feature set of the conversations that have parts, by their index.

    `activation` is the mean over the part's tokens; `score` the same in standard deviations from the set's mean over
    all parts in the table (0 for a set that never changes).
    """
    spans = {index: [part.span for part in own] for index, own in parts.items()}
    means = {index: np.array([acts[index][slice(*span)].mean(axis=0) for span in own]) for index, own in spans.items()}
    every = np.concatenate(list(means.values()))
    spread = every.std(axis=0)
    scores = (every - every.mean(axis=0)) * np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    places = [(index, number) for index, own in parts.items() for number in range(len(own))]
    rows = [
        {
            "conversation_id": conversations[index].id,
            "kind": kind_of(conversations[index]),
            "expected": conversations[index].expected,
            "dose": dose_of(conversations[index]),
            "number": number,
            "part": parts[index][number].name,
            "text": parts[index][number].text,
            "emotion": one.name,
            "activation": float(means[index][number, column]),
            "score": float(scores[row, column]),
        }
        for row, (index, number) in enumerate(places)
        for column, one in enumerate(features)
    ]
    texts = ("conversation_id", "kind", "expected", "part", "text", "emotion")
    return make_table(rows, texts=texts, numbers=("dose", "activation", "score"), counts=("number",))


def choose_shown(conversations: Sequence[Conversation]) -> list[int]:
    """The first two of each kind; of a kind with ladders the lowest and the highest rung of the first ladder."""
    by_kind: dict[str, list[int]] = {}
    for index, one in enumerate(conversations):
        by_kind.setdefault(kind_of(one), []).append(index)
    chosen: list[int] = []
    for members in by_kind.values():
        ladder = ladder_of(conversations[members[0]])
        if ladder:
            rungs = [index for index in members if ladder_of(conversations[index]) == ladder]
            rungs.sort(key=lambda index: dose_of(conversations[index]) or 0.0)
            chosen += dict.fromkeys((rungs[0], rungs[-1]))
        else:
            chosen += members[:SHOWN_PER_KIND]
    return chosen
