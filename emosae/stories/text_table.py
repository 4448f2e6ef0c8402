"""Rows of text under one another."""

from __future__ import annotations

from collections.abc import Sequence


def align_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; the last is as it is."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    cells = [[text.ljust(width) for text, width in zip(row, widths, strict=False)] for row in rows]
    return ["  ".join([*cell, row[-1]]).rstrip() for cell, row in zip(cells, rows, strict=True)]
