"""What a sweep is made of: one config becomes tasks, each a run of its own, and what each must wait for. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from emosae.config import Axis, ClusterStage, RunConfig, SaeSpec, SaeToTrain, StageName, SweepSection
from emosae.errors import UsageError
from emosae.files import canonical_json, content_hash
from emosae.pipeline.training_text import hooks_to_train, locate_shards

CLUSTER_STAGES: tuple[ClusterStage, ...] = get_args(ClusterStage)
RUNS = "runs"
"""The folder of the tasks' run directories in the sweep's."""
GIVEN = "given"
"""The group of the SAEs that need no training."""

LAST: dict[ClusterStage, StageName] = {
    "harvest": "stories",
    "train": "saes",
    "rank": "selectivity",
    "atlas": "atlas",
}
"""The last stage of the pipeline that a task does; a harvest then writes shards of what it read."""
_AXES: dict[Axis, tuple[str, str]] = {
    "hooks": ("hook_name", ""),
    "widths": ("d_sae", "d"),
    "k": ("k", "k"),
    "seeds": ("seed", "seed"),
}
"""Of each axis the key of an SAE that it sets, and what stands before its value in a name."""
_WITHOUT_K = ("standard", "gated")


@dataclass(frozen=True, slots=True)
class Task:
    """One job: a run directory that is taken up to some stage of the pipeline.

    Attributes:
        stage: Which array it belongs to.
        group: The SAEs that it is about, as one name; of a harvest, which part of the text.
        run: Its run directory; a later stage goes on in the same one.
        cfg: What that run is asked to do; an atlas takes its trained SAEs from `sources`.
        needs: Names of the tasks that must be done before.
        sources: Run directories that an atlas is built of.
        part: Which part of the text a harvest reads, from 0.
    """

    stage: ClusterStage
    group: str
    run: Path
    cfg: RunConfig
    needs: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    part: int = 0

    @property
    def name(self) -> str:
        """What users call it."""
        return f"{self.stage}/{self.group}"

    @property
    def last(self) -> StageName:
        """The last stage of the pipeline that it does."""
        return LAST[self.stage]

    @property
    def shards(self) -> Path:
        """The folder that it writes shards to, if it is a harvest; another task of it writes there, too."""
        return self.run.parent

    @property
    def steps(self) -> int:
        """Training steps; 0 if it trains nothing."""
        trained = [sae.steps for sae in self.cfg.saes if isinstance(sae, SaeToTrain)]
        return max(trained, default=0) if self.stage == "train" else 0


def plan_tasks(cfg: RunConfig, out: Path) -> list[Task]:
    """Every task of the sweep in directory `out`, what a task needs before itself.

    The text is read once, at the hooks of all SAEs, by harvest tasks that write shards, unless the config says memory
    or names shards that are there. A group of SAEs is trained off them and then ranked in `out/runs/<group>`; the
    atlas of all groups is built in `out`.
    """
    out = out.absolute()
    groups = group_saes(cfg)
    whole, harvest = _plan_harvest(_whole_config(cfg, groups, out), out)
    train, rank = [], []
    for group, saes in groups.items():
        own = whole.model_copy(update={"saes": saes})
        read = tuple(task.name for task in harvest) if hooks_to_train(own) else ()
        task = Task("train", group, out / RUNS / group, own, read)
        train.append(task)
        rank.append(Task("rank", group, task.run, task.cfg, needs=(task.name,)))
    needs, sources = tuple(task.name for task in rank), tuple(task.run for task in rank)
    return [*harvest, *train, *rank, Task("atlas", "all", out, whole, needs, sources)]


def _whole_config(cfg: RunConfig, groups: Mapping[str, tuple[SaeSpec, ...]], out: Path) -> RunConfig:
    """The config of a run of all SAEs of the sweep; to W&B its tasks are one group."""
    group = cfg.tracking.group or f"{out.name}-{content_hash(str(out))[:6]}"
    tracking = cfg.tracking.model_copy(update={"group": group})
    saes = tuple(sae for own in groups.values() for sae in own)
    return cfg.model_copy(update={"sweep": None, "cluster": None, "tracking": tracking, "saes": saes})


def _plan_harvest(whole: RunConfig, out: Path) -> tuple[RunConfig, list[Task]]:
    """The config of runs that train off the sweep's shards, and the tasks that write these; none if none are wanted."""
    wanted = whole.training.activations or "shards"
    if wanted != "shards" or not hooks_to_train(whole):
        return whole, []
    writes = _with_activations(whole, "shards", whole.shards.folder)
    folder = locate_shards(writes, out)
    reads = _with_activations(whole, "given", folder)
    names = [f"task-{part}" for part in range(whole.shards.tasks)]
    return reads, [Task("harvest", name, folder / name, reads, part=part) for part, name in enumerate(names)]


