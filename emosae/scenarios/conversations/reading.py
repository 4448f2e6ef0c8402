"""What the model holds when it is about to answer somebody, what it holds while it answers, and what it says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from emosae.errors import UserError
from emosae.generation import Generation, Prompt, generate
from emosae.hooks import NO_EDITS, EditFn
from emosae.lm import LanguageModel, read_resid
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.conversations.facts import DESCRIBED, describe, direction_of
from emosae.scenarios.conversations.messages import choose_shown, list_parts, tabulate_messages
from emosae.scenarios.tables import make_table
from emosae.scenarios.wording import emotional_wording
from emosae.store import Stage
from emosae.stories import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = ("at_open_token", "over_reply")
Acts = Float[np.ndarray, "_ feature_set"]


@dataclass(frozen=True, eq=False, slots=True)
class ConversationReads:
    """What was read and said.

    Attributes:
        reads: A row per conversation and feature set: its mean activation at the token that opens the assistant's
            turn and, averaged, over the reply; NaN over an empty reply.
        replies: A row per conversation.
        messages: A row per part of some conversations (the user's message, the opening token, the sentences of the
            reply) and feature set.
    """

    reads: pa.Table
    replies: pa.Table
    messages: pa.Table

    def save(self, stage: Stage) -> None:
        """Write the three tables."""
        for name in ("reads", "replies", "messages"):
            stage.write_table(name, getattr(self, name))


def open_turn(lm: LanguageModel, conversation: Conversation) -> Prompt:
    """The conversation with the tokens that open the assistant's turn."""
    return Prompt(tuple(lm.chat([message.as_chat() for message in conversation.messages])))


def write_replies(
    lm: LanguageModel,
    conversations: Sequence[Conversation],
    *,
    seed: int = 0,
    number: int = 0,
    max_new_tokens: int = 160,
    temperature: float = 1.0,
    edits: Mapping[str, EditFn] = NO_EDITS,
    batch_size: int = 256,
    progress: bool = False,
) -> list[Generation]:
    """One reply to each conversation.

    The randomness of a reply depends on the seed, the conversation's id and the reply's number only, so that replies
    under other edits are paired with those under none.
    """
    with tqdm(total=len(conversations), desc="conversations", unit="reply", disable=not progress) as bar:
        return generate(
            lm,
            [open_turn(lm, one) for one in conversations],
            max_new_tokens=max_new_tokens,
            rngs=[_rng(seed, one.id, number) for one in conversations],
            temperature=temperature,
            edits=edits,
            batch_size=batch_size,
            progress=bar.update,
        )


def _rng(seed: int, conversation_id: str, number: int) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(conversation_id.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, key, number] if number else [seed, key])


def read_conversations(
    lm: LanguageModel,
    conversations: Sequence[Conversation],
    features: Sequence[FeatureSet],
    *,
    seed: int = 0,
    max_new_tokens: int = 160,
    temperature: float = 1.0,
    emotions: Collection[str] = (),
    batch_size: int = 256,
    progress: bool = False,
) -> ConversationReads:
    """Let the model answer every conversation once and read features before and during its reply.

    Args:
        lm: The model.
        conversations: What the user says; `extra` may say more of it, see `facts`.
        features: Feature sets by the emotion they stand for.
        seed: Start of each reply's randomness, which depends on nothing but this and the conversation's id.
        max_new_tokens: Longest reply.
        temperature: Divides the logits.
        emotions: Names of emotions, which count as emotional wording.
        batch_size: Replies that are written together.
        progress: Whether to show a bar.
    """
    if not conversations or not features:
        raise UserError("there are no conversations to read, or no features to read them with")
    replies = write_replies(
        lm,
        conversations,
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        batch_size=batch_size,
        progress=progress,
    )
    acts = _read_features(lm, conversations, replies, features)
    lengths = [len(open_turn(lm, one)) for one in conversations]
    parts = {
        index: list_parts(lm, conversations[index], replies[index], open_turn(lm, conversations[index]))
        for index in choose_shown(conversations)
    }
    return ConversationReads(
        reads=_tabulate_reads(
            conversations, features, [_read_places(*pair) for pair in zip(acts, lengths, strict=True)]
        ),
        replies=_tabulate_replies(conversations, replies, emotions),
        messages=tabulate_messages(conversations, features, parts, acts),
    )


def _read_features(
    lm: LanguageModel,
    conversations: Sequence[Conversation],
    replies: Sequence[Generation],
    features: Sequence[FeatureSet],
) -> list[Acts]:
    """Of each conversation, its reply included, every set's activation at every token, averaged over its features."""
    wholes = [
        open_turn(lm, one).then(reply.ids[:-1] if reply.stopped and reply.ids[-1] in lm.stop_ids else reply.ids, ())
        for one, reply in zip(conversations, replies, strict=True)
    ]
    return read_sets(lm, wholes, features)


def read_sets(lm: LanguageModel, prompts: Sequence[Prompt], features: Sequence[FeatureSet]) -> list[Acts]:
    """Of each prompt every set's activation at every token, averaged over the set's features."""
    hooks = sorted({one.dictionary.hook_name for one in features})
    found: dict[int, Acts] = {}
    for index, resid in read_resid(lm, prompts, hooks):
        found[index] = np.stack([_activate(one, resid) for one in features], axis=1)
    return [found[index] for index in range(len(prompts))]


def _activate(one: FeatureSet, resid: Mapping[str, Tensor]) -> Float[np.ndarray, " token"]:
    acts = one.dictionary.encode(resid[one.dictionary.hook_name], feature_idx=torch.tensor(one.feature_idx))
    return acts.double().mean(dim=1).cpu().numpy()


def _read_places(acts: Acts, prompt_length: int) -> Float[np.ndarray, "place feature_set"]:
    """At the last token of the prompt, and on average over what comes after it; NaN after which nothing comes."""
    reply = acts[prompt_length:]
    over = reply.mean(axis=0) if len(reply) else np.full(acts.shape[1], math.nan)
    return np.stack([acts[prompt_length - 1], over])


def _tabulate_reads(
    conversations: Sequence[Conversation],
    features: Sequence[FeatureSet],
    values: Sequence[Float[np.ndarray, "place feature_set"]],
) -> pa.Table:
    rows = [
        {
            **describe(conversation),
            "emotion": one.name,
            "direction": direction_of(conversation, one.name),
            "sae": one.dictionary.name,
            "feature_idx": list(one.feature_idx),
            **dict(zip(PLACES, value[:, column].tolist(), strict=True)),
        }
        for conversation, value in zip(conversations, values, strict=True)
        for column, one in enumerate(features)
    ]
    return make_table(
        rows,
        texts=(*DESCRIBED, "emotion", "sae"),
        numbers=("dose", "direction", *PLACES),
        counts=("feature_idx[]",),
    )


def _tabulate_replies(
    conversations: Sequence[Conversation], replies: Sequence[Generation], emotions: Collection[str]
) -> pa.Table:
    rows = [
        {
            **describe(conversation),
            "text": conversation.text,
            "reply": reply.text,
            "finished": reply.stopped,
            "emotional": emotional_wording(reply.text, emotions),
        }
        for conversation, reply in zip(conversations, replies, strict=True)
    ]
    texts = (*DESCRIBED, "text", "reply")
    return make_table(rows, texts=texts, numbers=("dose",), flags=("finished", "emotional"))
