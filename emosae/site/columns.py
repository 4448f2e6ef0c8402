"""Long columns as the pages read them: numbers as bytes, words as numbers into a list of distinct ones."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PLAIN_ROWS = 512
"""Shorter tables are written as plain lists, which a person can read in the file."""

_NULL = -1
_SAFE_SINGLE = (1e-30, 1e30)
"""Numbers between these keep five digits in single precision."""


def encode_table(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Every column of a table as `encode_column` writes it."""
    return {name: encode_column(values) for name, values in columns.items()}


def encode_column(values: Sequence[Any]) -> Any:
    """A column as JSON.

    Returns:
        A list if it is short or holds lists; else `{"type", "base64"}`, little-endian numbers where NaN, or in whole
        ones the `null` that stands beside them, is no value; or `{"words", "at"}`, distinct texts and a column of
        places among them.
    """
    kinds = {type(value) for value in values if value is not None}
    if len(values) <= PLAIN_ROWS or kinds - {int, float, str, bool} or not kinds:
        return list(values)
    if kinds <= {str} or kinds <= {bool}:
        words = list(dict.fromkeys(value for value in values if value is not None))
        place = {word: number for number, word in enumerate(words)}
        return {"words": words, "at": _encode_whole([None if value is None else place[value] for value in values])}
    if kinds == {int} and _can_be_whole(values):
        return _encode_whole(values)
    return _encode_real(values) if kinds <= {int, float} else list(values)


def _can_be_whole(values: Sequence[int | None]) -> bool:
    known = [value for value in values if value is not None]
    return min(known) >= (-(2**31) if len(known) == len(values) else 0) and max(known) < 2**31


def _encode_whole(values: Sequence[int | None]) -> dict[str, Any]:
    column = np.array([_NULL if value is None else value for value in values])
    lowest, highest = column.min(), column.max()
    fitting = (kind for kind in ("i1", "i2", "i4") if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max)
    return _as_bytes(column, next(fitting)) | ({"null": _NULL} if None in values else {})


def _encode_real(values: Sequence[float | int | None]) -> dict[str, Any]:
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    size = np.abs(column[np.isfinite(column) & (column != 0)])
    fits = size.size == 0 or (size.min() > _SAFE_SINGLE[0] and size.max() < _SAFE_SINGLE[1])
    return _as_bytes(column, "f4" if fits else "f8")


def _as_bytes(column: np.ndarray, kind: str) -> dict[str, Any]:
    return {"type": kind, "base64": base64.b64encode(column.astype(f"<{kind}").tobytes()).decode("ascii")}
