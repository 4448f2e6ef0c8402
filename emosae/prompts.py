"""Texts as ids, what is known of each of their tokens beside its id, and texts side by side in a batch.

Padding stands on the right of a batch, where a causal model never looks, so that a text reads the same alone and beside
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from emosae.axes import PositionMask

Flags = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids for a model to read or to go on from.

    Attributes:
        ids: Token ids, special ones included.
        generated: For each id whether an earlier turn of the model wrote it; None if it wrote none of them.
        assistant: For each id whether it stands in a turn of the assistant, whoever wrote that; None if only generated
            ones do, which always count.
        label: A number from 0 to 2^22 - 1 by which edits can tell texts apart.
    """

    ids: tuple[int, ...]
    generated: Flags | None = None
    assistant: Flags | None = None
    label: int = 0

    def __post_init__(self) -> None:
        for flags in (self.generated, self.assistant):
            if flags is not None and len(flags) != len(self.ids):
                raise ValueError(f"a prompt of {len(self.ids)} ids has {len(flags)} flags")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def flags(self) -> Flags:
        """`generated`, spelled out."""
        return (False,) * len(self.ids) if self.generated is None else self.generated

    @property
    def assistant_flags(self) -> Flags:
        """`assistant`, spelled out."""
        given = self.flags if self.assistant is None else self.assistant
        return tuple(a or b for a, b in zip(given, self.flags, strict=True))

    @property
    def turns(self) -> tuple[int, ...]:
        """For each id how many turns of the assistant have begun up to it, its own included; 0 before the first."""
        found, n_begun, was_inside = [], 0, False
        for is_inside in self.assistant_flags:
            n_begun += is_inside and not was_inside
            was_inside = is_inside
            found.append(n_begun)
        return tuple(found)

    @property
    def next_turn(self) -> int:
        """The turn that a token belongs to which the model writes next."""
        last = self.turns[-1] if self.ids else 0
        return last if self.ids and self.assistant_flags[-1] else last + 1

    def then(self, generated_ids: Sequence[int], given_ids: Sequence[int]) -> Prompt:
        """The prompt of the next turn: this one, what the model wrote, and what it was given in reply."""
        added = (*([True] * len(generated_ids)), *([False] * len(given_ids)))
        assistant = None if self.assistant is None else (*self.assistant, *added)
        return Prompt((*self.ids, *generated_ids, *given_ids), (*self.flags, *added), assistant, self.label)

    def until(self, stop: int) -> Prompt:
        """Its first `stop` tokens."""
        flags = (None if flags is None else flags[:stop] for flags in (self.generated, self.assistant))
        return Prompt(self.ids[:stop], *flags, label=self.label)


@dataclass(frozen=True, eq=False, slots=True)
class TokenMarks:
    """What is known of each position of a batch beside its id; of padding only that it is not real.

    Attributes:
        is_real: Whether a token stands there, and not padding.
        is_generated: Whether the model wrote it, now or in an earlier turn.
        is_assistant: Whether it stands in a turn of the assistant.
        turn: Turns of the assistant that have begun up to it, see `Prompt.turns`.
        position: Real tokens of its text before it.
        label: The label of each text, see `Prompt`; None where no text was given one.
    """

    is_real: PositionMask
    is_generated: PositionMask
    is_assistant: PositionMask
    turn: Int[Tensor, "batch pos"]
    position: Int[Tensor, "batch pos"]
    label: Int[Tensor, " batch"] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class PaddedBatch:
    """Texts side by side, filled up on the right with their own last id."""

    ids: Int[Tensor, "batch pos"]
    marks: TokenMarks
    lengths: Int[Tensor, " batch"]

    @property
    def is_real(self) -> PositionMask:
        """Where there is no padding."""
        return self.marks.is_real


def pad_right(prompts: Sequence[Prompt], device: str, starts: Sequence[int] | None = None) -> PaddedBatch:
    """Texts as one batch, each from its token `starts[i]` on: what stands before is known of, but not in the batch."""
    first = [0] * len(prompts) if starts is None else list(starts)
    lengths = [len(prompt) - start for prompt, start in zip(prompts, first, strict=True)]
    width = max(lengths)

    def fill(values: Sequence[Sequence[int]]) -> Tensor:
        cut = [list(row[start:]) for row, start in zip(values, first, strict=True)]
        return torch.tensor([[*row, *row[-1:] * (width - len(row))] for row in cut]).to(device)

    columns = torch.arange(width, device=device)
    n_real = torch.tensor(lengths, device=device)
    is_real = columns < n_real[:, None]
    marks = TokenMarks(
        is_real=is_real,
        is_generated=fill([prompt.flags for prompt in prompts]) & is_real,
        is_assistant=fill([prompt.assistant_flags for prompt in prompts]) & is_real,
        turn=fill([prompt.turns for prompt in prompts]),
        position=torch.tensor(first, device=device)[:, None] + columns,
        label=torch.tensor([prompt.label for prompt in prompts], device=device),
    )
    return PaddedBatch(fill([prompt.ids for prompt in prompts]), marks, n_real)


def pack_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of like length, each of at most `batch_tokens` with its padding, or of one text."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[index] > batch_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches
