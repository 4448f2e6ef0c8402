"""Several rankings, or several atlases, as one: names of SAEs kept apart, nothing tested anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.atlas.geometry import Places, cluster_emotions, place_emotions, place_features
from emosae.selectivity import Selectivity

NAMES_SAE = ("sae", "sae_a", "sae_b", "matched_sae")
"""Columns that hold the name of an SAE."""

_OWN_AXES = ("axis1", "axis2")
"""Columns of the emotions that mean something only among the vectors of one atlas."""

MAP_TABLES = ("nodes", "links", "concepts", "emotions", "overlap")

Tables = Mapping[str, pa.Table]


def rename_saes(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """The same table with SAEs called by `names`, also in addresses of features and lists of them."""
    if all(old == new for old, new in names.items()):
        return table
    for place, field in enumerate(table.schema):
        column = table[field.name].to_pylist()
        if field.name in NAMES_SAE:
            renamed = [names.get(value, value) for value in column]
        elif field.name == "node":
            renamed = [_rename_address(value, names) for value in column]
        elif field.name == "source" and "kind" in table.column_names:
            kinds = table["kind"].to_pylist()
            pairs = zip(kinds, column, strict=True)
            renamed = [_rename_address(value, names) if kind == "feature" else value for kind, value in pairs]
        elif field.name == "members":
            renamed = [[_rename_address(value, names) for value in members] for members in column]
        else:
            continue
        table = table.set_column(place, field, pa.array(renamed, field.type))
    return table


def _rename_address(address: str, names: Mapping[str, str]) -> str:
    sae, _, feature = address.rpartition("/")
    return f"{names.get(sae, sae)}/{feature}"


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one below the other; a column that one lacks is null there."""
    return pa.concat_tables(tables, promote_options="permissive")


def merge_rankings(rankings: Sequence[Selectivity]) -> Selectivity:
    """Rankings of different SAEs on the same stories as one, their SAEs called differently already.

    Numbers stay as each ranking made them: q values and max-T are not taken over the union. An emotion's summary is
    that of the ranking whose best feature has the highest AUROC on discover, with all discoveries counted; overlaps are
    averaged.
    """
    first = rankings[0]
    if len(rankings) == 1:
        return first
    return Selectivity(
        candidates=stack([one.candidates for one in rankings]),
        summary=_merge_summaries([one.summary for one in rankings]),
        overlap=average_overlaps([one.overlap for one in rankings]),
        profiles=stack([one.profiles for one in rankings]),
        calibration=stack([one.calibration for one in rankings]),
        stories=first.stories,
        looks=sum(one.looks for one in rankings),
        notes=tuple(dict.fromkeys(note for one in rankings for note in one.notes)),
    )


def _merge_summaries(summaries: Sequence[pa.Table]) -> pa.Table:
    """A row per emotion, sorted by name."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for summary in summaries:
        for row in summary.to_pylist():
            rows[row["emotion"]].append(row)
    merged = []
    for _, found in sorted(rows.items()):
        best = max(found, key=lambda row: -1.0 if row.get("auroc") is None else row["auroc"])
        counts = [row["n_discovered"] for row in found if row.get("n_discovered") is not None]
        merged.append(best | ({"n_discovered": sum(counts)} if counts else {}))
    return pa.Table.from_pylist(merged, schema=stack([summary.slice(0, 0) for summary in summaries]).schema)


def average_overlaps(overlaps: Sequence[pa.Table]) -> pa.Table:
    """Mean cosine and Jaccard of each ordered pair over the tables that hold it; `n_shared` is their sum."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for overlap in overlaps:
        for row in overlap.to_pylist():
            cells[row["emotion_a"], row["emotion_b"]].append(row)
    rows = [
        {"emotion_a": a, "emotion_b": b}
        | {name: _mean([row.get(name) for row in found]) for name in ("cosine", "jaccard")}
        | {"n_shared": sum(row.get("n_shared") or 0 for row in found)}
        for (a, b), found in sorted(cells.items())
    ]
    return pa.Table.from_pylist(rows)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def join_maps(parts: Sequence[Tables], rng: np.random.Generator) -> dict[str, pa.Table]:
    """Atlases of different stories side by side on one map: no link crosses, concepts are numbered on.

    Emotions are placed anew by their averaged overlaps; a pair that no atlas holds counts as not alike. Features are
    placed by their profiles; emotions of other stories have no AUROC in them.

    Args:
        parts: `nodes`, `links`, `concepts`, `emotions` and `overlap` of each.
        rng: Draws the small shifts of the layout.
    """
    overlap = average_overlaps([part["overlap"] for part in parts])
    names = sorted({str(name) for part in parts for name in part["emotions"]["emotion"].to_pylist()})
    cosine = _square(overlap, names)
    places, (order, cluster) = place_emotions(cosine), cluster_emotions(cosine)
    emotions = _merge_summaries([part["emotions"] for part in parts])
    for name, values in {"x": places[:, 0], "y": places[:, 1], "order": order, "cluster": cluster}.items():
        emotions = _set_column(emotions, name, pa.array(values))
    emotions = emotions.drop_columns([name for name in _OWN_AXES if name in emotions.column_names])
    firsts = np.cumsum([0, *(len(part["concepts"]) for part in parts)])
    nodes = [_move_nodes(part, names, places, int(at), rng) for part, at in zip(parts, firsts[:-1], strict=True)]
    concepts = [_number_on(part["concepts"], int(at)) for part, at in zip(parts, firsts[:-1], strict=True)]
    links = stack([part["links"] for part in parts])
    return {
        "nodes": stack(nodes),
        "links": links,
        "concepts": stack(concepts),
        "emotions": emotions,
        "overlap": overlap,
    }


def _square(overlap: pa.Table, names: Sequence[str]) -> Float[np.ndarray, "emotion emotion"]:
    place = {name: row for row, name in enumerate(names)}
    cosine = np.eye(len(names))
    for row in overlap.to_pylist():
        if row["cosine"] is not None and row["emotion_a"] != row["emotion_b"]:
            cosine[place[row["emotion_a"]], place[row["emotion_b"]]] = row["cosine"]
    return (cosine + cosine.T) / 2


def _move_nodes(
    part: Tables, names: Sequence[str], places: Places, first_concept: int, rng: np.random.Generator
) -> pa.Table:
    """Nodes with profiles over all `names`, places among them, and concepts numbered from `first_concept` on."""
    own = [str(name) for name in part["emotions"]["emotion"].to_pylist()]
    nodes = _number_on(part["nodes"], first_concept)
    profile = np.full((len(nodes), len(names)), np.nan)
    held = nodes["profile"].to_pylist()
    if held:
        profile[:, [names.index(name) for name in own]] = np.array(held, dtype=np.float64)
    xy = place_features(profile, places, rng)
    listed = [[None if np.isnan(value) else float(value) for value in row] for row in profile]
    columns = {"profile": pa.array(listed, pa.list_(pa.float64())), "x": pa.array(xy[:, 0]), "y": pa.array(xy[:, 1])}
    for name, values in columns.items():
        nodes = _set_column(nodes, name, values)
    return nodes


def _number_on(table: pa.Table, first: int) -> pa.Table:
    numbers = [None if value is None else value + first for value in table["concept"].to_pylist()]
    return _set_column(table, "concept", pa.array(numbers, pa.int64()))


def _set_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)
