"""Features in the names and shape of Neuronpedia's own files, one JSON file per SAE."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.site.cells import list_rows, tidy_cell
from emosae.site.records import Example, SiteData

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from emosae.store import Stage

Address = tuple[str, int]
Row = Mapping[str, Any]

_LOGITS = {"promoted": ("pos_str", "pos_values"), "suppressed": ("neg_str", "neg_values")}


def write_neuronpedia(data: SiteData, stage: Stage) -> list[Path]:
    """Write `neuronpedia/<sae>.json`, a list with a feature on each line."""
    for sae in dict.fromkeys([*data.saes["name"].to_pylist(), *data.nodes["sae"].to_pylist()]):
        lines = (json.dumps(feature, allow_nan=False) for feature in list_neuronpedia(data, sae))
        stage.write_text(f"neuronpedia/{sae}.json", "[\n" + ",\n".join(lines) + "\n]\n")
    return [stage.file("neuronpedia")]


def list_neuronpedia(data: SiteData, sae: str) -> Iterator[dict[str, Any]]:
    """Features of one SAE: where they fire, strongest text first, and the tokens that they raise and lower.

    The explanation is the feature's emotion with its verdict. Neuronpedia's counts over a large corpus are left out,
    because the run has none.
    """
    examples, best, logits = group_examples(data.examples), best_rows(data.ledger), _group_logits(data.pages.tokens)
    hook = {row["name"]: row["hook_name"] for row in data.saes.to_pylist()}.get(sae, "")
    for node in data.nodes.to_pylist():
        if node["sae"] != sae:
            continue
        key = key_of(node)
        verdict = best.get(key, {}).get("verdict") or "not tested"
        told = f"{node['emotion']} ({verdict})" if node.get("emotion") else ""
        yield {
            "modelId": data.model,
            "layer": sae,
            "index": str(node["feature_idx"]),
            "hookName": hook,
            "frac_nonzero": tidy_cell(node.get("fire_rate")),
            "maxActApprox": tidy_cell(max((one.peak for one in examples[key]), default=0.0)),
            "explanations": [{"description": told, "typeName": "emosae-selectivity"}] if told else [],
            **logits[key],
            "activations": [_describe_activation(one) for one in examples[key]],
        }


def _describe_activation(example: Example) -> dict[str, Any]:
    return {
        "tokens": list(example.tokens),
        "values": [tidy_cell(value) for value in example.values],
        "maxValue": tidy_cell(example.peak),
        "maxValueTokenIndex": example.values.index(example.peak) if example.peak > 0 else 0,
        "dataSource": example.story_id,
    }


def _group_logits(tokens: pa.Table | None) -> dict[Address, dict[str, list[Any]]]:
    names = [name for pair in _LOGITS.values() for name in pair]
    found: dict[Address, dict[str, list[Any]]] = defaultdict(lambda: {name: [] for name in names})
    for row in sorted(list_rows(tokens), key=lambda row: row["rank"]):
        words, values = _LOGITS[row["kind"]]
        found[key_of(row)][words].append(row["token"])
        found[key_of(row)][values].append(tidy_cell(row["logit"]))
    return found


def group_examples(examples: Sequence[Example]) -> dict[Address, list[Example]]:
    """Examples of each feature, the strongest first."""
    groups: dict[Address, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.sae, example.feature_idx].append(example)
    for group in groups.values():
        group.sort(key=lambda example: -example.peak)
    return groups


def best_rows(ledger: pa.Table) -> dict[Address, Row]:
    """The ledger row of each feature with the best AUROC on discover."""
    best: dict[Address, Row] = {}
    for row in ledger.to_pylist():
        held = best.get(key_of(row))
        if held is None or (row.get("auroc") or 0.0) > (held.get("auroc") or 0.0):
            best[key_of(row)] = row
    return best


def key_of(row: Row) -> Address:
    """The feature that a row is about."""
    return row["sae"], row["feature_idx"]
