"""Endless batches of residuals from shards on disk, read by mmap, from a place that can be gone back to exactly."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.activations.shard_files import Shard, check_shard, describe_model, find_shards, open_shard, refuse_foreign
from emosae.activations.streams import Cursor
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.lm import LanguageModel
from emosae.store import Stage


@dataclass(frozen=True, slots=True)
class _Piece:
    """Neighbouring places `start` to `stop` in one shard's order of rows, in one epoch."""

    epoch: int
    shard: int
    start: int
    stop: int


class ShardStream:
    """Every row of a folder of shards once an epoch: shard after shard, in an order that seed and epoch decide.

    A batch may reach over the end of a shard or of an epoch. What comes at a cursor depends on nothing that was drawn
    before. One shard is mapped at a time; only a batch is held in memory, as float32.

    Args:
        folder: Where all tasks of `write_shards` wrote.
        batch_size: Rows in a batch.
        seed: Decides the order.
        hook_names: Which hooks to draw; all that were written if None.
        lm: The model that the shards must be of, by weights, revision and width; not asked if None.
        reshuffle: Whether a shard's rows come in a new order in every epoch, rather than as they lie in the file.
        check_hashes: Whether to read every file once, now, and compare its SHA-256. Sizes and headers are always looked
            at.
        n_held_out: Rows that are never drawn, see `held_out`: the last ones of each shard, in proportion to its size.

    Refused by name: shards that are missing, corrupt, truncated or of something else than the others.
    """

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        seed: int,
        *,
        hook_names: Sequence[str] | None = None,
        lm: LanguageModel | None = None,
        reshuffle: bool = True,
        check_hashes: bool = True,
        n_held_out: int = 0,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}: it must be above 0")
        self._stage = Stage(folder)
        self._shards = _open_folder(self._stage, lm, hashes=check_hashes)
        self._hook_names = _choose_hooks(self._stage, self._shards[0], hook_names)
        whole = np.array([shard.rows for shard in self._shards])
        if not 0 <= n_held_out < whole.sum():
            raise UserError(f"{folder}: {n_held_out} of {whole.sum()} rows cannot be held out")
        self._held = _share_out(n_held_out, whole)
        self._rows = whole - self._held
        self._seed, self._reshuffle = seed, reshuffle
        self._shard_order: tuple[int, np.ndarray] = (-1, self._rows)
        self._row_order: tuple[int, int, np.ndarray] = (-1, -1, self._rows)
        self._mapped: tuple[int, dict[str, Tensor]] = (-1, {})
        self.batch_size = batch_size
        self.cursor = Cursor()

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Hooks that every batch holds."""
        return self._hook_names

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        return self._shards[0].source.d_in

    @property
    def n_rows(self) -> int:
        """Rows in an epoch; those that are held out are not among them."""
        return int(self._rows.sum())

    def held_out(self) -> dict[str, Float[Tensor, "row d_in"]]:
        """The rows that are never drawn, by hook, as float32; rows lie in random order, so they are a fair sample."""
        parts = {name: [torch.empty(0, self.d_in)] for name in self._hook_names}
        for index in np.flatnonzero(self._held):
            shard = self._open(int(index))
            for name, taken in parts.items():
                taken.append(shard[name][int(self._rows[index]) :].float())
        return {name: torch.cat(taken) for name, taken in parts.items()}

    def seek(self, cursor: Cursor) -> None:
        """Go to a place; the batches from there on are the same as ever. Refused: a row beyond the epoch."""
        if not 0 <= cursor.row < self.n_rows or cursor.epoch < 0:
            raise UserError(f"{cursor} does not exist: an epoch has {self.n_rows} rows")
        self.cursor = cursor

    def next_batch(self, rank: int = 0, n_ranks: int = 1) -> dict[str, Float[Tensor, "row d_in"]]:
        """One rank's part of the next batch, by hook, as float32; a rank reads only its own rows."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self._hook_names}
        seen = 0
        for piece in self._draw():
            rows = self._find_rows(piece, (rank - seen) % n_ranks, n_ranks)
            shard = self._map(piece.shard)
            for name, taken in parts.items():
                taken.append(shard[name][rows].to(torch.float32, copy=isinstance(rows, slice)))
            seen += piece.stop - piece.start
        return {name: taken[0] if len(taken) == 1 else torch.cat(taken) for name, taken in parts.items()}

    def _draw(self) -> list[_Piece]:
        """Where the next batch lies; the cursor moves behind it."""
        pieces, lacking = [], self.batch_size
        epoch, row = self.cursor.epoch, self.cursor.row
        while lacking:
            order = self._order_shards(epoch)
            ends = np.cumsum(self._rows[order])
            place = int(np.searchsorted(ends, row, side="right"))
            shard = int(order[place])
            left = int(ends[place]) - row
            taken = min(lacking, left)
            start = int(self._rows[shard]) - left
            pieces.append(_Piece(epoch, shard, start, start + taken))
            lacking, row = lacking - taken, row + taken
            if row == self.n_rows:
                epoch, row = epoch + 1, 0
        self.cursor = Cursor(epoch, row)
        return pieces

    def _find_rows(self, piece: _Piece, first: int, step: int) -> slice | Int[Tensor, " row"]:
        places = slice(piece.start + first, piece.stop, step)
        if not self._reshuffle:
            return places
        return torch.from_numpy(self._order_rows(piece.epoch, piece.shard)[places])

    def _order_shards(self, epoch: int) -> Int[np.ndarray, " shard"]:
        if self._shard_order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._shard_order = (epoch, rng.permutation(len(self._shards)))
        return self._shard_order[1]

    def _order_rows(self, epoch: int, shard: int) -> Int[np.ndarray, " row"]:
        if self._row_order[:2] != (epoch, shard):
            rng = np.random.default_rng([self._seed, epoch, shard])
            self._row_order = (epoch, shard, rng.permutation(int(self._rows[shard])))
        return self._row_order[2]

    def _map(self, index: int) -> dict[str, Tensor]:
        if self._mapped[0] != index:
            tensors = self._open(index)
            _read_ahead(self._shards[index].file(self._stage))
            self._mapped = (index, tensors)
        return self._mapped[1]

    def _open(self, index: int) -> dict[str, Tensor]:
        with open_shard(self._stage, self._shards[index]) as file:
            return {name: file.get_tensor(name) for name in self._hook_names}

    def fingerprint(self) -> str:
        """A hash of the files' hashes, the hooks, seed and sizes; the folder may move."""
        order = [self._seed, self.batch_size, self._reshuffle, self._held.tolist()]
        return content_hash([shard.sha256 for shard in self._shards], sorted(self._hook_names), order)


