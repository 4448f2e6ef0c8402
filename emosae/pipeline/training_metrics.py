"""The metrics of one SAE's training, from its first step to its last, however often it was killed in between.

`metrics.jsonl` outlives every training of a run directory. `<SAE>.tracking.json` in the stage's folder lives as long as
one training, from scratch to the end: it holds the id that W&B knows the training by, and where in the file it began.
"""

from __future__ import annotations

import secrets
from typing import Any

from emosae.config import SaeOnDisk
from emosae.pipeline.inputs import Inputs
from emosae.store import Stage
from emosae.tracking import Tracker, open_tracker


def open_metrics(inputs: Inputs, stage: Stage, name: str) -> Tracker:
    """Where the metrics of the SAE `name` go: to the run's file, and on in the same W&B run if W&B is wanted."""
    section, record = inputs.cfg.tracking, _record(name)
    if not stage.has(f"{record}.json"):
        stage.write_json(record, {"run_id": secrets.token_hex(4), "lines_before": len(_lines(inputs.store.home, name))})
    return open_tracker(
        lambda line: inputs.store.home.append_line("metrics", line),
        series=name,
        wandb=section.wandb,
        directory=inputs.store.root / "wandb",
        project=section.project,
        group=section.group,
        config=next(sae.model_dump() for sae in inputs.cfg.saes if sae.name == name),
        run_id=stage.read_json(record)["run_id"],
        earlier=read_metrics(inputs, stage, name),
    )


def read_metrics(inputs: Inputs, stage: Stage, name: str) -> list[dict[str, Any]]:
    """The lines of the training that is under way or was the last; those of earlier trainings are passed over.

    An SAE in a directory may have been trained by another run, such as one of a sweep; its lines are read there.
    """
    sae = next(sae for sae in inputs.cfg.saes if sae.name == name)
    if not isinstance(sae, SaeOnDisk):
        return _read_series(inputs.store.home, stage, name)
    run = Stage(sae.path.parent.parent)
    return [{**line, "series": name} for line in _read_series(run, run.substage(sae.path.parent.name), sae.path.name)]


def _read_series(home: Stage, stage: Stage, name: str) -> list[dict[str, Any]]:
    record = _record(name)
    before = stage.read_json(record)["lines_before"] if stage.has(f"{record}.json") else 0
    return _lines(home, name)[before:]


def _lines(home: Stage, name: str) -> list[dict[str, Any]]:
    return [line for line in home.read_lines("metrics") if line.get("series") == name]


def _record(name: str) -> str:
    return f"{name}.tracking"
