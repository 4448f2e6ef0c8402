"""Group matched features into concepts, named by the emotions that their features were confirmed for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

CONCEPT_SCHEMA = pa.schema(
    [
        ("concept", pa.int64()),
        ("name", pa.string()),
        ("emotions", pa.list_(pa.string())),
        ("is_confirmed", pa.bool_()),
        ("n_features", pa.int64()),
        ("n_saes", pa.int64()),
        ("stability", pa.float64()),
        ("mean_activation_corr", pa.float64()),
        ("auroc_confirm", pa.float64()),
        ("members", pa.list_(pa.string())),
    ]
)
"""The columns of a table of concepts."""

_NAMED = 3


def name_node(sae: str, feature_idx: int) -> str:
    """How a feature is named in every table of the atlas."""
    return f"{sae}/{feature_idx}"


def is_confirmed(row: Mapping[str, Any], alpha: float = 0.05) -> bool:
    """Whether a candidate was discovered at `alpha` and its confirm interval lies above chance."""
    return row["q_bh"] < alpha and row["auroc_confirm_lo"] is not None and row["auroc_confirm_lo"] > 0.5


def build_concepts(links: pa.Table, candidates: pa.Table, saes: Sequence[str], *, alpha: float = 0.05) -> pa.Table:
    """Connected components of the matches; a lone feature is a concept too if an emotion was confirmed for it.

    Returns:
        Rows `concept` (from 0, the best confirmed first), `name`, `emotions` (confirmed, strongest first),
        `stability` (share of `saes` in which the concept has a feature), `mean_activation_corr` of its matches (null
        for a lone feature), `auroc_confirm` (the best of its features' for its first emotion) and `members`.
    """
    import networkx as nx

    by_node: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in candidates.to_pylist():
        by_node[name_node(row["sae"], row["feature_idx"])].append(row)
    graph = nx.Graph()
    graph.add_nodes_from(
        (node, {"sae": rows[0]["sae"]}) for node, rows in by_node.items() if any(is_confirmed(r, alpha) for r in rows)
    )
    for link in links.to_pylist():
        ends = [(link["sae_a"], link["feature_a"]), (link["sae_b"], link["feature_b"])]
        nodes = [name_node(*end) for end in ends]
        if link["relation"] == "match" and any(node in by_node for node in nodes):
            graph.add_nodes_from((node, {"sae": sae}) for node, (sae, _) in zip(nodes, ends, strict=True))
            graph.add_edge(*nodes, corr=link["activation_corr"])
    rows = [_describe(graph.subgraph(part), by_node, len(saes), alpha) for part in nx.connected_components(graph)]
    rows.sort(key=lambda row: (-(row["auroc_confirm"] or 0.0), row["members"]))
    return pa.Table.from_pylist([{"concept": place, **row} for place, row in enumerate(rows)], schema=CONCEPT_SCHEMA)


def _describe(
    part: Any, by_node: Mapping[str, Sequence[Mapping[str, Any]]], n_saes: int, alpha: float
) -> dict[str, Any]:
    """One concept's row, but for its number."""
    members = sorted(part.nodes)
    rows = [row for node in members for row in by_node.get(node, ())]
    confirmed = _rank_emotions([row for row in rows if is_confirmed(row, alpha)])
    guess = _rank_emotions(rows)
    corr = [value for _, _, value in part.edges(data="corr")]
    held = len({sae for _, sae in part.nodes(data="sae")})
    first = next(iter(confirmed or guess))
    return {
        "name": " + ".join(list(confirmed)[:_NAMED]) if confirmed else f"unconfirmed ({first})",
        "emotions": list(confirmed),
        "is_confirmed": bool(confirmed),
        "n_features": len(members),
        "n_saes": held,
        "stability": held / n_saes,
        "mean_activation_corr": sum(corr) / len(corr) if corr else None,
        "auroc_confirm": confirmed.get(first),
        "members": members,
    }


def _rank_emotions(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Emotions with the best confirm AUROC of any feature, best first."""
    best: dict[str, float] = {}
    for row in rows:
        value = row["auroc_confirm"]
        best[row["emotion"]] = max(best.get(row["emotion"], 0.0), 0.0 if value is None else value)
    return dict(sorted(best.items(), key=lambda item: (-item[1], item[0])))
