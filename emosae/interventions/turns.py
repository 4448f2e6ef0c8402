"""Conversations that were written before, with the assistant's turns marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emosae.errors import UserError
from emosae.lm import LanguageModel
from emosae.prompts import Prompt


def mark_turns(lm: LanguageModel, messages: Sequence[Mapping[str, str]], *, open_turn: bool = True) -> Prompt:
    """A conversation as the chat template writes it, in which the assistant's turns are known.

    A turn begins behind the tokens that open it and ends with those that close it.

    Args:
        lm: The model.
        messages: Dictionaries with `role` and `content`.
        open_turn: End with the tokens that open the assistant's next turn.

    Refused: a template that writes a conversation's beginning in another way once it goes on.
    """
    whole = lm.chat(messages, open_turn=open_turn)
    flags = [False] * len(whole)
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        opened, closed = lm.chat(messages[:number], open_turn=True), lm.chat(messages[: number + 1], open_turn=False)
        if whole[: len(closed)] != closed or closed[: len(opened)] != opened:
            raise UserError(
                f"the chat template of {lm.name} rewrites earlier messages, so turn {number + 1} cannot be found in it"
            )
        flags[len(opened) : len(closed)] = [True] * (len(closed) - len(opened))
    return Prompt(tuple(whole), assistant=tuple(flags))