def _share_out(count: int, rows: Int[np.ndarray, " shard"]) -> Int[np.ndarray, " shard"]:
    """A count dealt out to shards in proportion to their rows, to the last one."""
    ends = np.cumsum(rows)
    return np.diff(ends * count // ends[-1], prepend=0)


def _open_folder(stage: Stage, lm: LanguageModel | None, *, hashes: bool) -> list[Shard]:
    """All shards of a folder, each of them checked. Those of which most are there are the ones that belong."""
    shards = find_shards(stage)
    if not shards:
        raise UserError(f"{stage.path}: holds no activation shards")
    source = Counter(shard.source for shard in shards).most_common(1)[0][0]
    for shard in shards:
        refuse_foreign(stage, shard, source)
    if lm is not None:
        _refuse_other_model(stage, shards[0], lm)
    _refuse_incomplete(stage, shards)
    for shard in shards:
        check_shard(stage, shard, hashes=hashes)
    return shards


def _refuse_other_model(stage: Stage, shard: Shard, lm: LanguageModel) -> None:
    wanted = describe_model(lm)
    for key in ("weight_hash", "revision", "d_in"):
        found = getattr(shard.source, key)
        if found != wanted[key]:
            what = f"{key} is {found}, that of {lm.name} is {wanted[key]}"
            raise UserError(f"{stage.path}: holds shards of another model, {shard.source.model} ({what})")


def _refuse_incomplete(stage: Stage, shards: Sequence[Shard]) -> None:
    n_tasks = shards[0].source.n_tasks
    for task in range(n_tasks):
        own = [shard for shard in shards if shard.task == task]
        n_shards = max((shard.n_shards for shard in own), default=0)
        missing = sorted(set(range(n_shards)) - {shard.number for shard in own})
        if not own or missing:
            what = f"lacks {[f'shard-{task}-{number:05d}' for number in missing[:5]]}" if own else "has no shard"
            raise UserError(f"{stage.path}: task {task} of {n_tasks} {what}; run it (again)")


def _choose_hooks(stage: Stage, shard: Shard, hook_names: Sequence[str] | None) -> tuple[str, ...]:
    written = shard.source.hook_names
    chosen = written if hook_names is None else tuple(hook_names)
    if absent := [name for name in chosen if name not in written]:
        raise UserError(f"{stage.path}: has no residuals of {', '.join(absent)}; there are {', '.join(written)}")
    return chosen


def _read_ahead(path: Path) -> None:
    """Ask the system to fetch a file while its first rows are used; where it cannot be asked, pages come one by one."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)
