"""Tokens and money: what was used, and what will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emosae.stories.generate.cells import Cell, batch_cells
from emosae.stories.generate.prompts import write_messages
from emosae.stories.generate.settings import CallSettings, GenerateSettings

_CHARACTERS_PER_TOKEN = 4.0
_TOKENS_PER_WORD = 1.4
_TOKENS_PER_ENTRY = 14


@dataclass(frozen=True, slots=True)
class Spend:
    """Calls and tokens."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def cost(self, settings: CallSettings) -> float | None:
        """Price at the given prices per million tokens; None unless both are given."""
        if settings.price_in is None or settings.price_out is None:
            return None
        return (self.tokens_in * settings.price_in + self.tokens_out * settings.price_out) / 1e6

    def format(self, settings: CallSettings) -> str:
        """One line."""
        cost = self.cost(settings)
        price = "give --price-in and --price-out for the cost" if cost is None else f"cost {cost:.2f}"
        return f"{self.calls} calls, {self.tokens_in} prompt tokens, {self.tokens_out} answer tokens, {price}"


def estimate_spend(
    cells: Sequence[Cell], done: Sequence[str], emotions: Sequence[str], settings: GenerateSettings
) -> Spend:
    """What the missing cells would take if no story were refused and no call failed.

    Tokens are guessed from characters (four to a token) and words (1.4 tokens each, at the middle of the allowed
    length); expect a fifth more or less, and more again for refused stories.
    """
    words = (settings.min_words + settings.max_words) / 2
    total = Spend()
    for batch in batch_cells(cells, frozenset(done), settings.per_call):
        prompt = sum(len(message["content"]) for message in write_messages(batch, emotions, settings, {}))
        answer = len(batch) * (words * _TOKENS_PER_WORD + _TOKENS_PER_ENTRY)
        total += Spend(1, round(prompt / _CHARACTERS_PER_TOKEN), round(answer))
    return total
