"""What the atlas pages read beside the ledger: the vocabulary of each feature, its histograms, and what was played."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from emosae.pipeline.connection_tables import join_connections
from emosae.site import PageTables, count_peaks

if TYPE_CHECKING:
    from emosae.pipeline.inputs import Inputs
    from emosae.store import Stage

TOKENS_SHOWN = 10
TOKEN_SCHEMA = pa.schema(
    [
        ("sae", pa.string()),
        ("feature_idx", pa.int64()),
        ("kind", pa.string()),
        ("rank", pa.int64()),
        ("token_id", pa.int64()),
        ("token", pa.string()),
        ("logit", pa.float64()),
    ]
)
"""The columns of `atlas/tokens`: a row per node, kind (promoted or suppressed) and rank from 1."""


def tabulate_tokens(inputs: Inputs, nodes: pa.Table) -> pa.Table:
    """The tokens that each node's direction raises and lowers most; see `read_directions` for the formula."""
    import torch

    from emosae.logit_lens import read_directions

    rows: list[dict[str, Any]] = []
    for sae, features in group_nodes(nodes).items():
        dictionary = inputs.dictionaries[sae]
        directions = torch.stack([dictionary.direction(feature).float().cpu() for feature in features])
        for feature, found in zip(features, read_directions(inputs.lm, directions, TOKENS_SHOWN), strict=True):
            for kind in ("promoted", "suppressed"):
                for rank, (token_id, logit) in enumerate(getattr(found, kind), start=1):
                    named = {"token_id": token_id, "token": inputs.lm.decode([token_id]), "logit": logit}
                    rows.append({"sae": sae, "feature_idx": feature, "kind": kind, "rank": rank} | named)
    return pa.Table.from_pylist(rows, schema=TOKEN_SCHEMA)


def group_nodes(nodes: pa.Table) -> dict[str, list[int]]:
    """Features on the map by SAE."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in nodes.select(["sae", "feature_idx"]).to_pylist():
        found[row["sae"]].append(row["feature_idx"])
    return dict(found)


def gather_page_tables(inputs: Inputs, nodes: pa.Table) -> PageTables:
    """Everything that single pages show, of what the run has."""
    scenarios, atlas = inputs.store.stage("scenarios"), inputs.store.stage("atlas")
    code, talk = scenarios.substage("impossible_code"), scenarios.substage("conversation")
    mapped = group_nodes(nodes)
    emotion_of = {story.id: story.emotion for story in inputs.stories}
    return PageTables(
        histograms=[count_peaks(table, mapped.get(table.sae, []), emotion_of) for table in inputs.features],
        connections=join_connections(inputs.store) if atlas.has("connections.parquet") else None,
        **{name: read_optional(atlas, name) for name in ("tokens", "tree", "axes", "statements")},
        **{name: read_optional(inputs.store.stage("selectivity"), name) for name in ("replication", "comparisons")},
        **{name: read_optional(code, name) for name in ("trajectory", "rollouts")},
        prompts=code.read_json("prompts") if code.has("prompts.json") else {},
        **{name: read_optional(talk, name) for name in ("replies", "reads", "messages", "turned")},
        neuronpedia={name: dictionary.neuronpedia_id for name, dictionary in inputs.dictionaries.items()},
    )


def read_optional(stage: Stage, name: str) -> pa.Table | None:
    """A table, or None where the stage did not write it."""
    return stage.read_table(name) if stage.has(f"{name}.parquet") else None
