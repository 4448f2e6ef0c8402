"""The run's tables as the pages read them: by column, names replaced by row numbers, numbers shortened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emosae.ledger import LADDER, VERDICTS
from emosae.site.evidence import state_of_rung
from emosae.site.examples import Library, choose_examples, name_tokens, shorten
from emosae.site.facts import list_facts
from emosae.site.planes import pack_planes
from emosae.site.records import SiteData
from emosae.site.snippet import find_layer, write_snippet

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
Columns = dict[str, list[Any]]

_REPLACED = ("sae", "feature_idx", "emotion", "earned_by", "held_back_by")

DIGITS = 5
"""Significant digits of the numbers that are written."""


@dataclass(frozen=True)
class _Places:
    """Row numbers of what other tables refer to by name."""

    emotions: Mapping[str, int]
    saes: Mapping[str, int]
    features: Mapping[tuple[str, int], int]
    concepts: Mapping[Any, int]


def pack_site(data: SiteData) -> tuple[dict[str, Any], Library]:
    """Everything that the first page needs, and the stories that are loaded later."""
    nodes = data.nodes.to_pylist()
    places = _number(data, nodes)
    ledger = sorted(_known(data.ledger.to_pylist(), places), key=lambda row: (-_height(row), -_read(row, "auroc")))
    library = Library()
    examples = choose_examples(data.examples, places.features)
    chunks = {row: library.add_feature(row, chosen) for row, chosen in examples.items()}
    stored = {
        "chunk": [chunks.get(row) for row in range(len(nodes))],
        "tokens": [name_tokens(examples.get(row, [])) for row in range(len(nodes))],
        "peak": [examples[row][0].peak if row in examples else None for row in range(len(nodes))],
    }
    planes, spots = pack_planes(data, _read_profiles(nodes))
    atlas = {
        "meta": _pack_meta(data, library),
        "rungs": _pack_rungs(),
        "saes": _pack_saes(data),
        "emotions": _pack_emotions(data, places, ledger),
        "features": _tidy(_pack_features(nodes, places, ledger) | spots | stored),
        "planes": planes,
        "concepts": _pack_concepts(data, places),
        "ledger": _pack_ledger(ledger, places),
        "measures": [name for name in data.ledger.column_names if name not in _REPLACED],
        "links": _pack_links(data, places),
        "overlap": _pack_overlap(data.overlap, places),
        "scenarios": _pack_scenarios(data),
    }
    return atlas, library


def _number(data: SiteData, nodes: Sequence[Row]) -> _Places:
    """Number everything in the order of its table; emotions that stand in other tables only come last."""
    emotions = [str(name) for name in _column(data.emotions, "emotion")]  # nodes' profiles are in this order
    others = [*_column(data.nodes, "emotion"), *_column(data.ledger, "emotion")]
    named = dict.fromkeys([*emotions, *(str(name) for name in others if name is not None)])
    listed = [*_column(data.saes, "name"), *_column(data.nodes, "sae")]
    return _Places(
        emotions={name: place for place, name in enumerate(named)},
        saes={name: place for place, name in enumerate(dict.fromkeys(listed))},
        features={(row["sae"], row["feature_idx"]): place for place, row in enumerate(nodes)},
        concepts={name: place for place, name in enumerate(_column(data.concepts, "concept"))},
    )


def _known(ledger: Iterable[Row], places: _Places) -> list[Row]:
    """Rows of features that are on the map."""
    return [row for row in ledger if (row["sae"], row["feature_idx"]) in places.features]


def _height(row: Row) -> int:
    """Rungs reached; 0 for none or an unknown word."""
    verdict = row.get("verdict")
    return VERDICTS.index(verdict) if verdict in VERDICTS else 0


def _read(row: Row, column: str) -> float:
    """A number to sort by; -1 where it is missing."""
    value = row.get(column)
    return -1.0 if value is None or math.isnan(value) else float(value)


def _pack_rungs() -> Columns:
    return {
        "name": [rung.verdict for rung in LADDER],
        "meaning": ["; ".join(requirement.says for requirement in rung.requirements) for rung in LADDER],
        "table": [rung.table for rung in LADDER],
        "key": [rung.key for rung in LADDER],
    }


def _pack_meta(data: SiteData, library: Library) -> dict[str, Any]:
    return {
        "model": data.model,
        "synthetic": data.synthetic,
        "story_parts": len(library.parts),
        "n_shown_stories": sum(len(part["id"]) for part in library.parts),
        "facts": list_facts(data.manifest),
        "notes": list(data.notes),
    }


def _pack_saes(data: SiteData) -> Columns:
    rows = {row["name"]: row for row in data.saes.to_pylist()}
    for row in data.nodes.to_pylist():  # an SAE that the list leaves out
        rows.setdefault(row["sae"], {"name": row["sae"], "hook_name": row.get("hook_name") or ""})
    wanted = ("name", "hook_name", "architecture", "d_sae", "seed", "origin", "l0", "fvu", "dead_fraction", "run")
    columns: Columns = {name: [row.get(name) for row in rows.values()] for name in wanted}
    columns["layer"] = [find_layer(row["hook_name"]) for row in rows.values()]
    columns["snippet"] = [write_snippet(row["hook_name"], row.get("location") or "") for row in rows.values()]
    return _tidy(columns)


def _pack_emotions(data: SiteData, places: _Places, ledger: Sequence[Row]) -> Columns:
    rows = {str(row["emotion"]): row for row in data.emotions.to_pylist()}
    baselines = _best_baselines(data)
    best = _best_rows(rows, ledger)
    names = list(places.emotions)
    return _tidy(
        {
            "name": names,
            "best": [best.get(name) for name in names],
            "order": [rows.get(name, {}).get("order") for name in names],
            "n_discovered": [rows.get(name, {}).get("n_discovered") for name in names],
            "note": [rows.get(name, {}).get("notes") or "" for name in names],
            "planted": [data.planted.get(name, "") for name in names],
            "baselines": [baselines.get(name, []) for name in names],
        }
    )


def _best_rows(emotions: Mapping[str, Row], ledger: Sequence[Row]) -> dict[str, int]:
    """The ledger row of each emotion's best feature, the one chosen on discover; confirm must not choose it."""
    best: dict[str, int] = {}
    for place, row in enumerate(ledger):
        chosen = emotions.get(row["emotion"], {})
        if all(chosen.get(name) == row[name] for name in ("sae", "feature_idx")):
            best[row["emotion"]] = place
    for place in sorted(range(len(ledger)), key=lambda place: -_read(ledger[place], "auroc")):
        best.setdefault(ledger[place]["emotion"], place)
    return best


