"""What a sweep is made of: one config becomes tasks, each a run of its own, and what each must wait for. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from emosae.config import Axis, ClusterStage, RunConfig, SaeSpec, SaeToTrain, StageName, SweepSection
from emosae.errors import UsageError
from emosae.files import canonical_json, content_hash

CLUSTER_STAGES: tuple[ClusterStage, ...] = get_args(ClusterStage)
RUNS = "runs"
"""The folder of the tasks' run directories in the sweep's."""
GIVEN = "given"
"""The group of the SAEs that need no training."""

LAST: dict[ClusterStage, StageName] = {"train": "saes", "rank": "selectivity", "atlas": "atlas"}
"""The last stage of the pipeline that a task does."""
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
        group: The SAEs that it is about, as one name.
        run: Its run directory; a later stage goes on in the same one.
        cfg: What that run is asked to do; an atlas takes its trained SAEs from `sources`.
        needs: Names of the tasks that must be done before.
        sources: Run directories that an atlas is built of.
    """

    stage: ClusterStage
    group: str
    run: Path
    cfg: RunConfig
    needs: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """What users call it."""
        return f"{self.stage}/{self.group}"

    @property
    def last(self) -> StageName:
        """The last stage of the pipeline that it does."""
        return LAST[self.stage]

    @property
    def steps(self) -> int:
        """Training steps; 0 if it trains nothing."""
        trained = [sae.steps for sae in self.cfg.saes if isinstance(sae, SaeToTrain)]
        return max(trained, default=0) if self.stage == "train" else 0


def plan_tasks(cfg: RunConfig, out: Path) -> list[Task]:
    """Every task of the sweep in directory `out`, what a task needs before itself.

    A group of SAEs is trained and then ranked in `out/runs/<group>`; the atlas of all of them is built in `out`. Each
    train task reads the text for itself. Tasks of the stage "harvest", which would read it once for all, belong first
    in this list, and in the `needs` of the train tasks, once the pipeline can train off shards.
    """
    out = out.absolute()
    shared = _shared_config(cfg, out)
    train, rank = [], []
    groups = group_saes(cfg)
    for group, saes in groups.items():
        task = Task("train", group, out / RUNS / group, shared.model_copy(update={"saes": saes}))
        train.append(task)
        rank.append(Task("rank", group, task.run, task.cfg, needs=(task.name,)))
    whole = shared.model_copy(update={"saes": tuple(sae for saes in groups.values() for sae in saes)})
    needs, sources = tuple(task.name for task in rank), tuple(task.run for task in rank)
    return [*train, *rank, Task("atlas", "all", out, whole, needs, sources)]


def _shared_config(cfg: RunConfig, out: Path) -> RunConfig:
    """The config of every run of the sweep but for its SAEs; to W&B they are one group."""
    group = cfg.tracking.group or f"{out.name}-{content_hash(str(out))[:6]}"
    tracking = cfg.tracking.model_copy(update={"group": group})
    return cfg.model_copy(update={"sweep": None, "cluster": None, "tracking": tracking})


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
