"""Going on from prompts: batched, with a KV cache, each row with its own randomness and its own end.

What a row becomes does not depend on the rows beside it, on the size of a batch, or on whether a cache is used: tokens
are drawn by inverting the distribution at one uniform number per token, which the row's own generator gives. Only a
number within float noise (about 1e-6) of a boundary between two tokens can fall on the other side of it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from emosae.errors import UserError
from emosae.hooks import NO_EDITS, EditFn, Prompt, ResidHooks, as_prompts, at_least_float32
from emosae.lm import LanguageModel, next_logits
from emosae.turn_memory import KeptRow, TurnMemory

KEEP_SHARE = 0.9  # rows that ended leave the batch once at most this share is still being written


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model wrote.

    Attributes:
        ids: Every token, the one that ended it included.
        text: The text, without the token or from the stop text on that ended it.
        stopped: Whether a stop ended it, and not a limit.
    """

    ids: tuple[int, ...]
    text: str
    stopped: bool


@runtime_checkable
class Rows(Protocol):
    """Rows that are written token by token."""

    logits: Tensor

    def step(self, tokens: Int[Tensor, " row"], /) -> Float[Tensor, "row d_vocab"]:
        """Write one token in each row; logits of the one after it."""
        ...

    def keep(self, rows: Int[Tensor, " row"], /) -> None:
        """Keep these rows, in this order."""
        ...

    def copy_row(self, row: int, read: Sequence[int], /) -> KeptRow | None:
        """What is held of a row whose tokens `read` have been read since the start, if anything is."""
        ...


class RecomputedRows:
    """Rows that are read anew for each token: slow, and right for every causal model."""

    def __init__(self, lm: LanguageModel, edits: Mapping[str, EditFn], prompts: Sequence[Prompt]) -> None:
        self._lm, self._edits, self._prompts = lm, edits, list(prompts)
        self.logits = next_logits(lm, self._prompts, edits=edits)

    def step(self, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row d_vocab"]:
        """Write one token in each row; logits of the one after it."""
        pairs = zip(self._prompts, tokens.tolist(), strict=True)
        self._prompts = [prompt.then([token], ()) for prompt, token in pairs]
        return next_logits(self._lm, self._prompts, edits=self._edits)

    def keep(self, rows: Int[Tensor, " row"]) -> None:
        """Keep these rows, in this order."""
        self._prompts = [self._prompts[row] for row in rows.tolist()]

    def copy_row(self, row: int, read: Sequence[int]) -> None:
        """Nothing is held."""


class StopRule:
    """When a row ends: at a stop id, or when what was written contains a stop text."""

    def __init__(self, lm: LanguageModel, stop_ids: Collection[int], stop_text: Sequence[str]) -> None:
        self._lm, self._stop_text, self._stop_ids = lm, tuple(stop_text), frozenset(stop_ids)
        self._ids = torch.tensor(sorted(stop_ids), dtype=torch.long, device=lm.device)
        self._last_chars = {text[-1] for text in stop_text}
        self._closes: dict[int, bool] = {}

    def ends(self, written: Int[Tensor, "row step"]) -> Bool[Tensor, " row"]:
        """Which rows end with their last token."""
        ended = torch.isin(written[:, -1], self._ids)
        if self._stop_text:
            for row, token in enumerate(written[:, -1].tolist()):
                if self._may_close(token) and self._contains_stop(written[row].tolist()):
                    ended[row] = True
        return ended

    def _may_close(self, token: int) -> bool:
        """Whether a stop text can end inside this token: it holds such a last character, or a part of one."""
        if token not in self._closes:
            piece = self._lm.decode([token])
            unclear = "\ufffd" in piece or not piece or " " in self._last_chars  # a lone space may be stripped
            self._closes[token] = unclear or any(char in piece for char in self._last_chars)
        return self._closes[token]

    def _contains_stop(self, ids: list[int]) -> bool:
        text = self._lm.decode(ids)
        return any(stop in text for stop in self._stop_text)

    def cut(self, ids: Sequence[int]) -> str:
        """A row's text without what ended it."""
        text = self._lm.decode(ids[:-1] if ids[-1] in self._stop_ids else ids)
        return text[: min((text.find(stop) for stop in self._stop_text if stop in text), default=len(text))]


def choose_tokens(
    logits: Float[Tensor, "row d_vocab"], uniforms: Float[Tensor, " row"], temperature: float
) -> Int[Tensor, " row"]:
    """Invert each row's distribution function, ids in order, at its uniform number; temperature 0: the largest logit.

    The function is summed up over blocks of the vocabulary and then inside one block, which is faster and changes
    nothing. Never chooses a token of probability 0. Refused: logits that are not numbers.
    """
    top = logits.amax(dim=1, keepdim=True)
    if not top.isfinite().all():
        raise UserError("the model's logits are not finite: run it in float32, or with smaller edits")
    if temperature == 0:
        return logits.argmax(dim=1)
    weights = torch.exp((logits - top) / temperature)
    size = math.isqrt(weights.shape[1] - 1) + 1
    blocks = rearrange(
        functional.pad(weights, (0, -weights.shape[1] % size)), "row (block id) -> row block id", id=size
    )
    below = functional.pad(blocks.sum(dim=2).double().cumsum(dim=1), (1, 0))
    target = uniforms[:, None].double() * below[:, -1:]
    block = torch.searchsorted(below, target, right=True) - 1
    floor, ceiling = below.gather(1, block), below.gather(1, block + 1)
    share = ((target - floor) / (ceiling - floor)).clamp(max=1 - 2**-53)  # of the block's weight, below 1
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]].double().cumsum(dim=1)
    return (block * size + torch.searchsorted(inside, share * inside[:, -1:], right=True))[:, 0]


