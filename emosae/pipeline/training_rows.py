"""What SAEs are trained on: residuals that are read now and held in memory, or that lie in shards on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emosae.activations import (
    ActivationStream,
    MemoryStream,
    ShardStream,
    find_shards,
    harvest,
    plan_source,
    refuse_other_source,
    write_shards,
)
from emosae.axes import Resid
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.training_text import hooks_to_train, locate_shards
from emosae.store import Stage
from emosae.training import count_held_out, split_held_out


@dataclass(frozen=True, eq=False, slots=True)
class TrainingRows:
    """Residuals of the training text at some hooks.

    Attributes:
        held_out: Rows by hook that are never trained on.
        open_stream: Makes a stream of all other rows, in batches of so many.
    """

    held_out: dict[str, Resid]
    open_stream: Callable[[int], ActivationStream]


def gather_rows(inputs: Inputs, hook_names: Sequence[str]) -> TrainingRows:
    """The rows that SAEs at these hooks are trained on, by way of memory or of shards as the config says.

    All processes of a data-parallel run call it; shards that the run itself must write are dealt out to them.
    """
    if inputs.cfg.training.activations in (None, "memory"):
        return _hold_in_memory(inputs, hook_names)
    if inputs.cfg.training.activations == "shards":
        for part in range(inputs.cfg.shards.tasks)[inputs.world.rank :: inputs.world.size]:
            write_part(inputs, part)
        inputs.world.wait()
    return _open_shards(inputs, hook_names)


def write_part(inputs: Inputs, part: int) -> list[Path]:
    """Write one part of the training text's shards, from 0, at the hooks of all SAEs to train; the files of it."""
    stage = Stage(locate_shards(inputs.cfg, inputs.store.root))
    hooks = hooks_to_train(inputs.cfg)
    return write_shards(inputs.lm, inputs.sae_documents(), hooks, stage, task=part, progress=True, **_settings(inputs))


def _settings(inputs: Inputs) -> dict[str, Any]:
    section = inputs.cfg.shards
    return {
        "n_tasks": section.tasks,
        "dtype": section.dtype,
        "rows_per_shard": section.rows,
        "seed": inputs.cfg.seed,
    }


def _hold_in_memory(inputs: Inputs, hook_names: Sequence[str]) -> TrainingRows:
    resid = harvest(inputs.lm, inputs.sae_documents(), hook_names, progress=True)
    held, rows = split_held_out(len(resid[hook_names[0]]), inputs.cfg.seed)
    held_out = {hook: resid[hook][torch.from_numpy(held)] for hook in hook_names}
    return TrainingRows(held_out, lambda batch_size: MemoryStream(resid, batch_size, inputs.cfg.seed, rows))


def _open_shards(inputs: Inputs, hook_names: Sequence[str]) -> TrainingRows:
    """Shards that are whole and of this very text, model and config, or a refusal that names the culprit."""
    section, stage = inputs.cfg.shards, Stage(locate_shards(inputs.cfg, inputs.store.root))
    refuse_other_source(stage, plan_source(inputs.lm, inputs.sae_documents(), hook_names, **_settings(inputs)))
    n_held_out = count_held_out(sum(shard.rows for shard in find_shards(stage)))

    def open_stream(batch_size: int, *, check_hashes: bool = False) -> ShardStream:
        return ShardStream(
            stage.path,
            batch_size,
            inputs.cfg.seed,
            hook_names=hook_names,
            check_hashes=check_hashes,
            n_held_out=n_held_out,
        )

    checked = open_stream(1, check_hashes=section.check_hashes)
    return TrainingRows(checked.held_out(), open_stream)
