"""What a model holds of the texts that it read, kept from one turn of a conversation to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from emosae.hooks import Prompt

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


def encode_prompt(prompt: Prompt) -> bytes:
    """Ids, flags and label, eight bytes for each token, so that a text's beginning is its code's beginning."""
    ids, *flags = (np.array(v, dtype=np.int64) for v in (prompt.ids, prompt.flags, prompt.assistant_flags))
    return ((prompt.label << 40) + 4 * ids + 2 * flags[0] + flags[1]).tobytes()
