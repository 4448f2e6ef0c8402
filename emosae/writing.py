"""Writing rows of text token by token: rows that end make room, and rows that wait come in at once.

What a row becomes depends neither on the rows beside it nor on when it comes in, see `generation`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosae.hooks import EditFn, Prompt, ResidHooks, at_least_float32
from emosae.lm import LanguageModel, next_logits
from emosae.sampling import StopRule, choose_tokens
from emosae.turn_memory import KeptRow

KEEP_SHARE = 0.9  # rows that ended leave the batch once at most this share is still being written
REFILL_SHARE = 0.125  # rows come in once as many can as this share of those that are being written


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


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """A text to go on from.

    Attributes:
        key: By which the caller knows it again.
        prompt: The text.
        uniforms: Numbers in [0, 1), one for each token; as many tokens are written at most.
        stops: What ends it.
        past: What is held of a text that the prompt begins with; None if it is to be read whole.
        keeps: Whether to hand back what is held of it when it ends.
    """

    key: int
    prompt: Prompt
    uniforms: Float[np.ndarray, " step"]
    stops: StopRule
    past: KeptRow | None = None
    keeps: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """A text that was gone on from.

    Attributes:
        key: That of its request.
        generation: What was written.
        kept: What is held of all of it but its last token, if that was asked for and anything is.
    """

    key: int
    generation: Generation
    kept: KeptRow | None


@runtime_checkable
class Rows(Protocol):
    """Rows that are written token by token; none at first."""

    def admit(
        self, prompts: Sequence[Prompt], pasts: Sequence[KeptRow | None], room: int, /
    ) -> Float[Tensor, "row d_vocab"]:
        """Put new rows behind those that are there, with room for so many tokens in each; logits behind the new."""
        ...

    def step(self, tokens: Int[Tensor, " row"], /) -> Float[Tensor, "row d_vocab"]:
        """Write one token in each row; logits of the one after it."""
        ...

    def keep(self, rows: Int[Tensor, " row"], /) -> None:
        """Keep these rows, in this order; a row that moves must come from behind the kept ones."""
        ...

    def copy_row(self, row: int, read: Sequence[int], /) -> KeptRow | None:
        """What is held of a row whose tokens `read` have been read since it came in, if anything is."""
        ...


class RecomputedRows:
    """Rows that are read anew for each token: slow, and right for every causal model."""

    def __init__(self, lm: LanguageModel, edits: Mapping[str, EditFn]) -> None:
        self._lm, self._edits = lm, edits
        self._prompts: list[Prompt] = []

    def admit(
        self, prompts: Sequence[Prompt], pasts: Sequence[KeptRow | None], room: int
    ) -> Float[Tensor, "row d_vocab"]:
        """Put new rows behind those that are there; logits behind the new."""
        self._prompts += prompts
        return next_logits(self._lm, list(prompts), edits=self._edits)

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


def open_rows(lm: LanguageModel, edits: Mapping[str, EditFn], use_cache: bool) -> Rows:
    """Rows of a model under edits: with keys and values held, where asked for and the model holds nothing else."""
    hooks = ResidHooks(lm, (), edits)  # refuses unknown hooks before anything runs
    if use_cache:
        from emosae.kv_cache import CachedRows, find_windows

        windows = find_windows(lm) if hooks.takes_positions else None
        if windows is not None:
            return CachedRows(lm, hooks, windows)
        warnings.warn(f"{lm.name} holds more than keys and values: it writes without a cache, slowly", stacklevel=4)
    return RecomputedRows(lm, edits)


@dataclass(eq=False, slots=True)
class _Row:
    """A row of the batch. One that ended may stay in it for a while; then `n_drawn` goes on and `ids` does not."""

    request: Request
    limit: int
    ids: list[int] = field(default_factory=list)
    n_drawn: int = 0
    is_open: bool = True


class Writer:
    """Writes what it is asked to, so many rows at a time, and hands each out when it ends.

    Requests with a past come in first, so that conversations that were begun are ended before others begin; then
    shorter prompts before longer ones, so that there is little padding.

    Args:
        lm: The model.
        edits: What to do to the residual stream, by hook name.
        temperature: Divides the logits; 0 takes the most probable token.
        batch_size: Most rows at a time.
        use_cache: False reads the whole text anew for each token; the result is the same.
    """

    def __init__(
        self,
        lm: LanguageModel,
        edits: Mapping[str, EditFn],
        *,
        temperature: float = 1.0,
        batch_size: int = 256,
        use_cache: bool = True,
    ) -> None:
        self._lm, self._temperature, self._batch_size = lm, temperature, batch_size
        self._held = open_rows(lm, edits, use_cache)
        self._waiting: list[Request] = []
        self._rows: list[_Row] = []
        self._logits = torch.empty(0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written and nothing waits."""
        return not self._waiting and not self._rows

    def add(self, request: Request) -> None:
        """Let a request wait for room."""
        self._waiting.append(request)

    @torch.inference_mode()
    def step(self) -> list[Written]:
        """Let in what there is room for, and write one token in each row; those that ended with it."""
        self._refill()
        if not self._rows:
            return []
        draws = [row.request.uniforms[row.n_drawn] for row in self._rows]
        uniforms = torch.tensor(np.array(draws), device=self._logits.device)
        tokens = choose_tokens(at_least_float32(self._logits), uniforms, self._temperature)
        ended = self._note(tokens.tolist())
        tokens = tokens[self._drop_ended()]
        if self._rows:
            self._logits = self._held.step(tokens)
        return ended

    def _refill(self) -> None:
        n_open = sum(row.is_open for row in self._rows)
        n_new = min(len(self._waiting), self._batch_size - n_open)
        if n_new < max(1, REFILL_SHARE * n_open):
            return
        self._waiting.sort(key=lambda request: (request.past is None, len(request.prompt)))
        new, self._waiting = self._waiting[:n_new], self._waiting[n_new:]
        if n_open < len(self._rows):
            self._logits = self._logits[self._keep_open()]
        for request in new:
            self._rows.append(_Row(request, min(len(request.uniforms), self._lm.context - len(request.prompt))))
        room = max(row.limit - row.n_drawn for row in self._rows)
        logits = self._held.admit([one.prompt for one in new], [one.past for one in new], room)
        self._logits = torch.cat([self._logits, logits]) if n_open else logits

    def _note(self, tokens: list[int]) -> list[Written]:
        """Add a token to each row; those that ended with it."""
        ended = []
        for place, (row, token) in enumerate(zip(self._rows, tokens, strict=True)):
            row.n_drawn += 1
            if not row.is_open:
                continue
            row.ids.append(token)
            stopped = row.request.stops.ends(row.ids)
            if stopped or row.n_drawn == row.limit:
                row.is_open = False
                kept = self._held.copy_row(place, row.ids[:-1]) if row.request.keeps else None
                generation = Generation(tuple(row.ids), row.request.stops.cut(row.ids), stopped)
                ended.append(Written(row.request.key, generation, kept))
        return ended

    def _drop_ended(self) -> Int[Tensor, " kept"]:
        """Let rows that ended leave if they are many, or full, since a full row must not be written on."""
        n_open = sum(row.is_open for row in self._rows)
        if n_open <= KEEP_SHARE * len(self._rows) or any(row.n_drawn == row.limit for row in self._rows):
            return self._keep_open()
        return torch.arange(len(self._rows), device=self._logits.device)

    def _keep_open(self) -> Int[Tensor, " kept"]:
        kept = close_gaps(torch.tensor([row.is_open for row in self._rows], device=self._logits.device))
        self._rows = [self._rows[place] for place in kept.tolist()]
        self._held.keep(kept)
        return kept


def close_gaps(is_open: Bool[Tensor, " row"]) -> Int[Tensor, " kept"]:
    """The open rows in an order in which few move: those in front stay, those behind fill the gaps."""
    n_open = int(is_open.sum())
    kept = torch.arange(n_open, device=is_open.device)
    kept[~is_open[:n_open]] = is_open[n_open:].nonzero()[:, 0] + n_open
    return kept
