"""The config that an earlier run was made with, for the verbs that go on from one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emosae.config import RunConfig, SaeOnDisk, SaeSpec, SaeToTrain, parse_config
from emosae.errors import UserError
from emosae.store import MANIFEST, Store

_SHARED_SECTIONS = ("model", "stories", "features")


def config_of_run(run: Path) -> RunConfig:
    """What `run` was asked to do, as its manifest says."""
    manifest = Store.existing(run).read_manifest()
    if "config" not in manifest:
        raise UserError(f"{run / MANIFEST}: has no config; the run was stopped before it began")
    return parse_config(manifest["config"], source=str(run / MANIFEST))


def with_trained_saes(cfg: RunConfig, run: Path) -> RunConfig:
    """`cfg` with the SAEs that `run` trained taken from its directory, so that another run need not train them."""
    return cfg.model_copy(update={"saes": tuple(_trained(sae, run) for sae in cfg.saes)})


def config_of_runs(runs: Sequence[Path]) -> RunConfig:
    """One config with the SAEs of all `runs`, which must have read the same stories with the same model.

    An SAE name that several runs use gets the run's place in the list as a suffix.
    """
    configs = [with_trained_saes(config_of_run(run), run) for run in runs]
    for run, cfg in zip(runs, configs, strict=True):
        for section in _SHARED_SECTIONS:
            if getattr(cfg, section) != getattr(configs[0], section):
                raise UserError(f"{run}: differs from {runs[0]} in [{section}]; an atlas needs that to be equal")
    names = [sae.name for cfg in configs for sae in cfg.saes]
    saes = [
        sae.model_copy(update={"name": f"{sae.name}.{place}"}) if names.count(sae.name) > 1 else sae
        for place, cfg in enumerate(configs, start=1)
        for sae in cfg.saes
    ]
    return configs[0].model_copy(update={"saes": tuple(saes)})


def _trained(sae: SaeSpec, run: Path) -> SaeSpec:
    if not isinstance(sae, SaeToTrain):
        return sae
    path = run.absolute() / "saes" / sae.name
    if not path.is_dir():
        raise UserError(f"{path}: no trained SAE there; finish that run first")
    return SaeOnDisk(name=sae.name, path=path)
