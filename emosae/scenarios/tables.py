"""Rows as tables whose columns and types do not depend on the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def make_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    texts: Iterable[str] = (),
    numbers: Iterable[str] = (),
    counts: Iterable[str] = (),
    flags: Iterable[str] = (),
) -> pa.Table:
    """A table with these columns; a name that ends in `[]` is a column of lists. A missing value is null.

    A row with a key that is no column is an error.
    """
    import pyarrow as pa

    kinds = {}
    groups = ((texts, pa.string()), (numbers, pa.float64()), (counts, pa.int64()), (flags, pa.bool_()))
    for names, kind in groups:
        for name in names:
            kinds[name.removesuffix("[]")] = pa.list_(kind) if name.endswith("[]") else kind
    if unknown := {name for row in rows for name in row} - set(kinds):
        raise ValueError(f"rows with unknown columns: {sorted(unknown)}")
    return pa.Table.from_pylist([{name: row.get(name) for name in kinds} for row in rows], schema=pa.schema(kinds))
