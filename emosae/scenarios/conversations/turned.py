"""Dials turned while the model answers: what becomes of warnings and of tone, against a decoy turned the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from emosae.generation import Generation, Prompt
from emosae.interventions import edit_fns
from emosae.lm import LanguageModel, read_logits
from emosae.scenarios.conditions import NONE, Condition, FeatureSet, Role, up_arm
from emosae.scenarios.conversations.caution import gives_warning
from emosae.scenarios.conversations.facts import DESCRIBED, describe, item_of
from emosae.scenarios.conversations.reading import open_turn, write_replies
from emosae.scenarios.conversations.tone import ToneGrader
from emosae.scenarios.statistics import Interval, adjust_holm, clustered_mean
from emosae.scenarios.tables import make_table
from emosae.stories import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

EXPECTED, FOIL = "expected", "foil"
GROUPS = (EXPECTED, FOIL)
"""Conversations that expect the dial's emotion, and matched ones of the same items that expect another."""
MOST_TURNED = 48
OUTCOMES = ("warned", "toned", "finished", "surprise")
_JUDGED = ("warned", "toned")
_KEYS = ("target", "group", "condition", "dial", "role")
Outcomes = Mapping[tuple[str, int], float]


def choose_turned(conversations: Sequence[Conversation], emotion: str) -> dict[str, list[Conversation]]:
    """By group the conversations in which an emotion's dial is turned: at most MOST_TURNED, evenly over the file."""
    own = [one for one in conversations if one.expected == emotion]
    items = {item_of(one) for one in own}
    foils = [one for one in conversations if one.expected != emotion and item_of(one) in items]
    return {group: _thin(members) for group, members in ((EXPECTED, own), (FOIL, foils))}


def _thin(members: list[Conversation]) -> list[Conversation]:
    if len(members) <= MOST_TURNED:
        return members
    return [members[at] for at in np.linspace(0, len(members) - 1, MOST_TURNED).round().astype(int).tolist()]


def list_arms(target: FeatureSet, decoys: Sequence[FeatureSet], doses: Mapping[str, float]) -> list[Condition]:
    """Nothing; the target's dial up, down and off; each decoy up and down; each at its own dose."""
    dose = doses[target.name]
    arms = [NONE, up_arm(target, dose, "target"), _down(target, dose, "target")]
    arms.append(Condition("off", target.name, "sae", 0.0, True, "target", (target.off(),)))
    for decoy in decoys:
        if decoy.name != target.name:
            dose = doses[decoy.name]
            arms += [up_arm(decoy, dose, "decoy"), _down(decoy, dose, "decoy")]
    return arms


def _down(features: FeatureSet, dose: float, role: Role) -> Condition:
    return Condition("down", features.name, "sae", dose, True, role, (features.down(dose),))


def turn_dials(
    lm: LanguageModel,
    conversations: Sequence[Conversation],
    targets: Sequence[FeatureSet],
    decoys: Sequence[FeatureSet],
    grader: ToneGrader,
    *,
    doses: Mapping[str, float],
    seed: int = 0,
    n_replies: int = 1,
    marker: str = "",
    max_new_tokens: int = 160,
    batch_size: int = 256,
) -> pa.Table:
    """Let the model answer with a dial turned in every token that it writes; a row per reply.

    Replies to the same conversation with the same number are drawn with the same random numbers in every arm.

    Args:
        lm: The model.
        conversations: Those of a target are chosen among them, see `choose_turned`.
        targets: Dials of the emotions that are in question.
        decoys: Dials that should do nothing here.
        grader: Names the tone of what is said.
        doses: Added norm over the mean residual norm, by emotion.
        seed: Start of the randomness.
        n_replies: Replies to each conversation in each arm.
        marker: Text behind which what is said begins; what stands before it is thought. Empty: all is said.
        max_new_tokens: Longest reply.
        batch_size: Replies that are written together.

    Returns:
        `warned`: whether what is said warns; `tone` of what is said and whether it is the target's (`toned`);
        `finished`: whether the model ended the reply itself; `surprise`: nats per token of the whole reply under the
        model as it is, higher where the text falls apart.
    """
    rows: list[dict[str, Any]] = []
    for target in targets:
        groups = choose_turned(conversations, target.name)
        asked = [(group, one) for group in GROUPS for one in groups[group]]
        for arm in list_arms(target, decoys, doses) if groups[EXPECTED] else ():
            for number in range(n_replies):
                replies = write_replies(
                    lm,
                    [one for _, one in asked],
                    seed=seed,
                    number=number,
                    max_new_tokens=max_new_tokens,
                    edits=edit_fns(arm.interventions),
                    batch_size=batch_size,
                )
                known = {"target": target.name, "number": number, **_describe_arm(arm)}
                rows += [known | row for row in _grade(lm, asked, replies, grader, marker, target.name)]
    texts = (*DESCRIBED, *_KEYS, "reply", "tone")
    flags = ("warned", "toned", "finished")
    return make_table(rows, texts=texts, numbers=("dose", "turned", "surprise"), counts=("number",), flags=flags)


def _describe_arm(arm: Condition) -> dict[str, Any]:
    return {"condition": arm.condition, "dial": arm.dial, "role": arm.role, "turned": arm.dose}


