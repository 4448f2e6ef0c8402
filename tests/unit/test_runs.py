"""A later verb goes on from what the earlier run was asked, with the SAEs that it trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from emosae.config import FeaturesSection, RunConfig, SaeFromRelease, SaeOnDisk, SaeToTrain
from emosae.errors import UserError
from emosae.runs import config_of_run, config_of_runs, with_trained_saes
from emosae.store import Store

TRAINED = SaeToTrain(name="resid3", hook_name="blocks.3.hook_resid_post")
PUBLISHED = SaeFromRelease(name="jb", release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre")


def make_run(root: Path, cfg: RunConfig) -> Path:
    store = Store(root)
    store.update_manifest(config=cfg.model_dump(mode="json"))
    for sae in cfg.saes:
        if isinstance(sae, SaeToTrain):
            store.stage("saes").path.joinpath(sae.name).mkdir(parents=True)
    return root


def test_a_runs_config_comes_back(tmp_path: Path) -> None:
    cfg = RunConfig(seed=5, saes=(TRAINED, PUBLISHED))
    assert config_of_run(make_run(tmp_path / "a", cfg)) == cfg


def test_runs_without_config_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no emosae run"):
        config_of_run(tmp_path / "none")
    Store(tmp_path / "new").stage("stories")
    with pytest.raises(UserError, match="has no config"):
        config_of_run(tmp_path / "new")


def test_trained_saes_are_taken_from_the_run_and_published_ones_stay(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", RunConfig(saes=(TRAINED, PUBLISHED)))
    on_disk = SaeOnDisk(name="resid3", path=run / "saes" / "resid3")
    assert with_trained_saes(config_of_run(run), run).saes == (on_disk, PUBLISHED)


def test_an_sae_that_was_never_trained_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="resid3: no trained SAE there"):
        with_trained_saes(RunConfig(saes=(TRAINED,)), tmp_path)


def test_saes_of_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", RunConfig(saes=(TRAINED, PUBLISHED)))
    second = make_run(tmp_path / "b", RunConfig(seed=1, saes=(TRAINED,)))
    cfg = config_of_runs([first, second])
    assert [sae.name for sae in cfg.saes] == ["resid3.1", "jb", "resid3.2"]
    assert [sae.path.parts[-3] for sae in cfg.saes if isinstance(sae, SaeOnDisk)] == ["a", "b"]


def test_runs_that_read_differently_are_refused(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", RunConfig())
    second = make_run(tmp_path / "b", RunConfig(features=FeaturesSection(skip_tokens=50)))
    with pytest.raises(UserError, match=r"b: differs from .*a in \[features\]"):
        config_of_runs([first, second])