def _best_baselines(data: SiteData) -> dict[str, list[list[Any]]]:
    """Per emotion `[baseline, AUROC, lo, hi]`; of several hooks the best, which favours the baseline."""
    best: dict[tuple[str, str], Row] = {}
    for row in data.baselines.to_pylist() if data.baselines is not None else []:
        key = (str(row["emotion"]), str(row["baseline"]))
        if key not in best or _read(row, "auroc_confirm") > _read(best[key], "auroc_confirm"):
            best[key] = row
    found: dict[str, list[list[Any]]] = {}
    for (emotion, baseline), row in best.items():
        span = [row.get(f"auroc_confirm{end}") for end in ("", "_lo", "_hi")]
        found.setdefault(emotion, []).append([baseline, *map(_shorten, span)])
    return found


def _pack_features(nodes: Sequence[Row], places: _Places, ledger: Sequence[Row]) -> Columns:
    height: dict[tuple[str, int], int] = {}
    for row in ledger:
        key = (row["sae"], row["feature_idx"])
        height[key] = max(height.get(key, 0), _height(row))
    return {
        "sae": [places.saes[row["sae"]] for row in nodes],
        "feature_idx": [row["feature_idx"] for row in nodes],
        "x": [row["x"] for row in nodes],
        "y": [row["y"] for row in nodes],
        "emotion": [places.emotions.get(row["emotion"]) for row in nodes],
        "concept": [places.concepts.get(row.get("concept")) for row in nodes],
        "fire_rate": [row.get("fire_rate") for row in nodes],
        "profile": _read_profiles(nodes),
        "status": [row.get("status") for row in nodes],
        "level": [height.get((row["sae"], row["feature_idx"]), 0) for row in nodes],
    }


