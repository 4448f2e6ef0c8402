"""Rows of text that are being written, with the keys and values of what was already read.

Each layer has one buffer that is allocated once and filled from left to right: a step writes one column in place, where
Hugging Face's growing cache copies every column at every step. Rows end at the same column, so padding stands on their
left, masked out, and positions are counted over real tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from emosae.hooks import ResidHooks
from emosae.lm import LanguageModel
from emosae.prompts import Prompt, TokenMarks, pack_by_length, pad_right
from emosae.turn_memory import KeptRow, Tails, encode_prompt

PREFILL_TOKENS = {"cpu": 2048}  # a forward pass over this many tokens stays in a core's cache
PREFILL_TOKENS_ELSEWHERE = 16384


class BufferLayer(CacheLayerMixin):
    """Keys and values of one layer. Column c of the batch is stored at c - offset.

    Args:
        window: Tokens that a query sees, itself included; None for all.
        length: Columns that were read before, padding included.
    """

    is_compileable = False
    is_croppable = False

    def __init__(self, window: int | None, length: int = 0) -> None:
        super().__init__()
        self.window, self.length = window, length
        self.is_sliding = window is not None
        self.offset = self._first_seen()

    def _first_seen(self) -> int:
        return 0 if self.window is None else max(0, self.length - self.window + 1)

    def allocate(self, like: Float[Tensor, "head pos d_head"], rows: int, room: int) -> None:
        """Zeroed columns for what is seen of the past and for `room` more tokens."""
        shape = (rows, like.shape[0], self.length - self.offset + room, like.shape[2])
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Room for just these tokens."""
        self.allocate(key_states[0], key_states.shape[0], key_states.shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the next columns; return every column that one of them may look at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        first, start = self._first_seen() - self.offset, self.length - self.offset
        end = start + key_states.shape[2]
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length += key_states.shape[2]
        return self.keys[:, :, first:end], self.values[:, :, first:end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns `update` will return, and which is the first of them."""
        first = self._first_seen()
        return self.length - first + query_length, first

    def get_seq_length(self) -> int:
        """Columns read so far."""
        return self.length

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1

    def tail(self, row: int, end: int, n_tokens: int) -> tuple[Tensor, Tensor]:
        """A row's keys and values at the last of `n_tokens` tokens before column `end`: all that a next one sees."""
        assert self.keys is not None
        assert self.values is not None
        n_seen = n_tokens if self.window is None else min(n_tokens, self.window - 1)
        columns = slice(end - self.offset - n_seen, end - self.offset)
        return self.keys[row, :, columns], self.values[row, :, columns]

    def place(self, row: int, tail: tuple[Tensor, Tensor]) -> None:
        """Put such keys and values just before the next column."""
        assert self.keys is not None
        assert self.values is not None
        end = self.length - self.offset
        columns = slice(end - tail[0].shape[1], end)
        self.keys[row, :, columns], self.values[row, :, columns] = tail

    def take_over(self, old: BufferLayer, rows: int, room: int) -> None:
        """Room for `rows` rows, the first of them those of a layer with the same window, which gives them up."""
        assert old.keys is not None
        assert old.values is not None
        self.allocate(old.keys[0], rows, room)
        assert self.keys is not None
        assert self.values is not None
        end, old_end = self.length - self.offset, old.length - old.offset
        n_seen, n_rows = min(end, old_end), len(old.keys)
        self.keys[:n_rows, :, end - n_seen : end] = old.keys[:, :, old_end - n_seen : old_end]
        self.values[:n_rows, :, end - n_seen : end] = old.values[:, :, old_end - n_seen : old_end]
        old.keys = old.values = None

    def keep(self, rows: Int[Tensor, " row"]) -> None:
        """Keep these rows, in this order; a row that moves must come from behind the kept ones."""
        assert self.keys is not None
        assert self.values is not None
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        for buffer in (self.keys, self.values):
            buffer[moved] = buffer[rows[moved]]
        self.keys, self.values = self.keys[: len(rows)], self.values[: len(rows)]


def find_windows(lm: LanguageModel) -> list[int | None] | None:
    """Each layer's window (None: sees everything); None if a layer keeps anything but plain keys and values."""
    kinds = getattr(lm.model.config.get_text_config(decoder=True), "layer_types", None) or ()
    if set(kinds) - {"full_attention", "sliding_attention"}:
        return None
    layers = DynamicCache(config=lm.model.config).layers
    is_plain = [type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers]
    if len(layers) != lm.n_layers or not all(is_plain):
        return None
    return [getattr(layer, "sliding_window", None) for layer in layers]


def _place(layers: Sequence[BufferLayer], row: int, tails: Tails, *, n_rows: int, room: int) -> None:
    for layer, tail in zip(layers, tails, strict=True):
        if not layer.is_initialized:
            layer.allocate(tail[0], n_rows, room)
        layer.place(row, tail)


class CachedRows:
    """Rows that are written token by token. Identical prompts that come in together are read once.

    Args:
        lm: The model.
        hooks: The edits.
        windows: Each layer's window, see `find_windows`.
    """

    def __init__(self, lm: LanguageModel, hooks: ResidHooks, windows: list[int | None]) -> None:
        self._lm, self._hooks, self._windows = lm, hooks, windows
        self._prompts: list[Prompt] = []
        self._lengths = torch.zeros(0, dtype=torch.long, device=lm.device)  # when rows last came in
        self._turns, self._labels = self._lengths, self._lengths
        self._width = self._n_steps = 0
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=lm.device)
        self._layers: list[BufferLayer] = []

    def admit(
        self, prompts: Sequence[Prompt], pasts: Sequence[KeptRow | None], room: int
    ) -> Float[Tensor, "row d_vocab"]:
        """Put new rows behind those that are there, with room for so many tokens in each; logits behind the new.

        All rows move to new buffers that are as wide as the longest of them, so that no column is wasted on texts that
        ended.
        """
        n_old, device = len(self._prompts), self._lm.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._lengths = torch.cat([self._lengths + self._n_steps, lengths])
        self._turns = torch.cat([self._turns, torch.tensor([prompt.next_turn for prompt in prompts], device=device)])
        self._labels = torch.cat([self._labels, torch.tensor([prompt.label for prompt in prompts], device=device)])
        self._prompts += prompts
        self._width, self._n_steps = int(self._lengths.max()), 0
        self._mask = torch.arange(self._width + room, device=device) >= self._width - self._lengths[:, None]
        layers = [BufferLayer(window, self._width) for window in self._windows]
        if n_old:
            for layer, old in zip(layers, self._layers, strict=True):
                layer.take_over(old, len(self._prompts), room)
        self._layers, self._cache = layers, Cache(layers=list(layers))
        return self._read_prompts(prompts, pasts, n_old, room)

    def _read_prompts(
        self, prompts: Sequence[Prompt], pasts: Sequence[KeptRow | None], n_old: int, room: int
    ) -> Float[Tensor, "row d_vocab"]:
        rows_of: dict[Prompt, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_of.setdefault(prompt, []).append(row)
        distinct = list(rows_of)
        kept = [pasts[rows[0]] for rows in rows_of.values()]
        n_new = [len(prompt) - (past.n_tokens if past else 0) for prompt, past in zip(distinct, kept, strict=True)]
        logits = [torch.empty(0)] * len(prompts)
        budget = PREFILL_TOKENS.get(torch.device(self._lm.device).type, PREFILL_TOKENS_ELSEWHERE)
        for chunk in pack_by_length(n_new, budget):
            found = self._read_chunk([distinct[i] for i in chunk], [kept[i] for i in chunk])
            for i, (row_logits, tails) in zip(chunk, found, strict=True):
                for row in rows_of[distinct[i]]:
                    logits[row] = row_logits
                    _place(self._layers, n_old + row, tails, n_rows=len(self._prompts), room=room)
        return torch.stack(logits)

    def _read_chunk(self, prompts: list[Prompt], kept: list[KeptRow | None]) -> list[tuple[Tensor, Tails]]:
        """Read what is new in some prompts; for each the logits behind it, and its keys and values."""
        n_past = [past.n_tokens if past else 0 for past in kept]
        batch = pad_right(prompts, self._lm.device, n_past)
        past_width, new_width = max(n_past), batch.ids.shape[1]
        layers = [BufferLayer(window, past_width) for window in self._windows]
        for row, past in enumerate(kept):
            if past is not None:
                _place(layers, row, past.tails, n_rows=len(prompts), room=new_width)
        starts = torch.tensor(n_past, device=self._lm.device)[:, None]
        columns = torch.arange(past_width + new_width, device=self._lm.device)
        with self._hooks:
            output = self._hooks.forward(
                batch.ids,
                batch.marks,
                attention_mask=columns >= past_width - starts if past_width else None,
                past_key_values=Cache(layers=list(layers)),
                use_cache=True,
                logits_to_keep=batch.lengths[:, None] - 1,
            )
        ends = (past_width + batch.lengths).tolist()
        return [
            (output.logits[row, 0], [layer.tail(row, ends[row], len(prompt)) for layer in layers])
            for row, prompt in enumerate(prompts)
        ]

    def step(self, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row d_vocab"]:
        """Write one token in each row; logits of the one after it."""
        yes = torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device)
        positions = (self._lengths + self._n_steps)[:, None]
        marks = TokenMarks(yes, yes, yes, self._turns[:, None], positions, self._labels)
        self._n_steps += 1
        with self._hooks:
            output = self._hooks.forward(
                tokens[:, None],
                marks,
                attention_mask=self._mask[:, : self._width + self._n_steps],
                past_key_values=self._cache,
                use_cache=True,
            )
        return output.logits[:, -1]

    def keep(self, rows: Int[Tensor, " row"]) -> None:
        """Keep these rows, in this order; a row that moves must come from behind the kept ones."""
        for layer in self._layers:
            layer.keep(rows)
        self._mask, self._lengths, self._turns = self._mask[rows], self._lengths[rows], self._turns[rows]
        self._labels = self._labels[rows]
        self._prompts = [self._prompts[row] for row in rows.tolist()]

    def copy_row(self, row: int, read: Sequence[int]) -> KeptRow:
        """What is held of a row whose tokens `read` have been read since it came in."""
        text = self._prompts[row].then(read, ())
        tails = [layer.tail(row, self._width + self._n_steps, len(text)) for layer in self._layers]
        return KeptRow(encode_prompt(text), len(text), [(keys.clone(), values.clone()) for keys, values in tails])
