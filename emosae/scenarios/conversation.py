"""What the model holds when it is about to answer somebody, what it holds while it answers, and what it says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from emosae.errors import UserError
from emosae.generation import Generation, Prompt, generate
from emosae.lm import LanguageModel, read_resid
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.statistics import Interval, spearman_interval
from emosae.scenarios.tables import make_table
from emosae.scenarios.wording import emotional_wording
from emosae.store import Stage
from emosae.stories import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = ("at_open_token", "over_reply")


@dataclass(frozen=True, eq=False, slots=True)
class ConversationReads:
    """The tables of the scenario.

    Attributes:
        reads: A row per conversation and feature set: its mean activation at the token that opens the assistant's
            turn and, averaged, over the reply; NaN over an empty reply.
        replies: A row per conversation.
        ranks: A row per kind of conversation and place: which emotion stands highest there, each standardised over
            all conversations, and the rank of the expected one (1 is first; null if no feature stands for it).
        doses: A row per emotion, kind of ladder and place: Spearman's correlation with the dose.
    """

    reads: pa.Table
    replies: pa.Table
    ranks: pa.Table
    doses: pa.Table

    def save(self, stage: Stage) -> None:
        """Write the four tables."""
        for name in ("reads", "replies", "ranks", "doses"):
            stage.write_table(name, getattr(self, name))


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
        conversations: What the user says; `extra` may give `kind` and, for the rungs of a ladder, `dose`.
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
    prompts = [Prompt(tuple(lm.chat([message.as_chat() for message in one.messages]))) for one in conversations]
    with tqdm(total=len(prompts), desc="conversations", unit="reply", disable=not progress) as bar:
        replies = generate(
            lm,
            prompts,
            max_new_tokens=max_new_tokens,
            rngs=[_rng(seed, one.id) for one in conversations],
            temperature=temperature,
            batch_size=batch_size,
            progress=bar.update,
        )
    values = _read_features(lm, prompts, replies, features)
    reads = _tabulate_reads(conversations, features, values)
    return ConversationReads(
        reads=make_table(
            reads,
            texts=("conversation_id", "expected", "kind", "emotion", "sae"),
            numbers=("dose", *PLACES),
            counts=("feature_idx[]",),
        ),
        replies=_tabulate_replies(conversations, replies, emotions),
        ranks=rank_emotions(reads),
        doses=correlate_doses(reads),
    )


def _rng(seed: int, conversation_id: str) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(conversation_id.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, key])


def _read_features(
    lm: LanguageModel, prompts: Sequence[Prompt], replies: Sequence[Generation], features: Sequence[FeatureSet]
) -> Float[np.ndarray, "conversation feature_set place"]:
    """Each set's activation, averaged over its features, at the last token of the prompt and over the reply's text."""
    values = np.full((len(prompts), len(features), len(PLACES)), math.nan)
    wholes = [
        prompt.then(reply.ids[:-1] if reply.stopped and reply.ids[-1] in lm.stop_ids else reply.ids, ())
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
    hooks = sorted({one.dictionary.hook_name for one in features})
    for index, resid in read_resid(lm, wholes, hooks):
        opening = len(prompts[index]) - 1
        for column, one in enumerate(features):
            seen = resid[one.dictionary.hook_name][opening:]
            acts = one.dictionary.encode(seen, feature_idx=torch.tensor(one.feature_idx)).double().mean(dim=1)
            values[index, column, 0] = float(acts[0])
            if len(acts) > 1:
                values[index, column, 1] = float(acts[1:].mean())
    return values


def _tabulate_reads(
    conversations: Sequence[Conversation],
    features: Sequence[FeatureSet],
    values: Float[np.ndarray, "conversation feature_set place"],
) -> list[dict[str, Any]]:
    return [
        {
            "conversation_id": conversation.id,
            "expected": conversation.expected,
            "kind": kind_of(conversation),
            "dose": dose_of(conversation),
            "emotion": one.name,
            "sae": one.dictionary.name,
            "feature_idx": list(one.feature_idx),
            **dict(zip(PLACES, values[row, column].tolist(), strict=True)),
        }
        for row, conversation in enumerate(conversations)
        for column, one in enumerate(features)
    ]


def kind_of(conversation: Conversation) -> str:
    """What sort of conversation it is; the expected emotion where the file does not say."""
    return str(conversation.extra.get("kind") or conversation.expected)


def dose_of(conversation: Conversation) -> float | None:
    """The rung of a ladder that it stands on; None off any ladder. Refused: a dose that is no number."""
    dose = conversation.extra.get("dose")
    if dose is None:
        return None
    if isinstance(dose, bool) or not isinstance(dose, (int, float)):
        raise UserError(f"conversation {conversation.id}: field 'dose' is {dose!r}: give a number")
    return float(dose)


def _tabulate_replies(
    conversations: Sequence[Conversation], replies: Sequence[Generation], emotions: Collection[str]
) -> pa.Table:
    rows = [
        {
            "conversation_id": conversation.id,
            "expected": conversation.expected,
            "kind": kind_of(conversation),
            "dose": dose_of(conversation),
            "text": conversation.text,
            "reply": reply.text,
            "finished": reply.stopped,
            "emotional": emotional_wording(reply.text, emotions),
        }
        for conversation, reply in zip(conversations, replies, strict=True)
    ]
    texts = ("conversation_id", "expected", "kind", "text", "reply")
    return make_table(rows, texts=texts, numbers=("dose",), flags=("finished", "emotional"))


def rank_emotions(reads: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Per kind and place the emotions in order of their standardised mean, and where the expected one stands.

    Every emotion is standardised over all conversations, so that a feature that is always loud does not come first;
    one that never changes stands at 0. A kind with several expected emotions (a ladder) has one row for each.
    """
    rows = []
    for place in PLACES:
        scores = _standardize(reads, place)
        for kind, expected in sorted({(row["kind"], row["expected"]) for row in reads}):
            members = {row["conversation_id"] for row in reads if (row["kind"], row["expected"]) == (kind, expected)}
            means = _average_by_emotion(scores, members)
            order = sorted(means, key=lambda emotion: -means[emotion])
            rows.append(
                {
                    "kind": kind,
                    "expected": expected,
                    "place": place,
                    "n": len(members),
                    "first": order[0] if order else None,
                    "order": order,
                    "score": means.get(expected),
                    "score_first": means[order[0]] if order else None,
                    "rank": order.index(expected) + 1 if expected in order else None,
                }
            )
    return make_table(
        rows,
        texts=("kind", "expected", "place", "first", "order[]"),
        numbers=("score", "score_first"),
        counts=("n", "rank"),
    )


