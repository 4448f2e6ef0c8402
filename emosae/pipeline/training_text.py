"""What decides the residuals that SAEs are trained on, and where those on disk lie; as the config alone says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emosae.config import RunConfig, SaeToTrain
from emosae.files import content_hash

SHARDS = "shards"


def hooks_to_train(cfg: RunConfig) -> list[str]:
    """Where the SAEs that are to be trained read the residual stream, each hook once, in order of their names."""
    return sorted({sae.hook_name for sae in cfg.saes if isinstance(sae, SaeToTrain)})


def describe_rows(cfg: RunConfig) -> list[Any]:
    """What the rows depend on besides model, stories and seed.

    Hooks are not among it: a token's residual at one hook does not depend on which others are written with it. Nor is
    the folder, so that shards may move, or go when the training is done.
    """
    stored = cfg.shards.model_dump(mode="json", include={"dtype", "tasks", "rows"})
    is_in_memory = cfg.training.activations in (None, "memory")
    return [cfg.training.documents, *([] if is_in_memory else [stored])]


def locate_shards(cfg: RunConfig, root: Path) -> Path:
    """The folder of the shards that SAEs of a run in directory `root` are trained on.

    Shards that are given lie in `shards.folder` itself. Those that are to be written get a folder in there, or in the
    run's own directory, that is named after all that they depend on; so those of another config are never in the way.
    """
    if cfg.training.activations == "given" and cfg.shards.folder is not None:
        return cfg.shards.folder
    sections = cfg.model_dump(mode="json", include={"model", "stories", "seed"})
    name = content_hash(hooks_to_train(cfg), sections, describe_rows(cfg))[:12]
    return (cfg.shards.folder or root.absolute() / SHARDS) / name
