"""Conversations that are gone on with turn by turn from what the model holds of them, as episodes are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from emosae.hooks import EditFn, Prompt
from emosae.lm import LanguageModel
from emosae.sampling import StopRule
from emosae.turn_memory import KeptRow
from emosae.writing import Generation, Request, Writer


def write_turn(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    pasts: Sequence[KeptRow | None],
    *,
    max_new_tokens: int,
    rngs: Sequence[np.random.Generator],
    edits: Mapping[str, EditFn],
    stop_ids: Collection[int] = (),
    batch_size: int = 256,
) -> tuple[list[Generation], list[KeptRow | None]]:
    """What is written next in each, and what is then held of it; a past that does not open its prompt is left aside."""
    writer, stops = Writer(lm, edits, batch_size=batch_size), StopRule(lm, stop_ids, ())
    for at, (prompt, past, rng) in enumerate(zip(prompts, pasts, rngs, strict=True)):
        fits = past if past is not None and past.opens(prompt) else None
        writer.add(Request(at, prompt, rng.random(max_new_tokens), stops, fits, keeps=True))
    found = {}
    while not writer.is_idle:
        found |= {one.key: (one.generation, one.kept) for one in writer.step()}
    rows = [found[at] for at in range(len(prompts))]
    return [row for row, _ in rows], [kept for _, kept in rows]
