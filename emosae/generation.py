"""Going on from prompts: batched, with a KV cache, each row with its own randomness and its own end.

What a row becomes does not depend on the rows beside it, on the size of a batch, or on whether a cache is used: tokens
are drawn by inverting the distribution at one uniform number per token, which the row's own generator gives. Only a
number within float noise (about 1e-6) of a boundary between two tokens can fall on the other side of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from emosae.errors import UserError
from emosae.hooks import NO_EDITS, EditFn, Prompt, as_prompts
from emosae.lm import LanguageModel
from emosae.sampling import StopRule
from emosae.writing import Generation, Request, Writer

__all__ = ["Generation", "Prompt", "generate"]


def generate(
    lm: LanguageModel,
    prompts: Sequence[Prompt | Sequence[int]],
    *,
    max_new_tokens: int,
    rngs: Sequence[np.random.Generator],
    stop_ids: Collection[int] | None = None,
    stop_text: Sequence[str] = (),
    temperature: float = 1.0,
    edits: Mapping[str, EditFn] = NO_EDITS,
    batch_size: int = 256,
    use_cache: bool = True,
    progress: Callable[[int], object] | None = None,
) -> list[Generation]:
    """Go on from each prompt until a stop, `max_new_tokens`, or the end of the model's context.

    Args:
        lm: The model.
        prompts: What to go on from; as `Prompt` where edits ask what an earlier turn generated.
        max_new_tokens: Most tokens to write.
        rngs: A generator for each prompt. Each gives `max_new_tokens` numbers, however many are used, so that the
            draws of a later turn do not depend on the length of an earlier one.
        stop_ids: Tokens that end a row; the model's own (`lm.stop_ids`) if None.
        stop_text: Texts that end a row as soon as what was written contains one.
        temperature: Divides the logits; 0 takes the most probable token.
        edits: What to do to the residual stream, by hook name.
        batch_size: Most rows at a time.
        use_cache: False reads the whole text anew for each token; the result is the same.
        progress: Called with the number of rows that ended since the last call.

    Refused: empty prompts, and prompts that leave no room for a token.
    """
    found = as_prompts(lm, prompts)
    _refuse_misuse(lm, found, rngs, temperature)
    stops = StopRule(lm, lm.stop_ids if stop_ids is None else stop_ids, stop_text)
    writer = Writer(lm, edits, temperature=temperature, batch_size=batch_size, use_cache=use_cache)
    for index, (prompt, rng) in enumerate(zip(found, rngs, strict=True)):
        writer.add(Request(index, prompt, rng.random(max_new_tokens), stops))
    results: dict[int, Generation] = {}
    while not writer.is_idle:
        ended = writer.step()
        results |= {one.key: one.generation for one in ended}
        if progress is not None and ended:
            progress(len(ended))
    return [results[index] for index in range(len(found))]


def _refuse_misuse(
    lm: LanguageModel, prompts: list[Prompt], rngs: Sequence[np.random.Generator], temperature: float
) -> None:
    if len(rngs) != len(prompts) or temperature < 0:
        raise ValueError(f"{len(prompts)} prompts, {len(rngs)} generators, temperature {temperature}")
    full = [index for index, prompt in enumerate(prompts) if len(prompt) >= lm.context]
    if full:
        raise UserError(f"prompts that fill the {lm.context} tokens that {lm.name} can read: {full[:10]}")
