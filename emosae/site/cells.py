"""Values as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.site.examples import shorten

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 4
"""Significant digits of the numbers that single pages show."""


def tidy_cell(value: Any) -> Any:
    """A value as JSON can hold it: numbers to DIGITS digits, NaN and infinities as null."""
    if isinstance(value, float):
        return shorten(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [tidy_cell(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def tidy_columns(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of a table, null where a row lacks one."""
    listed = list(rows)
    return {name: [tidy_cell(row.get(name)) for row in listed] for name in names}


def list_rows(table: pa.Table | None) -> list[dict[str, Any]]:
    """Rows of a table that may be missing."""
    return [] if table is None else table.to_pylist()


def spread_evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly from the first on."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]