def _read_profiles(nodes: Sequence[Row]) -> list[list[float | None] | None]:
    return [row.get("profile") for row in nodes]


def _pack_concepts(data: SiteData, places: _Places) -> Columns:
    rows = data.concepts.to_pylist()
    emotions = [row.get("emotions") or [] for row in rows]
    return _tidy(
        {
            "concept": [row["concept"] for row in rows],
            "name": [str(row.get("name") or f"concept {row['concept']}") for row in rows],
            "emotions": [[places.emotions[name] for name in found if name in places.emotions] for found in emotions],
            "stability": [row.get("stability") for row in rows],
            "corr": [row.get("mean_activation_corr") for row in rows],
        }
    )


def _pack_ledger(ledger: Sequence[Row], places: _Places) -> Columns:
    """All columns but the long texts, and for every rung whether the row holds it."""
    names = [name for name in (ledger[0] if ledger else {}) if name not in _REPLACED]
    columns: Columns = {
        "feature": [places.features[row["sae"], row["feature_idx"]] for row in ledger],
        "emotion": [places.emotions[row["emotion"]] for row in ledger],
        "level": [_height(row) for row in ledger],
        "rungs": [[state_of_rung(rung, row) for rung in LADDER] for row in ledger],
    }
    return _tidy({name: [row[name] for row in ledger] for name in names} | columns)


def _pack_links(data: SiteData, places: _Places) -> Columns:
    ends = [
        tuple(places.features.get((row[f"sae_{end}"], row[f"feature_{end}"])) for end in "ab")
        for row in data.links.to_pylist()
    ]
    rows = [row for row, pair in zip(data.links.to_pylist(), ends, strict=True) if None not in pair]
    kept = [pair for pair in ends if None not in pair]
    return _tidy(
        {
            "a": [pair[0] for pair in kept],
            "b": [pair[1] for pair in kept],
            "relation": [row["relation"] for row in rows],
            "cosine": [row.get("decoder_cosine") for row in rows],
            "correlation": [row.get("activation_corr") for row in rows],
        }
    )


def _pack_overlap(overlap: pa.Table | None, places: _Places) -> dict[str, Any]:
    """Square tables of cosine and Jaccard; null where a pair is missing."""
    rows = [] if overlap is None else overlap.to_pylist()
    names = [name for name in dict.fromkeys(row["emotion_a"] for row in rows) if name in places.emotions]
    packed: dict[str, Any] = {"emotions": [places.emotions[name] for name in names]}
    for measure in ("cosine", "jaccard"):
        cells = {(row["emotion_a"], row["emotion_b"]): row.get(measure) for row in rows}
        if any(value is not None for value in cells.values()):
            packed[measure] = [[_shorten(cells.get((a, b))) for b in names] for a in names]
    return packed


def _pack_scenarios(data: SiteData) -> Columns:
    wanted = (
        "condition", "dial", "method", "dose", "primary", "role", "hides_naming", "n", "rate", "lo", "hi", "delta",
        "delta_lo", "delta_hi", "p", "p_holm", "silent", "coherence",
    )  # fmt: skip
    rows = [(name, row) for name, table in data.scenarios.items() for row in table.to_pylist()]
    columns: Columns = {"scenario": [name for name, _ in rows]}
    return _tidy(columns | {name: [row.get(name) for _, row in rows] for name in wanted})


def _column(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist()


def _tidy(columns: Columns) -> Columns:
    return {name: [_shorten(value) for value in values] for name, values in columns.items()}


def _shorten(value: Any) -> Any:
    """A value as JSON can hold it: numbers to DIGITS digits, NaN and infinities as null."""
    if isinstance(value, float):
        return shorten(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_shorten(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
