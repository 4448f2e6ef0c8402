"""Which data file holds what: the first view's columns in one, everything else in files that are loaded when needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emosae.site.columns import encode_column, encode_table
from emosae.site.examples import Library

FEATURES_IN_DETAILS = 256
"""Features whose profiles and rungs share a file."""

_DETAILS = {"features": ("profile",), "ledger": ("rungs",)}
"""Columns that only the page of one feature reads."""


def list_data_files(atlas: Mapping[str, Any], library: Library) -> Iterator[tuple[str, Any]]:
    """Names and values of the files below `data/`.

    `atlas` is what the map needs and all small tables, `ledger` the ledger row by row, `words` the tokens that name
    features, `details-N` what only the pages of features N * FEATURES_IN_DETAILS and following show, `examples-N` and
    `stories-N` where they fire.
    """
    features, ledger = atlas["features"], atlas["ledger"]
    yield "ledger", encode_table(_without(ledger, _DETAILS["ledger"]))
    yield "words", pack_words(features["tokens"])
    for number, details in enumerate(_cut_details(features, ledger)):
        yield f"details-{number}", details
    for number, chunk in enumerate(library.chunks):
        yield f"examples-{number}", {"examples": chunk}
    for number, part in enumerate(library.parts):
        yield f"stories-{number}", part
    thin = encode_table(_without(features, ("tokens", *_DETAILS["features"])))
    names = {"ledger_columns": [name for name in ledger if name not in _DETAILS["ledger"]]}
    sizes = {"in_details": FEATURES_IN_DETAILS, "n_features": len(features["feature_idx"])}
    yield "atlas", {**atlas, "features": thin, "ledger": names, "links": encode_table(atlas["links"]), "sizes": sizes}


def pack_words(tokens: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Tokens as places in a list of distinct ones: those of feature `i` are `at[ends[i-1]:ends[i]]`."""
    words = list(dict.fromkeys(token for some in tokens for token in some))
    place = {word: number for number, word in enumerate(words)}
    ends = np.cumsum([len(some) for some in tokens], dtype=np.int64).tolist()
    return {
        "words": words,
        "at": encode_column([place[token] for some in tokens for token in some]),
        "ends": encode_column(ends),
    }


def _cut_details(features: Mapping[str, Sequence[Any]], ledger: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The columns in `_DETAILS` for one span of features after the other."""
    n_features = len(features["feature_idx"])
    starts = range(0, n_features, FEATURES_IN_DETAILS)
    cut = {name: features[name] for name in _DETAILS["features"]}
    spans = [{name: values[at : at + FEATURES_IN_DETAILS] for name, values in cut.items()} for at in starts]
    rows: list[dict[str, list[Any]]] = [{name: [] for name in ("row", *_DETAILS["ledger"])} for _ in starts]
    for row, feature in enumerate(ledger["feature"]):
        part = rows[feature // FEATURES_IN_DETAILS]
        part["row"].append(row)
        for name in _DETAILS["ledger"]:
            part[name].append(ledger[name][row])
    return [{"features": span, "ledger": part} for span, part in zip(spans, rows, strict=True)]


def _without(columns: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name not in left_out}
