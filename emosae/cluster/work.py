"""What a job does: take a run directory up to its stage, note that it is done, and answer the scheduler's signals."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from emosae.cluster.sweep import LAST, Task
from emosae.config import ClusterStage
from emosae.files import content_hash
from emosae.pipeline.training_text import describe_rows, hooks_to_train
from emosae.store import DONE, Store

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

SECTION = "cluster"
"""Of a run's manifest: which task finished which stage of it."""

_SECTIONS: dict[ClusterStage, tuple[str, ...]] = {
    "harvest": (),
    "train": ("saes",),
    "rank": ("saes", "features", "selectivity"),
    "atlas": ("saes", "features", "selectivity", "atlas"),
}
"""Of the config: what a task depends on besides the text and the model."""


@dataclass(frozen=True, slots=True)
class Work:
    """A task as submitit carries it into a job.

    Attributes:
        task: What to do.
        fingerprint: Of what the result depends on, as `hash_task` gave it when the job was submitted.
        requeue: Whether to go on in another job when this one is stopped.
    """

    task: Task
    fingerprint: str
    requeue: bool = True

    def __call__(self) -> str:
        """Run the stages that are not done yet; the folder of the last one, or of the shards."""
        from emosae import pipeline
        from emosae.runs import config_of_runs

        logging.basicConfig(format="%(message)s")
        logging.getLogger("emosae").setLevel(logging.INFO)
        task = self.task
        store = Store(task.run)
        with answer_preemption():
            if task.stage == "harvest":
                folder = pipeline.write_part(task.cfg, store, task.part)
            else:
                cfg = config_of_runs(task.sources) if task.sources else task.cfg
                folder = pipeline.run_until(cfg, store, task.last)
        _note_finished(store, task, self.fingerprint)
        return str(folder)

    def checkpoint(self) -> DelayedSubmission | None:
        """What the requeued job does: the same, since all that was reached lies in the run directory."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self) if self.requeue else None


def hash_task(task: Task) -> str:
    """A hash of what a task's result depends on: config, code, texts, SAEs, and the state of the model's files.

    It is cheap, so that no model need be opened to find out what is left to do; the job itself compares the hashes of
    the pipeline's stages, which also hold the model's weights.
    """
    from emosae.pipeline.provenance import describe_software

    cfg = task.cfg
    sections = _SECTIONS[task.stage]
    saes = [getattr(sae, "path", None) for sae in cfg.saes] if "saes" in sections else []
    return content_hash(
        task.stage,
        cfg.model_dump(mode="json", include={"model", "stories", "seed", *sections}),
        describe_rows(cfg),
        [task.part, hooks_to_train(cfg)] if task.stage == "harvest" else [],
        describe_software()["emosae"],
        _look_at_model(cfg.model.name),
        *cfg.stories.files,
        *[path for path in saes if path is not None],
    )


def _look_at_model(name: str | None) -> list[Any]:
    """Size and time of each file of a model in a directory; nothing for one on the hub."""
    folder = Path(name or "")
    if not name or not folder.is_dir():
        return []
    found = {str(path.relative_to(folder)): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return [[path, facts.st_size, facts.st_mtime_ns] for path, facts in found.items()]


def _note_finished(store: Store, task: Task, fingerprint: str) -> None:
    """Note in the manifest which task is done, the hash of the pipeline's stage that it ended with, and its shards.

    Hashes of earlier tasks of the same run are noted again, since this one may have had reason to do their stages anew.
    """
    fingerprints = {name: done["fingerprint"] for name, done in store.read_manifest().get(SECTION, {}).items()}
    fingerprints[task.stage] = fingerprint
    done: dict[str, dict[str, Any]] = {
        name: {"fingerprint": value, "input_hash": store.stage(LAST[name]).read_json(DONE)["input_hash"]}
        for name, value in fingerprints.items()
    }
    if task.stage == "harvest":
        own = sorted(task.shards.glob(f"shard-{task.part}-*"))
        done[task.stage]["shards"] = {path.name: path.stat().st_size for path in own}
    store.update_manifest(**{SECTION: done})


def is_finished(task: Task, fingerprint: str) -> bool:
    """Whether a job finished this very task and its result is still there."""
    run = Store(task.run)
    done = run.read_manifest().get(SECTION, {}).get(task.stage, {})
    if done.get("fingerprint") != fingerprint:
        return False
    folder = task.run / task.last
    if not (folder / DONE).is_file():
        return False
    stage = run.stage(task.last).read_json(DONE)
    if stage["input_hash"] != done["input_hash"] or not all((folder / name).is_file() for name in stage["files"]):
        return False
    return all(_has_size(task.shards / name, size) for name, size in done.get("shards", {}).items())


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


@contextlib.contextmanager
def answer_preemption() -> Iterator[None]:
    """Answer SIGTERM as submitit answers SIGUSR2 if it means that Slurm preempts this job, and else as before.

    Most clusters send SIGTERM to what they preempt, and kill it when the grace time is over. submitit does not heed
    it, since `scancel` sends it too.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def answer(number: int, frame: FrameType | None) -> None:
        if is_preempted(os.environ["SLURM_JOB_ID"]):
            signal.raise_signal(signal.SIGUSR2)
        elif callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_preempted(job: str) -> bool:
    """Whether Slurm has told a running job to make room for another."""
    command = ["scontrol", "show", "job", "--oneliner", job]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"\bPreemptTime=(\S+)", shown.stdout)
    return found is not None and found[1] not in ("None", "Unknown")