@torch.inference_mode()
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
    memory: TurnMemory | None = None,
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
        memory: Keeps keys and values for the next turn of the same conversations.
        progress: Called with the number of rows that ended since the last call.

    Refused: empty prompts, and prompts that leave no room for a token.
    """
    found = as_prompts(lm, prompts)
    _refuse_misuse(lm, found, rngs, temperature, edits, memory)
    stops = StopRule(lm, lm.stop_ids if stop_ids is None else stop_ids, stop_text)
    uniforms = torch.from_numpy(np.array([rng.random(max_new_tokens) for rng in rngs])).to(lm.device)
    open_rows = _row_opener(lm, edits, use_cache)
    order = sorted(range(len(found)), key=lambda index: len(found[index]))
    results: dict[int, Generation] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        texts = [found[index] for index in batch]
        limits = torch.tensor([min(max_new_tokens, lm.context - len(text)) for text in texts], device=lm.device)
        rows = open_rows(texts, max_new_tokens, memory)
        written = _write(rows, uniforms[batch], limits, temperature, stops, memory)
        for index, (ids, stopped) in zip(batch, written, strict=True):
            results[index] = Generation(tuple(ids), stops.cut(ids), stopped)
        if progress is not None:
            progress(len(batch))
    if memory is not None:
        memory.end_turn()
    return [results[index] for index in range(len(found))]


def _refuse_misuse(
    lm: LanguageModel,
    prompts: list[Prompt],
    rngs: Sequence[np.random.Generator],
    temperature: float,
    edits: Mapping[str, EditFn],
    memory: TurnMemory | None,
) -> None:
    if len(rngs) != len(prompts) or temperature < 0:
        raise ValueError(f"{len(prompts)} prompts, {len(rngs)} generators, temperature {temperature}")
    if memory is not None and (memory.lm is not lm or memory.edits is not edits):
        raise ValueError("the memory was made for another model or other edits")
    full = [index for index, prompt in enumerate(prompts) if len(prompt) >= lm.context]
    if full:
        raise UserError(f"prompts that fill the {lm.context} tokens that {lm.name} can read: {full[:10]}")


def _row_opener(
    lm: LanguageModel, edits: Mapping[str, EditFn], use_cache: bool
) -> Callable[[list[Prompt], int, TurnMemory | None], Rows]:
    hooks = ResidHooks(lm, (), edits)  # refuses unknown hooks before anything runs
    if use_cache:
        from emosae.kv_cache import CachedRows, find_windows

        windows = find_windows(lm) if hooks.takes_positions else None
        if windows is not None:
            return lambda prompts, room, memory: CachedRows(lm, hooks, prompts, windows, room, memory)
        warnings.warn(f"{lm.name} holds more than keys and values: it writes without a cache, slowly", stacklevel=3)
    return lambda prompts, room, memory: RecomputedRows(lm, edits, prompts)


def _write(
    rows: Rows,
    uniforms: Float[Tensor, "row step"],
    limits: Int[Tensor, " row"],
    temperature: float,
    stops: StopRule,
    memory: TurnMemory | None,
) -> list[tuple[list[int], bool]]:
    """Write every row to its end; for each its tokens, and whether a stop ended it."""
    written = torch.zeros(len(limits), int(limits.max()), dtype=torch.long, device=limits.device)
    n_written, stopped = limits.clone(), torch.zeros_like(limits, dtype=torch.bool)
    index = torch.arange(len(limits), device=limits.device)  # which text each row of the batch is
    is_open = torch.ones_like(stopped)
    logits = rows.logits
    for step in range(written.shape[1]):
        tokens = choose_tokens(at_least_float32(logits), uniforms[index, step], temperature)
        written[index, step] = tokens
        hit = stops.ends(written[index, : step + 1])
        is_full = limits[index] == step + 1
        ended = is_open & (hit | is_full)
        n_written[index[ended]] = step + 1
        stopped[index[ended]] = hit[ended]
        _remember(rows, memory, ended, written[index, :step])
        is_open &= ~ended
        n_open = int(is_open.sum())
        if n_open == 0:
            break
        if n_open <= KEEP_SHARE * len(index) or is_full.any():  # a full row must not be written on
            kept = _close_gaps(is_open)
            rows.keep(kept)
            index, tokens, is_open = index[kept], tokens[kept], is_open[kept]
        logits = rows.step(tokens)
    ids = [row[:n] for row, n in zip(written.tolist(), n_written.tolist(), strict=True)]
    return list(zip(ids, stopped.tolist(), strict=True))


def _remember(rows: Rows, memory: TurnMemory | None, ended: Tensor, read: Int[Tensor, "row step"]) -> None:
    if memory is None:
        return
    for row in ended.nonzero()[:, 0].tolist():
        kept = rows.copy_row(row, read[row].tolist())
        if kept is not None:
            memory.remember(kept)


def _close_gaps(is_open: Bool[Tensor, " row"]) -> Int[Tensor, " kept"]:
    """The open rows in an order in which few move: those in front stay, those behind fill the gaps."""
    n_open = int(is_open.sum())
    kept = torch.arange(n_open, device=is_open.device)
    kept[~is_open[:n_open]] = is_open[n_open:].nonzero()[:, 0] + n_open
    return kept
