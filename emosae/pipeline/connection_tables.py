"""What the atlas stage takes from the run for the geometry of emotions and for the connections of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emosae.connections import Target, choose_targets, trace_connections

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.pipeline.dial_stage import Dials
    from emosae.pipeline.inputs import Inputs
    from emosae.store import Store


def choose_vector_hook(inputs: Inputs) -> str | None:
    """The hook of an SAE at which vectors told the emotions best on tune topics; none if nothing was compared."""
    hooks = {table.hook_name for table in inputs.features}
    rows = inputs.store.stage("selectivity").read_table("layers").to_pylist()
    told = [
        row
        for row in rows
        if row["method"] == "difference_of_means" and row["emotion"] is None and row["hook_name"] in hooks
    ]
    return max(told, key=lambda row: row["auroc_tune"] or 0.0)["hook_name"] if told else None


def trace_best(inputs: Inputs) -> pa.Table:
    """Connections of each emotion's best confirmed features; dials are chosen later and mostly from these."""
    hook_names = {table.sae: table.hook_name for table in inputs.features}
    targets = choose_targets(inputs.selectivity.candidates, hook_names, alpha=inputs.cfg.selectivity.alpha)
    return _trace(inputs, targets, 9)


def trace_dials(inputs: Inputs, dials: Dials) -> pa.Table:
    """Connections of the features that turn targets and opponents."""
    section = inputs.cfg.scenarios
    chosen = [dials.chosen[name] for name in (*section.targets, *section.opponents) if name in dials.chosen]
    return _trace(inputs, [Target(one.sae, idx, one.emotion) for one in chosen for idx in one.feature_idx], 10)


def join_connections(store: Store) -> pa.Table:
    """Those of the atlas, and of dials that were not traced there."""
    import pyarrow as pa

    best = store.stage("atlas").read_table("connections")
    scenarios = store.stage("scenarios")
    if not scenarios.has("connections.parquet"):
        return best
    known = set(zip(best["sae"].to_pylist(), best["feature_idx"].to_pylist(), strict=True))
    more = scenarios.read_table("connections")
    ends = zip(more["sae"].to_pylist(), more["feature_idx"].to_pylist(), strict=True)
    return pa.concat_tables([best, more.filter(pa.array([end not in known for end in ends], pa.bool_()))])


def _trace(inputs: Inputs, targets: Sequence[Target], stream: int) -> pa.Table:
    return trace_connections(
        inputs.lm,
        inputs.dictionaries,
        inputs.features,
        inputs.stories,
        targets,
        rng=np.random.default_rng([inputs.cfg.atlas.seed, stream]),
        skip_tokens=inputs.cfg.features.skip_tokens,
        batch_tokens=inputs.cfg.features.batch_tokens,
    )
