"""Sort the stored entries of sparse columns within blocks of rows, a tile of columns at a time.

Column, block, value and row of an entry are packed into one 64-bit integer, so that one sort of plain integers does
it all and nothing has to be gathered afterwards. A tile fits the second-level cache; results do not depend on tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64
from scipy.sparse import csc_array

_ENTRIES = 1 << 15
_WORD = 64
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, eq=False, slots=True)
class SortedTile:
    """Stored entries of neighbouring columns, sorted by column, block and value.

    Attributes:
        first: The first column.
        entries: Where the columns' entries lie in the matrix; they are in another order there.
        story: Row of each entry.
        place: Position of each entry in the tile, counted from 0; ties share their mean position.
        fires: Entries of each cell.
        below: Entries below 0.
    """

    first: int
    entries: slice
    story: Int[np.ndarray, " entry"]
    place: Float[np.ndarray, " entry"]
    fires: Int[np.ndarray, "column block"]
    below: Int[np.ndarray, "column block"]


def cut_columns(
    indptr: Int[np.ndarray, " column_and_one"], most_columns: int = _ENTRIES
) -> Iterator[tuple[slice, slice]]:
    """Runs of neighbouring columns with the entries of each; a column that is larger than a tile has its own."""
    start, n_columns = 0, len(indptr) - 1
    while start < n_columns:
        stop = int(np.searchsorted(indptr, indptr[start] + _ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), start + most_columns, n_columns)
        yield slice(start, stop), slice(int(indptr[start]), int(indptr[stop]))
        start = stop


def sort_columns(columns: csc_array, block: Int[np.ndarray, " story"], n_blocks: int) -> Iterator[SortedTile]:
    """Sort the entries of every column within each block; entries are finite and none is 0."""
    story_bits = max(1, int(len(block) - 1).bit_length())
    narrow = np.uint64(story_bits)
    cells = min(_ENTRIES, 1 << max(0, _WORD - 32 - story_bits))
    for run, entries in cut_columns(columns.indptr, max(1, cells // max(1, n_blocks))):
        story, value = columns.indices[entries], columns.data[entries]
        shape = (run.stop - run.start, n_blocks)
        length = np.diff(columns.indptr[run.start : run.stop + 1])
        cell = np.repeat(np.arange(shape[0]) * n_blocks, length)
        if n_blocks > 1:
            cell += block[story]
        room = _WORD - story_bits - int(shape[0] * n_blocks).bit_length()
        code, bits = _encode(value, room)
        key = cell.astype(np.uint64) << np.uint64(bits)
        key |= code
        key <<= narrow
        key |= story.astype(np.uint64)
        key.sort()
        story = (key & np.uint64((1 << story_bits) - 1)).astype(columns.indices.dtype)
        key >>= narrow
        fires = np.bincount(cell, minlength=shape[0] * n_blocks).reshape(shape)
        below = np.zeros_like(fires)
        if value.min(initial=0) < 0:
            below = np.bincount(cell[value < 0], minlength=shape[0] * n_blocks).reshape(shape)
        yield SortedTile(run.start, entries, story, _share_places(key), fires, below)


def _encode(value: Float[np.ndarray, " entry"], room: int) -> tuple[UInt64[np.ndarray, " entry"], int]:
    """Unsigned integers in the order of the values, equal where these are, and the bits they take.

    Single-precision values keep their own bits (those of negative ones inverted); others are numbered.
    """
    with np.errstate(over="ignore"):
        single = value.astype(np.float32, copy=False)
    if room >= 32 and (single is value or (single == value).all()):
        bits = single.view(np.uint32)
        if value.min(initial=0) < 0:
            bits = np.where(bits & _SIGN, ~bits, bits | _SIGN)
        return bits.astype(np.uint64), 32
    distinct, number = np.unique(value, return_inverse=True)
    taken = max(1, int(len(distinct) - 1).bit_length())
    if taken > room:
        raise ValueError(f"{len(value)} entries and their blocks are more than can be ranked together")
    return number.astype(np.uint64), taken


def _share_places(key: UInt64[np.ndarray, " entry"]) -> Float[np.ndarray, " entry"]:
    """Position of each sorted key, the mean of its positions where it is repeated."""
    place = np.arange(len(key), dtype=np.float64)
    is_new = key[1:] != key[:-1]
    if is_new.all():
        return place
    first = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    length = np.diff(np.append(first, len(key)))
    return np.repeat(first + (length - 1) / 2, length)