def _with_activations(cfg: RunConfig, activations: str, folder: Path | None) -> RunConfig:
    training = cfg.training.model_copy(update={"activations": activations})
    return cfg.model_copy(update={"training": training, "shards": cfg.shards.model_copy(update={"folder": folder})})


def group_saes(cfg: RunConfig) -> dict[str, tuple[SaeSpec, ...]]:
    """The SAEs of a sweep by group. A group is trained off one reading of the text; its name says what its SAEs share.

    A new value on an axis that is not swept `together` makes new groups and leaves the names of the others, so a sweep
    may grow and keep what is done. SAEs that need no training are a group of their own.
    """
    together = (cfg.sweep or SweepSection()).together
    apart: list[Axis] = [axis for axis in _AXES if axis not in together]
    groups: dict[tuple[str, str], list[SaeSpec]] = {}
    for kind, sae in _expand(cfg):
        groups.setdefault((kind, _label(sae, apart) or "all"), []).append(sae)
    named = _tell_apart(groups)
    given: list[SaeSpec] = [sae for sae in cfg.saes if not isinstance(sae, SaeToTrain)]
    return {name: tuple(saes) for name, saes in [*zip(named, groups.values(), strict=True), (GIVEN, given)] if saes}


def _expand(cfg: RunConfig) -> Iterator[tuple[str, SaeToTrain]]:
    """Every SAE to train with its name in the sweep, and its kind: the first entry that differs on the axes alone."""
    kinds: dict[str, str] = {}
    found: dict[str, tuple[str, SaeToTrain]] = {}
    for template in cfg.saes:
        if isinstance(template, SaeToTrain):
            kind = kinds.setdefault(_content(template, {key for key, _ in _AXES.values()}), template.name)
            for sae in _combine(template, cfg.sweep or SweepSection()):
                found.setdefault(_content(sae), (kind, sae))
    if cfg.sweep is not None and not found:
        raise UsageError("sweep: there is no SAE to train; add one with [[saes]] and hook_name =")
    names = _tell_apart([(kind, _label(sae, _AXES)) for kind, sae in found.values()])
    for name, (kind, sae) in zip(names, found.values(), strict=True):
        yield kind, sae.model_copy(update={"name": name})


def _combine(template: SaeToTrain, sweep: SweepSection) -> Iterator[SaeToTrain]:
    """One entry of the config with every combination of values; an axis without values leaves it as it is."""
    if sweep.k and template.architecture in _WITHOUT_K:
        raise UsageError(f"sweep.k: SAE {template.name} is {template.architecture}, which has no k")
    swept = {key: getattr(sweep, axis) for axis, (key, _) in _AXES.items() if getattr(sweep, axis)}
    for values in itertools.product(*swept.values()):
        yield template.model_copy(update=dict(zip(swept, values, strict=True)))


def _content(sae: SaeToTrain, without: Collection[str] = ()) -> str:
    return canonical_json(sae.model_dump(mode="json", exclude={"name", *without}))


def _label(sae: SaeToTrain, axes: Collection[Axis]) -> str:
    values: list[Any] = [f"{_AXES[axis][1]}{getattr(sae, _AXES[axis][0])}" for axis in axes]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ".".join(values))


def _tell_apart(labelled: Collection[tuple[str, str]]) -> list[str]:
    """Labels, behind their kind where two kinds have the same one."""
    labels = [label for _, label in labelled]
    return [label if labels.count(label) == 1 else f"{kind}.{label}" for kind, label in labelled]
