"""How the emotions lie to each other: the tree, the axes, and what an earlier experiment saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emosae.site.cells import list_rows, tidy_columns
from emosae.site.records import SiteData

_TREE = ("node", "left", "right", "height", "support", "support_vectors", "members")
_AXES = ("axis", "measure", "source", "n", "variance", "r", "lo", "hi", "p", "r_partial", "p_partial")
_STATEMENTS = (
    *("statement", "definition", "members", "overlap", "overlap_lo", "overlap_hi"),
    *("null_mean", "null_hi", "p", "is_seen", "verdict"),
)
_PLACES = ("emotion", "valence", "arousal", "axis1", "axis2", "cluster")


def list_geometry_files(data: SiteData) -> Iterator[tuple[str, Any]]:
    """`geometry`: the tables by column, empty where the run has none."""
    tables = data.pages
    yield (
        "geometry",
        {
            "leaves": [str(name) for name in data.emotions["emotion"].to_pylist()],
            "places": tidy_columns(data.emotions.to_pylist(), _PLACES),
            "tree": tidy_columns(list_rows(tables.tree), _TREE),
            "axes": tidy_columns(list_rows(tables.axes), _AXES),
            "statements": tidy_columns(list_rows(tables.statements), _STATEMENTS),
        },
    )
