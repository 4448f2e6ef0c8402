"""Group linked features into concepts, named by the emotions that their features were confirmed for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
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
        ("n_seeds", pa.int64()),
        ("n_seeds_possible", pa.int64()),
        ("n_layers", pa.int64()),
        ("n_layers_possible", pa.int64()),
        ("mean_activation_corr", pa.float64()),
        ("auroc_confirm", pa.float64()),
        ("members", pa.list_(pa.string())),
    ]
)
"""The columns of a table of concepts."""

STRONG_CUT = 0.3
"""Modularity from which communities are taken to be real (Newman and Girvan)."""

_NAMED = 3
_HOLDING = ("match", "split", "merge")
_LEAST_WEIGHT = 0.01


def name_node(sae: str, feature_idx: int) -> str:
    """How a feature is named in every table of the atlas."""
    return f"{sae}/{feature_idx}"


def is_confirmed(row: Mapping[str, Any], alpha: float = 0.05) -> bool:
    """Whether a candidate was discovered at `alpha` and its confirm interval lies above chance."""
    return row["q_bh"] < alpha and row["auroc_confirm_lo"] is not None and row["auroc_confirm_lo"] > 0.5


def build_concepts(
    links: pa.Table, candidates: pa.Table, hook_names: Mapping[str, str], *, alpha: float = 0.05
) -> pa.Table:
    """Group linked features (see `group_features`); a lone feature is a concept too if an emotion was confirmed for it.

    Args:
        links: Matches, splits and merges hold a concept together; absorbed features stay outside.
        candidates: Every concept holds one.
        hook_names: The hook of each SAE of the atlas.
        alpha: Level at which a candidate counts as discovered.

    Returns:
        Rows `concept` (from 0, the best confirmed first), `name`, `emotions` (confirmed, strongest first),
        `stability` (share of SAEs in which the concept has a feature), `n_seeds` of `n_seeds_possible` (at the hook
        where most SAEs hold it, how many of those that read it do, be they other seeds or other widths), `n_layers` of
        `n_layers_possible` (hooks at which any SAE holds it), `mean_activation_corr` of its links (null for a lone
        feature), `auroc_confirm` (for its first emotion, of the feature that is best on discover) and `members`.
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
        if link["relation"] in _HOLDING and any(node in by_node for node in nodes):
            graph.add_nodes_from((node, {"sae": sae}) for node, (sae, _) in zip(nodes, ends, strict=True))
            corr = link["activation_corr"]
            graph.add_edge(*nodes, corr=corr, weight=max(corr or 0.0, _LEAST_WEIGHT))
    parts = [part for part in group_features(graph) if any(node in by_node for node in part)]
    rows = [_describe(graph.subgraph(part), by_node, hook_names, alpha) for part in parts]
    rows.sort(key=lambda row: (-(row["auroc_confirm"] or 0.0), row["members"]))
    return pa.Table.from_pylist([{"concept": place, **row} for place, row in enumerate(rows)], schema=CONCEPT_SCHEMA)


def group_features(graph: Any) -> list[set[str]]:
    """Parts of the graph of links: connected components, cut where chance links have chained two concepts.

    A component is cut into the communities of greatest modularity (Clauset, Newman and Moore), edges weighted by
    correlation, if an SAE has several features in it or the cut is a strong one (modularity of STRONG_CUT or more).
    Each component is cut by itself: in a whole graph modularity overlooks small communities. Without either sign it
    stays whole: a chain of SAEs is one concept, even if its ends are not linked.
    """
    import networkx as nx
    from networkx.algorithms.community import greedy_modularity_communities, modularity

    parts: list[set[str]] = []
    for members in nx.connected_components(graph):
        component = graph.subgraph(sorted(members))
        if len(members) < 4:
            parts.append(set(members))
            continue
        communities = greedy_modularity_communities(component, weight="weight")
        saes = [sae for _, sae in component.nodes(data="sae")]
        is_cut = len(set(saes)) < len(saes) or modularity(component, communities, weight="weight") >= STRONG_CUT
        parts += [set(part) for part in communities] if is_cut else [set(members)]
    return parts


def _describe(
    part: Any, by_node: Mapping[str, Sequence[Mapping[str, Any]]], hook_names: Mapping[str, str], alpha: float
) -> dict[str, Any]:
    """One concept's row, but for its number."""
    members = sorted(part.nodes)
    rows = [row for node in members for row in by_node.get(node, ())]
    confirmed = _rank_emotions([row for row in rows if is_confirmed(row, alpha)])
    guess = _rank_emotions(rows)
    corr = [value for _, _, value in part.edges(data="corr") if value is not None]
    held = {sae for _, sae in part.nodes(data="sae")}
    first = next(iter(confirmed or guess))
    return {
        "name": " + ".join(list(confirmed)[:_NAMED]) if confirmed else f"unconfirmed ({first})",
        "emotions": list(confirmed),
        "is_confirmed": bool(confirmed),
        "n_features": len(members),
        "n_saes": len(held),
        "stability": len(held) / len(hook_names),
        **_count_places(held, hook_names),
        "mean_activation_corr": sum(corr) / len(corr) if corr else None,
        "auroc_confirm": confirmed.get(first),
        "members": members,
    }


def _count_places(held: Collection[str], hook_names: Mapping[str, str]) -> dict[str, int]:
    """At how many hooks, and by how many of the SAEs of one hook, a concept is held."""
    possible, found = Counter(hook_names.values()), Counter(hook_names[sae] for sae in held)
    fullest = max(found, key=lambda hook: (found[hook], possible[hook]))
    return {
        "n_seeds": found[fullest],
        "n_seeds_possible": possible[fullest],
        "n_layers": len(found),
        "n_layers_possible": len(possible),
    }


def _rank_emotions(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Emotions by their best feature on discover topics, best first, with what that feature reads on confirm topics."""
    best: dict[str, float | None] = {}
    for row in sorted(rows, key=lambda row: (row["q_bh"], -row["auroc"], row["emotion"])):
        best.setdefault(row["emotion"], row["auroc_confirm"])
    return best
