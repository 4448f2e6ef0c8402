"""Where an intervention acts: who wrote a token, in which turn, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emosae.axes import PositionMask
from emosae.errors import UserError
from emosae.prompts import TokenMarks

Writer = Literal["all", "prompt", "generated", "assistant"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens for which every condition holds. Padding is never one of them.

    Attributes:
        of: `all`; `prompt`, those that were given to the model; `generated`, those that it wrote, now or in an earlier
            turn; `assistant`, those in turns of the assistant, which it wrote or which were put into its mouth.
        from_turn: The assistant's turn, counted from 1, with whose first token it begins; what it is told after that
            counts too, unless `of` says otherwise. 0: from the beginning of the text.
        span: First token and the one after the last, counted from 0 over the real tokens of a text, BOS included; None
            as the end: all that follow.
    """

    of: Writer = "all"
    from_turn: int = 0
    span: tuple[int, int | None] = (0, None)

    def __post_init__(self) -> None:
        start, stop = self.span
        if start < 0 or (stop is not None and stop <= start):
            raise UserError(f"tokens {start} to {stop}: a span counts from 0 and ends behind its start")
        if self.from_turn < 0:
            raise UserError(f"turn {self.from_turn}: turns of the assistant count from 1, 0 is the text's beginning")


Where = Writer | Tokens


def choose_tokens(where: Where, marks: TokenMarks) -> PositionMask:
    """The positions of a batch at which an intervention acts."""
    rule = where if isinstance(where, Tokens) else Tokens(where)
    chosen = marks.is_real
    if rule.of == "assistant":
        chosen = chosen & marks.is_assistant
    elif rule.of != "all":
        chosen = chosen & (marks.is_generated if rule.of == "generated" else ~marks.is_generated)
    if rule.from_turn > 0:
        chosen = chosen & (marks.turn >= rule.from_turn)
    start, stop = rule.span
    if start > 0:
        chosen = chosen & (marks.position >= start)
    if stop is not None:
        chosen = chosen & (marks.position < stop)
    return chosen
