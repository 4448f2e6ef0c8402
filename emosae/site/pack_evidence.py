"""What the page of one feature shows beside the ledger, in files of many features each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.site.cells import list_rows, tidy_cell, tidy_columns
from emosae.site.histograms import BINS, Histograms
from emosae.site.records import SiteData

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES_IN_FILE = 256
NEURONPEDIA = "https://www.neuronpedia.org"

_CONNECTIONS = (
    *("kind", "source", "attribution", "drop", "drop_lo", "drop_hi"),
    *("control_drop", "n_stories", "is_confirmed"),
)
_REPLICATION = (
    *("emotion", "matched_sae", "matched_feature_idx", "match_by", "match_corr", "match_cosine"),
    *("matched_auroc_confirm", "matched_auroc_confirm_lo", "matched_auroc_confirm_hi"),
)
_COMPARISONS = (
    *("emotion", "sae", "feature_idx", "baseline", "hook_name"),
    *("difference", "difference_lo", "difference_hi", "outcome"),
)

Node = tuple[str, int]
Rows = Mapping[Node, Sequence[Mapping[str, Any]]]


def list_evidence_files(data: SiteData) -> Iterator[tuple[str, Any]]:
    """`evidence`, what all features share, and `evidence-N`, a list per kind with one entry per feature."""
    nodes = [(row["sae"], row["feature_idx"]) for row in data.nodes.select(["sae", "feature_idx"]).to_pylist()]
    tables = data.pages
    drawn = {node: found for part in tables.histograms for node, found in _pack_histograms(part)}
    tokens, connections, matched = (
        _by_node(table) for table in (tables.tokens, tables.connections, tables.replication)
    )
    yield (
        "evidence",
        {
            "in_file": FEATURES_IN_FILE,
            "histograms": {"bins": BINS, "saes": {part.sae: _describe_histograms(part) for part in tables.histograms}},
            "neuronpedia": {name: f"{NEURONPEDIA}/{found}" for name, found in tables.neuronpedia.items() if found},
            "comparisons": tidy_columns(list_rows(tables.comparisons), _COMPARISONS),
            "has": {"tokens": tables.tokens is not None, "connections": tables.connections is not None},
        },
    )
    for number, start in enumerate(range(0, len(nodes), FEATURES_IN_FILE)):
        some = nodes[start : start + FEATURES_IN_FILE]
        yield (
            f"evidence-{number}",
            {
                "histogram": [drawn.get(node) for node in some],
                "tokens": [_pack_tokens(tokens.get(node, ())) for node in some],
                "connections": [_pack_rows(connections.get(node, ()), _CONNECTIONS) for node in some],
                "replication": [_pack_rows(matched.get(node, ()), _REPLICATION) for node in some],
            },
        )


def _by_node(table: pa.Table | None) -> Rows:
    found: dict[Node, list[Mapping[str, Any]]] = defaultdict(list)
    for row in list_rows(table):
        found[row["sae"], row["feature_idx"]].append(row)
    return found


def _describe_histograms(part: Histograms) -> dict[str, Any]:
    """What the rows of one SAE's histograms are; SAEs of different runs may have read different stories."""
    return {"emotions": list(part.emotions), "n_stories": list(part.n_stories)}


def _pack_histograms(part: Histograms) -> Iterator[tuple[Node, dict[str, Any]]]:
    """Per feature its strongest activation and `[emotion, bin, count]` after another, silent stories left out."""
    for place, feature in enumerate(part.feature_idx):
        counts = part.counts[place, :, 1:]
        cells = [[int(row), int(at) + 1, int(counts[row, at])] for row, at in zip(*np.nonzero(counts), strict=True)]
        yield (
            (part.sae, feature),
            {"top": tidy_cell(float(part.top[place])), "cells": [value for cell in cells for value in cell]},
        )


def _pack_tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Any]]] | None:
    """`[token, logit]` after another, strongest first, of the promoted and of the suppressed."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row["rank"])
    return {
        kind: [[row["token"], tidy_cell(row["logit"])] for row in ordered if row["kind"] == kind]
        for kind in ("promoted", "suppressed")
    }


def _pack_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]] | None:
    return tidy_columns(rows, names) if rows else None
