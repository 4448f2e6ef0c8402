"""What a model holds of the texts that it read, kept from one turn of a conversation to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from emosae.hooks import EditFn, Prompt
from emosae.lm import LanguageModel

Tails = list[tuple[Tensor, Tensor]]
"""For each layer the keys and values of one text, "head pos d_head", as far back as a next token can see."""


@dataclass(frozen=True, eq=False, slots=True)
class KeptRow:
    """A text that was read: enough to read on from there.

    Attributes:
        code: The text, see `encode_prompt`.
        n_tokens: Its length.
        tails: Keys and values of each layer.
    """

    code: bytes
    n_tokens: int
    tails: Tails

    def opens(self, prompt: Prompt) -> bool:
        """Whether a prompt begins with this text and goes beyond it."""
        return self.n_tokens < len(prompt) and encode_prompt(prompt).startswith(self.code)


@dataclass(eq=False, slots=True)
class TurnMemory:
    """Spares a model the reading of what it read or wrote in the last turn of the same conversations.

    Holds the rows of the last call to `generate`. A prompt that begins with the whole of one of them, flags included
    (build it with `Prompt.then`), is read on from there. Belongs to one model and one set of edits, because keys and
    values depend on both.
    """

    lm: LanguageModel
    edits: Mapping[str, EditFn]
    _rows: list[KeptRow] = field(default_factory=list)
    _next_rows: list[KeptRow] = field(default_factory=list)

    def find(self, prompt: Prompt) -> KeptRow | None:
        """The longest row that the prompt begins with and goes beyond."""
        code = encode_prompt(prompt)
        fits = [row for row in self._rows if row.n_tokens < len(prompt) and code.startswith(row.code)]
        return max(fits, key=lambda row: row.n_tokens, default=None)

    def remember(self, row: KeptRow) -> None:
        """Keep a row for the next turn."""
        self._next_rows.append(row)

    def end_turn(self) -> None:
        """Forget the last turn's rows; those of this turn take their place."""
        self._rows, self._next_rows = self._next_rows, []


def encode_prompt(prompt: Prompt) -> bytes:
    """Ids, flags and label, eight bytes for each token, so that a text's beginning is its code's beginning."""
    ids, *flags = (np.array(v, dtype=np.int64) for v in (prompt.ids, prompt.flags, prompt.assistant_flags))
    return ((prompt.label << 40) + 4 * ids + 2 * flags[0] + flags[1]).tobytes()
