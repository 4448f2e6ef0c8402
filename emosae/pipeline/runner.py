"""The sentence: stories -> activations -> features -> selectivity -> atlas -> scenarios -> report.

Each stage reads what the stages before it saved and saves what it made. A stage whose inputs have the same hash as when
it was finished is skipped; one that was killed goes on from what it had saved.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from emosae.config import RunConfig, SaeToTrain, StageName
from emosae.errors import UsageError
from emosae.files import content_hash
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.provenance import describe_checkout, describe_software
from emosae.pipeline.training_text import describe_rows, locate_shards
from emosae.store import Stage, Store

_log = logging.getLogger(__name__)

STAGES: tuple[StageName, ...] = get_args(StageName)
REPORT = "report/index.html"
_BEGUN = "begun"


def run(cfg: RunConfig, store: Store, *, first: StageName | None = None) -> Path:
    """Run every stage in order, skipping what is already done, and return the report's path."""
    run_until(cfg, store, "report", first=first)
    return store.root / REPORT


def run_until(cfg: RunConfig, store: Store, last: StageName, *, first: StageName | None = None) -> Path:
    """Run the stages up to ``last`` and return that one's folder; those from ``first`` on are done again.

    Of several processes that torchrun started, the first runs the stages and the others help it to train SAEs.

    Raises:
        UsageError: ``first`` comes after ``last``.
    """
    wanted = STAGES[: STAGES.index(last) + 1]
    if first is not None and first not in wanted:
        raise UsageError(f"--from {first}: comes after {last}, the last stage of this verb")
    inputs = Inputs(cfg, store)
    if not inputs.world.is_first:
        return _help(inputs, last)
    _run_stages(inputs, wanted, first)
    inputs.dismiss_helpers()
    return store.root / last


def join_runs(runs: Sequence[Path], out: Path) -> Path:
    """Write one atlas of finished runs, which stay as they are, into ``out``; its first page."""
    from emosae.pipeline import join

    return join.join_runs(runs, out)


def write_part(cfg: RunConfig, store: Store, part: int) -> Path:
    """Write one part of the shards that SAEs of other runs are trained on, from 0; their folder.

    The run has the stories and no further stage. Other parts may be written at the same time, each in a run of its own.
    """
    from emosae.pipeline import training_rows

    inputs = Inputs(cfg, store)
    _run_stages(inputs, ("stories",), None)
    training_rows.write_part(inputs, part)
    return locate_shards(cfg, store.root)


def _run_stages(inputs: Inputs, wanted: Sequence[StageName], first: StageName | None) -> None:
    """Note what is run, then do those of the wanted stages that are not done, and those from ``first`` on."""
    inputs.store.update_manifest(
        config=json.loads(inputs.cfg.model_dump_json()),
        model=inputs.describe_model(),
        software=describe_software(),
        checkout=describe_checkout(),
    )
    input_hash = ""
    for number, name in enumerate(wanted, start=1):
        again = first is not None and STAGES.index(name) >= STAGES.index(first)
        input_hash = _hash_inputs(name, inputs, input_hash)
        _run_stage(name, inputs, input_hash, again=again, place=f"{number}/{len(wanted)}")


def _help(inputs: Inputs, last: StageName) -> Path:
    """Wait until the first process trains SAEs, if it does, and train with it."""
    from emosae.pipeline.text_stages import train_missing

    if inputs.world.any(False):
        train_missing(inputs, inputs.store.stage("saes"))
    return inputs.store.root / last


def _run_stage(name: StageName, inputs: Inputs, input_hash: str, *, again: bool, place: str) -> None:
    """Do one stage unless it is done; leftovers of a kill are kept only if they were made from the same inputs."""
    stage = inputs.store.stage(name)
    if again:
        stage.clear()
    if stage.is_done(input_hash):
        _log.info("[%s] %s: already done", place, name)
        return
    if not _was_begun_with(stage, input_hash):
        stage.clear()
        stage.write_json(_BEGUN, {"input_hash": input_hash})
    _log.info("[%s] %s", place, name)
    start = time.monotonic()
    _stage_function(name)(inputs, stage)
    seconds = time.monotonic() - start
    stage.finish(input_hash, seconds)
    inputs.store.update_manifest(stages={name: {"input_hash": input_hash, "seconds": round(seconds, 2)}})


def _was_begun_with(stage: Stage, input_hash: str) -> bool:
    return stage.has(f"{_BEGUN}.json") and stage.read_json(_BEGUN).get("input_hash") == input_hash


def _hash_inputs(name: StageName, inputs: Inputs, upstream: str) -> str:
    """Everything that a stage's result depends on: its sections, its files, the model, and the stages before it."""
    cfg = inputs.cfg
    own: Mapping[StageName, Callable[[], list[Any]]] = {
        "stories": lambda: [
            inputs.lm.weight_hash,
            cfg.stories.salt,
            cfg.stories.per_emotion,
            *cfg.stories.files,
        ],
        "saes": lambda: [
            inputs.lm.weight_hash,
            cfg.model.model_dump(mode="json"),
            cfg.seed,
            *describe_rows(cfg),
            *_describe_saes(cfg),
        ],
        "features": lambda: [cfg.features.model_dump(mode="json")],
        "selectivity": lambda: [cfg.selectivity.model_dump(mode="json"), cfg.seed],
        "atlas": lambda: [
            cfg.atlas.model_dump(mode="json", exclude={"norms"}),
            *([] if cfg.atlas.norms is None else [cfg.atlas.norms]),
        ],
        "scenarios": lambda: _describe_scenarios(inputs),
        "report": lambda: [],
    }
    return content_hash(name, upstream, describe_software()["emosae"], *own[name]())


def _describe_saes(cfg: RunConfig) -> list[Any]:
    described: list[Any] = []
    for sae in cfg.saes:
        described.append(sae.model_dump(mode="json"))
        if not isinstance(sae, SaeToTrain) and getattr(sae, "path", None) is not None:
            described.append(sae.path)  # type: ignore[union-attr]
    return described


def _describe_scenarios(inputs: Inputs) -> list[Any]:
    """With whether there is a sandbox, so that a scenario that lacked it is run once it is installed."""
    from emosae.scenarios import find_tasks, sandbox_available

    section = inputs.cfg.scenarios
    files = [path for path in (section.tasks and find_tasks(section.tasks), section.conversations) if path is not None]
    can_run = section.unsafe_no_sandbox or sandbox_available()
    return [section.model_dump(mode="json"), can_run, inputs.cfg.seed, *files]


def _stage_function(name: StageName) -> Callable[[Inputs, Stage], None]:
    """The code of a stage; heavy imports come with it."""
    if name in ("stories", "saes", "features", "selectivity"):
        from emosae.pipeline import text_stages

        by_name = {"stories": "save_stories", "saes": "make_saes", "features": "pool", "selectivity": "rank"}
        return getattr(text_stages, by_name[name])
    from emosae.pipeline import act_stages, page_stages

    return {"atlas": page_stages.make_atlas, "scenarios": act_stages.play, "report": page_stages.make_report}[name]
