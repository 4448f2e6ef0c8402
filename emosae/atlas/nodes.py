"""The rows of the map: features that are candidates or match one, with what is known of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.atlas.concepts import is_confirmed, name_node
from emosae.atlas.geometry import place_features
from emosae.matching import name_status
from emosae.selectivity import Selectivity

Node = tuple[str, int]

NODE_SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("sae", pa.string()),
        ("hook_name", pa.string()),
        ("feature_idx", pa.int64()),
        ("emotion", pa.string()),
        ("is_candidate", pa.bool_()),
        ("is_confirmed", pa.bool_()),
        ("auroc", pa.float64()),
        ("q_bh", pa.float64()),
        ("p_maxt", pa.float64()),
        ("auroc_confirm", pa.float64()),
        ("auroc_confirm_lo", pa.float64()),
        ("auroc_confirm_hi", pa.float64()),
        ("rival", pa.string()),
        ("fire_rate", pa.float64()),
        ("status", pa.string()),
        ("n_matches", pa.int64()),
        ("concept", pa.int64()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("profile", pa.list_(pa.float64())),
    ]
)
"""The columns of a table of nodes."""

_CONFIRM = ("auroc_confirm", "auroc_confirm_lo", "auroc_confirm_hi")
_FROM_CANDIDATE = ("emotion", "auroc", "q_bh", "p_maxt", *_CONFIRM, "rival")


def choose_nodes(candidates: pa.Table, links: pa.Table) -> list[Node]:
    """The candidates and the features that are linked to one, sorted by SAE and number."""
    columns = (candidates[name].to_pylist() for name in ("sae", "feature_idx"))
    ranked = set(zip(*columns, strict=True))
    return sorted(ranked.union(*(ends for ends, _ in _list_ends(links) if ranked.intersection(ends))))


def keep_links(links: pa.Table, nodes: Sequence[Node]) -> pa.Table:
    """The links whose both ends are nodes."""
    kept = set(nodes)
    return links.filter(pa.array([kept.issuperset(ends) for ends, _ in _list_ends(links)], pa.bool_()))


def tabulate_nodes(
    nodes: Sequence[Node],
    selectivity: Selectivity,
    links: pa.Table,
    concepts: pa.Table,
    places: Mapping[str, Float[np.ndarray, " 2"]],
    hook_names: Mapping[str, str],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> pa.Table:
    """One row per node; where it is a candidate for several emotions, its best one's numbers stand.

    Args:
        nodes: What is tabulated, in this order.
        selectivity: The ranking.
        links: Between all features, so that a node's status does not depend on which others are nodes.
        concepts: That these nodes form.
        places: Where each emotion lies.
        hook_names: Hook of each SAE.
        alpha: Level at which a candidate counts as discovered.
        rng: Draws the small shifts of the layout.
    """
    names = tuple(places)
    profile, fire_rate = _read_profiles(selectivity.profiles, names, nodes)
    xy = place_features(profile, np.stack([places[name] for name in names]), rng)
    best = _best_candidates(selectivity.candidates)
    linked = _list_relations(links)
    concept_of = {node: row["concept"] for row in concepts.to_pylist() for node in row["members"]}
    rows = []
    for place, node in enumerate(nodes):
        candidate, name = best.get(node), name_node(*node)
        told = {key: candidate[key] for key in _FROM_CANDIDATE} if candidate else {}
        row = {
            "node": name,
            "sae": node[0],
            "hook_name": hook_names[node[0]],
            "feature_idx": node[1],
            "emotion": names[int(profile[place].argmax())],
            "is_candidate": candidate is not None,
            "is_confirmed": candidate is not None and is_confirmed(candidate, alpha),
            "fire_rate": float(fire_rate[place]),
            "status": name_status(linked[node]) if len(hook_names) > 1 else None,
            "n_matches": sum(relation == "match" for relation, _ in linked[node]),
            "concept": concept_of.get(name),
            "x": float(xy[place, 0]),
            "y": float(xy[place, 1]),
            "profile": profile[place].tolist(),
        }
        rows.append(row | told)
    return pa.Table.from_pylist(rows, schema=NODE_SCHEMA)


def _list_ends(links: pa.Table) -> list[tuple[tuple[Node, Node], str]]:
    """Both ends of every link, and its relation."""
    names = ("sae_a", "feature_a", "sae_b", "feature_b", "relation")
    columns = (links[name].to_pylist() for name in names)
    return [(((sae_a, a), (sae_b, b)), relation) for sae_a, a, sae_b, b, relation in zip(*columns, strict=True)]


def _list_relations(links: pa.Table) -> dict[Node, list[tuple[str, bool]]]:
    """The relations of each feature, and whether it is the first end."""
    found: dict[Node, list[tuple[str, bool]]] = defaultdict(list)
    for (first, second), relation in _list_ends(links):
        found[first].append((relation, True))
        found[second].append((relation, False))
    return found


def _best_candidates(candidates: pa.Table) -> dict[Node, dict[str, Any]]:
    best: dict[Node, dict[str, Any]] = {}
    for row in candidates.to_pylist():
        node = (row["sae"], row["feature_idx"])
        if node not in best or row["auroc"] > best[node]["auroc"]:
            best[node] = row
    return best


def _read_profiles(
    profiles: pa.Table, names: Sequence[str], nodes: Sequence[Node]
) -> tuple[Float[np.ndarray, "node emotion"], Float[np.ndarray, " node"]]:
    columns = (profiles[name].to_pylist() for name in ("sae", "feature_idx"))
    place = {node: number for number, node in enumerate(zip(*columns, strict=True))}
    rows = np.array([place[node] for node in nodes], dtype=np.int64)
    table = np.stack([profiles[name].to_numpy() for name in names], axis=1).astype(np.float64)
    return table[rows], profiles["fire_rate"].to_numpy()[rows]