def _grade(
    lm: LanguageModel,
    asked: Sequence[tuple[str, Conversation]],
    replies: Sequence[Generation],
    grader: ToneGrader,
    marker: str,
    emotion: str,
) -> list[dict[str, Any]]:
    said = [take_said(reply.text, marker) for reply in replies]
    tones = grader.grade(said)
    surprise = measure_surprise(lm, [open_turn(lm, one) for _, one in asked], replies)
    return [
        {
            **describe(conversation),
            "group": group,
            "reply": reply.text,
            "warned": gives_warning(spoken),
            "tone": tone,
            "toned": tone == emotion,
            "finished": reply.stopped,
            "surprise": nats,
        }
        for (group, conversation), reply, spoken, tone, nats in zip(
            asked, replies, said, tones, surprise.tolist(), strict=True
        )
    ]


def take_said(text: str, marker: str) -> str:
    """What stands behind the last marker; nothing where a marker is due and there is none."""
    return text.rpartition(marker)[2].strip() if marker and marker in text else "" if marker else text.strip()


def measure_surprise(
    lm: LanguageModel, prompts: Sequence[Prompt], replies: Sequence[Generation]
) -> Float[np.ndarray, " reply"]:
    """Mean nats per token of each reply under the model as it is, the token that ends it included."""
    wholes = [prompt.then(reply.ids, ()) for prompt, reply in zip(prompts, replies, strict=True)]
    found = np.zeros(len(wholes))
    for index, logits in read_logits(lm, wholes):
        start = len(prompts[index])
        written = torch.tensor(wholes[index].ids[start:], device=logits.device)
        log_p = torch.log_softmax(logits[start - 1 : -1], dim=-1).gather(1, written[:, None])
        found[index] = -float(log_p.double().mean())
    return found


def summarize_turned(replies: pa.Table) -> pa.Table:
    """A row per target, group, arm and outcome.

    `value` is the share of replies (of `surprise` the mean, in nats per token) with an interval clustered by item;
    `delta` its paired difference from the arm in which nothing is done; `gap` the paired difference of a target's arm
    from the first decoy turned the same way (null for `off`, which has no such decoy). Holm's correction is over the
    target's arms for warnings and tone.
    """
    arms: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in replies.to_pylist():
        arms.setdefault(tuple(row[name] for name in _KEYS), []).append(row)
    rows = []
    for key, members in arms.items():
        facts = dict(zip(_KEYS, key, strict=True)) | {"turned": members[0]["turned"]}
        for outcome in OUTCOMES:
            own = _outcomes(members, outcome)
            row = {**facts, "outcome": outcome, "n": len(own), **_name("value", _clip(_average(own, members), outcome))}
            row["n_items"] = len({member["item"] for member in members})
            rows.append(row | _compare(facts, own, arms, outcome))
    planned = [row for row in rows if row["role"] == "target" and row["outcome"] in _JUDGED]
    for row, adjusted in zip(planned, adjust_holm([row["p"] for row in planned]), strict=True):
        row["p_holm"] = adjusted
    numbers = [f"{name}{end}" for name in ("value", "delta", "gap") for end in ("", "_lo", "_hi")]
    texts, counts = (*_KEYS, "outcome"), ("n", "n_items")
    return make_table(rows, texts=texts, numbers=("turned", *numbers, "p", "p_holm"), counts=counts)


def _outcomes(members: Sequence[Mapping[str, Any]], outcome: str) -> dict[tuple[str, int], float]:
    return {(row["conversation_id"], row["number"]): float(row[outcome]) for row in members}


def _items(members: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {row["conversation_id"]: row["item"] for row in members}


def _average(values: Outcomes, members: Sequence[Mapping[str, Any]]) -> Interval:
    item = _items(members)
    table = np.array(list(values.values()))
    clusters: Shaped[np.ndarray, " reply"] = np.array([item[name] for name, _ in values])
    return clustered_mean(table, clusters, bound=max(1.0, float(np.abs(table).max())))


def _clip(found: Interval, outcome: str) -> Interval:
    """A share's interval ends at 0 and 1; surprise is no share."""
    return found if outcome == "surprise" else Interval(found.estimate, max(0.0, found.lo), min(1.0, found.hi))


def _compare(
    facts: Mapping[str, Any],
    own: Outcomes,
    arms: Mapping[tuple[str, ...], Sequence[Mapping[str, Any]]],
    outcome: str,
) -> dict[str, Any]:
    """Paired differences from nothing and, for a target's arm, from the first decoy that is turned the same way."""
    row: dict[str, Any] = {"p": None, "p_holm": None}
    for name, role, condition in (("delta", "none", "none"), ("gap", "decoy", facts["condition"])):
        other = next(
            (
                m
                for key, m in arms.items()
                if key[:3] == (facts["target"], facts["group"], condition) and key[4] == role
            ),
            None,
        )
        if other is None or facts["role"] == "none" or (name == "gap" and facts["role"] != "target"):
            continue
        theirs = _outcomes(other, outcome)
        found = _average({key: value - theirs[key] for key, value in own.items() if key in theirs}, other)
        row |= _name(name, found)
        if name == "delta":
            row["p"] = found.p
    return row


def _name(name: str, found: Interval) -> dict[str, float]:
    return {name: found.estimate, f"{name}_lo": found.lo, f"{name}_hi": found.hi}
