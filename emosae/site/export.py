"""An atlas in the formats of other tools: Neuronpedia's JSON, a table for embedding viewers, GraphML, CSV."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.site.examples import name_tokens
from emosae.site.neuronpedia import Address, best_rows, group_examples, key_of, write_neuronpedia
from emosae.site.records import SiteData

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from emosae.store import Stage

FORMATS = ("neuronpedia", "parquet", "graphml", "csv")

Row = Mapping[str, Any]

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def export_atlas(data: SiteData, formats: Sequence[str], stage: Stage) -> list[Path]:
    """Write an atlas in each of these formats, and return the files or folders.

    `neuronpedia/<sae>.json` holds a list of features, `embedding.parquet` a row per feature with `projection_x` and
    `projection_y`, `atlas.graphml` features, concepts and emotions with their links, `features.csv`, `links.csv` and
    `ledger.csv` the tables.
    """
    writers = {
        "neuronpedia": write_neuronpedia,
        "parquet": _write_embedding,
        "graphml": _write_graph,
        "csv": _write_csv,
    }
    return [path for name in formats for path in writers[name](data, stage)]


def tabulate_embedding(data: SiteData) -> pa.Table:
    """A row per feature: where it lies (`projection_x`, `projection_y`), `text` to search, its links as `neighbors`."""
    import pyarrow as pa

    nodes, examples, best = data.nodes.to_pylist(), group_examples(data.examples), best_rows(data.ledger)
    places = {key_of(node): row for row, node in enumerate(nodes)}
    near: dict[int, list[int]] = defaultdict(list)
    for a, b in _link_ends(data, places):
        near[a].append(b)
        near[b].append(a)
    rows = []
    for place, node in enumerate(nodes):
        key = key_of(node)
        tokens = name_tokens(examples[key])
        row = best.get(key, {})
        rows.append(
            {
                "id": f"{key[0]}/{key[1]}",
                "projection_x": node["x"],
                "projection_y": node["y"],
                "text": " ".join([f"{key[0]}/{key[1]}", str(node.get("emotion") or ""), *tokens]),
                "sae": key[0],
                "feature_idx": key[1],
                "emotion": node.get("emotion"),
                "verdict": row.get("verdict"),
                "auroc_confirm": row.get("auroc_confirm"),
                "fire_rate": node.get("fire_rate"),
                "tokens": tokens,
                "neighbors": near[place],
            }
        )
    return pa.Table.from_pylist(rows, schema=_embedding_schema())


def _embedding_schema() -> pa.Schema:
    import pyarrow as pa

    numbers = ("projection_x", "projection_y", "auroc_confirm", "fire_rate")
    kinds = {name: pa.float64() for name in numbers} | {"feature_idx": pa.int64()}
    kinds |= {"tokens": pa.list_(pa.string()), "neighbors": pa.list_(pa.int64())}
    texts = ("text", "sae", "feature_idx", "emotion", "verdict")
    names = ("id", *numbers[:2], *texts, *numbers[2:], "tokens", "neighbors")
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def _write_embedding(data: SiteData, stage: Stage) -> list[Path]:
    return [stage.write_table("embedding", tabulate_embedding(data))]


def build_graph(data: SiteData) -> Any:
    """A networkx graph: features, concepts and emotions, joined by links, membership and selectivity."""
    import networkx as nx

    graph = nx.Graph(model=_clean(data.model))
    for name in data.emotions["emotion"].to_pylist():
        graph.add_node(_clean(f"emotion:{name}"), kind="emotion", label=_clean(str(name)))
    for row in data.concepts.to_pylist():
        label = _clean(str(row.get("name") or row["concept"]))
        graph.add_node(f"concept:{row['concept']}", kind="concept", label=label)
    nodes = data.nodes.to_pylist()
    for node in nodes:
        _add_feature(graph, node)
    places = {key_of(node): row for row, node in enumerate(nodes)}
    for row in data.links.to_pylist():
        ends = [(row[f"sae_{end}"], row[f"feature_{end}"]) for end in "ab"]
        if all(end in places for end in ends):
            graph.add_edge(*(_name(end) for end in ends), kind=str(row["relation"]), **_plain(row, _LINK_MEASURES))
    for row in data.ledger.to_pylist():
        ends = (_name((row["sae"], row["feature_idx"])), _clean(f"emotion:{row['emotion']}"))
        if all(end in graph for end in ends):
            graph.add_edge(*ends, kind="candidate", **_plain(row, ("auroc", "auroc_confirm", "verdict")))
    return graph


_LINK_MEASURES = ("decoder_cosine", "activation_corr", "by")


def _add_feature(graph: Any, node: Row) -> None:
    wanted = ("sae", "feature_idx", "emotion", "x", "y", "fire_rate", "status", "concept")
    graph.add_node(_name(key_of(node)), kind="feature", label=_clean(_name(key_of(node))), **_plain(node, wanted))
    if node.get("concept") is not None and f"concept:{node['concept']}" in graph:
        graph.add_edge(_name(key_of(node)), f"concept:{node['concept']}", kind="member")


def _plain(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Cells that GraphML can hold: no nulls, no control characters."""
    return {name: _clean(row[name]) for name in names if row.get(name) is not None}


def _clean(value: Any) -> Any:
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def _write_graph(data: SiteData, stage: Stage) -> list[Path]:
    import networkx as nx

    return [stage.write_text("atlas.graphml", "\n".join(nx.generate_graphml(build_graph(data))) + "\n")]


def write_rows(table: pa.Table) -> str:
    """A table as CSV; lists are left out, and text that a spreadsheet would run as a formula gets a quote before it."""
    import csv
    import io

    import pyarrow as pa

    names = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in table.select(names).to_pylist():
        writer.writerow([_as_cell(row[name]) for name in names])
    return text.getvalue()


def _as_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _write_csv(data: SiteData, stage: Stage) -> list[Path]:
    tables = {"features": data.nodes, "links": data.links, "concepts": data.concepts, "ledger": data.ledger}
    return [stage.write_text(f"{name}.csv", write_rows(table)) for name, table in tables.items()]


def _link_ends(data: SiteData, places: Mapping[Address, int]) -> Iterator[tuple[int, int]]:
    for row in data.links.to_pylist():
        a, b = (places.get((row[f"sae_{end}"], row[f"feature_{end}"])) for end in "ab")
        if a is not None and b is not None:
            yield a, b


def _name(address: Address) -> str:
    return f"{address[0]}/{address[1]}"
