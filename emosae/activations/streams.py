"""Endless batches of residuals in random order, from a place that can be named and gone back to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.axes import Resid
from emosae.errors import UserError

_FINGERPRINT_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a stream stands: the epoch, and how many of its rows were drawn."""

    epoch: int = 0
    row: int = 0


@runtime_checkable
class ActivationStream(Protocol):
    """Batches of residuals at several hooks; row i of every hook belongs to the same token."""

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Hooks that every batch holds."""
        ...

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows in an epoch."""
        ...

    @property
    def batch_size(self) -> int:
        """Rows in a batch, over all ranks."""
        ...

    @property
    def cursor(self) -> Cursor:
        """Where the next batch starts."""
        ...

    def seek(self, cursor: Cursor) -> None:
        """Go to a place; the batches from there on are the same as ever."""
        ...

    def next_batch(self, rank: int = 0, n_ranks: int = 1) -> dict[str, Float[Tensor, "row d_in"]]:
        """One rank's part of the next batch, by hook: every `n_ranks`-th row. The cursor moves by a whole batch."""
        ...

    def fingerprint(self) -> str:
        """A hash that tells other residuals or another order apart."""
        ...


class MemoryStream:
    """Rows that lie in memory, each used once in an epoch, in an order that seed and epoch decide.

    A batch may reach over the end of an epoch.

    Args:
        resid: Residuals by hook, row by row of the same tokens.
        batch_size: Rows in a batch.
        seed: Decides the order.
        rows: Which rows may be drawn; all of them if None.
    """

    def __init__(
        self,
        resid: Mapping[str, Resid],
        batch_size: int,
        seed: int,
        rows: Int[np.ndarray, " row"] | None = None,
    ) -> None:
        lengths = {len(values) for values in resid.values()}
        if len(lengths) != 1:
            raise UserError(f"hooks with different numbers of rows: {sorted(lengths)}")
        self._resid = dict(resid)
        self._rows = np.arange(lengths.pop()) if rows is None else rows
        if len(self._rows) == 0:
            raise UserError("there are no residuals to draw from")
        self.batch_size = batch_size
        self.cursor = Cursor()
        self._seed = seed
        self._order: tuple[int, np.ndarray] = (-1, self._rows)

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Hooks that every batch holds."""
        return tuple(self._resid)

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        return next(iter(self._resid.values())).shape[1]

    @property
    def n_rows(self) -> int:
        """Rows in an epoch."""
        return len(self._rows)

    def seek(self, cursor: Cursor) -> None:
        """Go to a place; the batches from there on are the same as ever."""
        self.cursor = cursor

    def next_batch(self, rank: int = 0, n_ranks: int = 1) -> dict[str, Float[Tensor, "row d_in"]]:
        """One rank's part of the next batch, by hook."""
        drawn = torch.from_numpy(self._draw()[rank::n_ranks])
        return {name: resid[drawn] for name, resid in self._resid.items()}

    def _draw(self) -> Int[np.ndarray, " row"]:
        parts, lacking = [], self.batch_size
        epoch, row = self.cursor.epoch, self.cursor.row
        while lacking:
            part = self._permute(epoch)[row : row + lacking]
            parts.append(part)
            lacking -= len(part)
            row += len(part)
            if row == self.n_rows:
                epoch, row = epoch + 1, 0
        self.cursor = Cursor(epoch, row)
        return np.concatenate(parts)

    def _permute(self, epoch: int) -> Int[np.ndarray, " row"]:
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self._rows))
        return self._order[1]

    def fingerprint(self) -> str:
        """A hash of sizes, seed and a thousand rows spread over the whole."""
        digest = hashlib.sha256(f"{self._seed} {self.batch_size} {self.n_rows}".encode())
        sample = torch.from_numpy(self._rows[:: max(1, self.n_rows // _FINGERPRINT_ROWS)])
        for name, resid in sorted(self._resid.items()):
            digest.update(name.encode())
            digest.update(resid[sample].float().cpu().numpy().tobytes())
        return digest.hexdigest()