def _average_by_emotion(scores: Mapping[tuple[str, str], float], members: Collection[str]) -> dict[str, float]:
    """Mean score of each emotion over some conversations; one that was read in none of them is left out."""
    found: dict[str, list[float]] = {}
    for (conversation_id, emotion), score in sorted(scores.items()):
        if conversation_id in members and not math.isnan(score):
            found.setdefault(emotion, []).append(score)
    return {emotion: float(np.mean(values)) for emotion, values in found.items()}


def _standardize(reads: Sequence[Mapping[str, Any]], place: str) -> dict[tuple[str, str], float]:
    """Each read in standard deviations from its emotion's mean over all conversations, by conversation and emotion."""
    scores: dict[tuple[str, str], float] = {}
    for emotion in {row["emotion"] for row in reads}:
        rows = [row for row in reads if row["emotion"] == emotion]
        values = np.array([row[place] for row in rows])
        spread = float(np.nanstd(values)) if not np.isnan(values).all() else 0.0
        for row, value in zip(rows, values, strict=True):
            centred = value - np.nanmean(values) if not math.isnan(value) else math.nan
            scores[row["conversation_id"], emotion] = centred / spread if spread > 0 else centred * 0
    return scores


def correlate_doses(reads: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Spearman's correlation of every emotion's reads with the dose, per kind of ladder and place, with interval."""
    rungs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in reads:
        if row["dose"] is not None:
            rungs.setdefault((row["kind"], row["emotion"]), []).append(row)
    rows = []
    for (kind, emotion), ladder in sorted(rungs.items()):
        for place in PLACES:
            read = [row for row in ladder if not math.isnan(row[place])]
            found = _correlate([row["dose"] for row in read], [row[place] for row in read])
            rows.append(
                {
                    "kind": kind,
                    "emotion": emotion,
                    "place": place,
                    "n": len(read),
                    "n_doses": len({row["dose"] for row in read}),
                    "spearman": found.estimate,
                    "spearman_lo": found.lo,
                    "spearman_hi": found.hi,
                    "p": found.p,
                }
            )
    numbers = ("spearman", "spearman_lo", "spearman_hi", "p")
    return make_table(rows, texts=("kind", "emotion", "place"), numbers=numbers, counts=("n", "n_doses"))


def _correlate(doses: Sequence[float], values: Sequence[float]) -> Interval:
    return spearman_interval(np.array(doses, dtype=np.float64), np.array(values, dtype=np.float64))
