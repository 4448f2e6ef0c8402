"""What a file says of a conversation beside its text: its kind and variant, its item, its rung, what should rise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.errors import UserError
from emosae.stories import Conversation

_LADDER = "ladder"


def set_of(conversation: Conversation) -> str:
    """The set that it belongs to: `kind`, or what a ladder is about; the expected emotion where neither is given."""
    kind = str(conversation.extra.get("kind") or conversation.expected)
    about = str(conversation.extra.get(_LADDER) or "")
    return f"{about.rpartition('/')[0] or about} {_LADDER}" if kind == _LADDER and about else kind


def variant_of(conversation: Conversation) -> str:
    """Which of the set's matched variants it is; empty where the set has none."""
    return str(conversation.extra.get("variant") or "")


def kind_of(conversation: Conversation) -> str:
    """What sort of conversation it is: its set, and its variant if it has one."""
    return ", ".join(filter(None, (set_of(conversation), variant_of(conversation))))


def dose_of(conversation: Conversation) -> float | None:
    """The rung of a ladder that it stands on (`dose`, or `quantity`); None off any ladder. Refused: no number."""
    name = "dose" if conversation.extra.get("dose") is not None else "quantity"
    dose = conversation.extra.get(name)
    if dose is None:
        return None
    if isinstance(dose, bool) or not isinstance(dose, (int, float)):
        raise UserError(f"conversation {conversation.id}: field {name!r} is {dose!r}: give a number")
    return float(dose)


def ladder_of(conversation: Conversation) -> str:
    """The ladder that it is a rung of, one wording in many doses; empty off any ladder.

    A rung of no named ladder stands on the one of its kind.
    """
    if dose_of(conversation) is None:
        return ""
    return str(conversation.extra.get(_LADDER) or kind_of(conversation))


def item_of(conversation: Conversation) -> str:
    """What it shares its wording with: its ladder, the matched variants of one item, or nothing but itself.

    Matched variants have the same `item`, or ids that differ in the variant only.
    """
    named = conversation.extra.get("item")
    if named:
        return f"{set_of(conversation)}/{named}"
    variant = variant_of(conversation)
    if ladder := ladder_of(conversation):
        return ladder
    parts = [part for part in conversation.id.split("/") if part != variant]
    return "/".join(parts) if variant else conversation.id


def direction_of(conversation: Conversation, emotion: str) -> float | None:
    """Whether an emotion should rise (1) or fall (-1) with the dose; None where the file does not say.

    Refused: `directions` that are no table, or that hold anything but 1 and -1.
    """
    directions = conversation.extra.get("directions")
    if directions is None:
        return None
    if not isinstance(directions, Mapping):
        raise UserError(
            f"conversation {conversation.id}: field 'directions' is {directions!r}: give emotions with 1 or -1"
        )
    direction = directions.get(emotion)
    if direction is None:
        return None
    if direction not in (1, -1):
        raise UserError(f"conversation {conversation.id}: direction of {emotion!r} is {direction!r}: give 1 or -1")
    return float(direction)


DESCRIBED = ("conversation_id", "expected", "kind", "set", "variant", "item", "ladder")
"""The columns of `describe` that hold text."""


def describe(conversation: Conversation) -> dict[str, Any]:
    """What the file says of a conversation, as the columns that all tables share."""
    return {
        "conversation_id": conversation.id,
        "expected": conversation.expected,
        "kind": kind_of(conversation),
        "set": set_of(conversation),
        "variant": variant_of(conversation),
        "item": item_of(conversation),
        "ladder": ladder_of(conversation),
        "dose": dose_of(conversation),
    }
