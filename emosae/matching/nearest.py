"""Nearest neighbours both ways in one pass over tiles of the product of two tables, whose whole is never held."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[np.ndarray, "_ n"]
Pairs = Int[np.ndarray, "pair 2"]

_UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
_COPIES = 4


@dataclass(frozen=True, slots=True)
class Products:
    """How a table of scalar products is made, tile by tile.

    Attributes:
        memory_mb: Budget, in units of 2**20 bytes, of a tile and what is computed from it; copies of the two tables in
            `dtype` (none for float32 on the CPU) and the pairs that are kept stand beside it.
        dtype: Type of the products: float32, or bfloat16, which is several times faster where the machine multiplies
            it by hardware.
        device: Where the products are made.
    """

    memory_mb: float = 256.0
    dtype: torch.dtype = torch.float32
    device: str = "cpu"


PLAIN = Products()
"""Float32 on the CPU, a quarter of a gigabyte at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class Nearest:
    """The nearest rows of two tables to one another, by scalar product; equal ones in rising order.

    Attributes:
        to_b: For each row of a the nearest `k` rows of b, nearest first.
        value_b: How near they are.
        to_a: For each row of b the nearest row of a.
        value_a: How near it is.
    """

    to_b: Int[np.ndarray, "ka k"]
    value_b: Float[np.ndarray, "ka k"]
    to_a: Int[np.ndarray, " kb"]
    value_a: Float[np.ndarray, " kb"]

    @property
    def mutual(self) -> Pairs:
        """Pairs (a, b), each the other's nearest."""
        first = np.arange(len(self.to_b))
        kept = self.to_a[self.to_b[:, 0]] == first
        return np.stack([first[kept], self.to_b[kept, 0]], axis=1)


def find_nearest(a: Rows, b: Rows, *, k: int = 1, how: Products = PLAIN) -> Nearest:
    """The nearest `k` rows of b to each row of a, and the nearest of a to each of b, exactly.

    A tile of products is made at a time. A pair whose product comes within the rounding error of the best so far is
    kept, and pairs that are kept to the end are multiplied again in float64, so that the answer is that of float64
    whatever type the tiles have: bfloat16 only screens. The margin is a bound (Cauchy-Schwarz on what rounding
    changed of each row, and of each of its sums) and no estimate.

    Args:
        a: Rows of at most unit length, at least one.
        b: The same of the other side, as many columns.
        k: Neighbours of each row of a; all rows of b if it has fewer.
        how: Size, type and place of the tiles.
    """
    if how.dtype not in _UNIT:
        raise ValueError(f"products are made in float32 or bfloat16, not {how.dtype}")
    k = min(k, len(b))
    left, right = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) for x in (a, b))
    low = tuple(x.to(how.device, how.dtype) for x in (left, right))
    error = sum(float((x - y.cpu().float()).norm(dim=1).max()) for x, y in zip((left, right), low, strict=True))
    error += left.shape[1] * _UNIT[torch.float32]
    kept = _Kept(torch.full((len(a), k), -torch.inf), torch.full((len(b),), -torch.inf), error, _UNIT[how.dtype])
    height, width = _shape_tiles(len(a), len(b), left.shape[1], how.memory_mb)
    for rows in _cut(len(a), height):
        for columns in _cut(len(b), width):
            kept.add((low[0][rows] @ low[1][columns].T).float().cpu(), rows.start, columns.start)
    return _decide(kept.pairs(), left, right, k)


@dataclass(eq=False, slots=True)
class _Kept:
    """The best values so far of each row and column, and the pairs that may be among them.

    Attributes:
        best_b: The `k` largest products of each row of a, falling.
        best_a: The largest of each row of b.
        error: Bound on what rounding the rows has changed of a product.
        unit: Bound on the relative error of rounding a product itself.
    """

    best_b: Float[Tensor, "ka k"]
    best_a: Float[Tensor, " kb"]
    error: float
    unit: float
    parts: list[tuple[Int[Tensor, " kept"], Int[Tensor, " kept"], Float[Tensor, " kept"]]] = field(default_factory=list)

    def add(self, tile: Float[Tensor, "height width"], row: int, column: int) -> None:
        """Raise the best values to those of a tile, and keep its pairs that are within the error of them."""
        best_b, best_a = self.best_b[row : row + len(tile)], self.best_a[column : column + tile.shape[1]]
        _raise_best(best_b, tile)
        torch.maximum(best_a, tile.amax(0), out=best_a)
        values = tile.numpy()
        near = values >= self._lowest(best_b[:, -1])[:, None].numpy()
        near |= values >= self._lowest(best_a).numpy()
        place = torch.from_numpy(np.flatnonzero(near))
        at, of = torch.div(place, tile.shape[1], rounding_mode="floor"), place % tile.shape[1]
        self.parts.append((at + row, of + column, tile.flatten()[place]))

    def pairs(self) -> Int[Tensor, "pair 2"]:
        """Those that are still within the error of the best."""
        rows, columns, values = (torch.cat(each) for each in zip(*self.parts, strict=True))
        near = (values >= self._lowest(self.best_b[:, -1])[rows]) | (values >= self._lowest(self.best_a)[columns])
        return torch.stack([rows[near], columns[near]], dim=1)

    def _lowest(self, best: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """The least product as made whose true one may reach the true best."""
        return best - 2.05 * (self.error + self.unit * best.abs().nan_to_num(posinf=0.0))


def _raise_best(best: Float[Tensor, "height k"], tile: Float[Tensor, "height width"]) -> None:
    """Replace, in place, the largest values of each row by what a new tile has above them."""
    if best.shape[1] == 1:
        torch.maximum(best[:, 0], tile.amax(1), out=best[:, 0])
        return
    better = (tile.amax(1) > best[:, -1]).nonzero()[:, 0]
    found = tile[better].topk(min(best.shape[1], tile.shape[1]), dim=1).values
    best[better] = torch.cat([best[better], found], dim=1).topk(best.shape[1], dim=1).values


def _decide(pairs: Int[Tensor, "pair 2"], a: Float[Tensor, "ka n"], b: Float[Tensor, "kb n"], k: int) -> Nearest:
    """Multiply the pairs that are left in float64 and take the best."""
    value = multiply_pairs(a.numpy(), b.numpy(), pairs.numpy())
    row, column = pairs.numpy().T
    order = np.lexsort((column, -value, row))
    start = np.searchsorted(row[order], np.arange(len(a)))
    chosen = order[start[:, None] + np.arange(k)]
    back = np.lexsort((row, -value, column))
    first = back[np.searchsorted(column[back], np.arange(len(b)))]
    return Nearest(column[chosen], value[chosen], row[first], value[first])


def multiply_pairs(a: Rows, b: Rows, pairs: Pairs) -> Float[np.ndarray, " pair"]:
    """Scalar products of pairs of rows, in float64, a few thousand at a time."""
    step = max(1, 2**21 // max(1, a.shape[1]))
    parts = [pairs[start : start + step] for start in range(0, len(pairs), step)]
    found = [np.einsum("pn,pn->p", a[p[:, 0]], b[p[:, 1]], dtype=np.float64) for p in parts]
    return np.concatenate([np.zeros(0), *found])


def _shape_tiles(ka: int, kb: int, n: int, memory_mb: float) -> tuple[int, int]:
    """Height and width of square tiles that fit the budget: products, their float32 copy, and what is compared."""
    elements = memory_mb * 2**20 / 4
    side = int((math.sqrt(4 * n * n + 4 * _COPIES * elements) - 2 * n) / (2 * _COPIES))
    side = max(1, min(side, 2048))
    return min(ka, side), min(kb, side)


def _cut(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
