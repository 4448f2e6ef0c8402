"""The real wandb package, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from emosae.tracking import open_tracker

pytestmark = pytest.mark.integration


def test_offline_wandb_keeps_its_files_in_the_given_directory(tmp_path: Path) -> None:
    written: list[Mapping] = []
    with open_tracker(written.append, wandb="offline", directory=tmp_path, series="a", config={"k": 1}) as tracker:
        tracker.log({"loss": 1.0}, 0)
    assert len(written) == 1
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


def test_a_wandb_that_does_not_start_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    def fail(**settings: object) -> None:
        raise wandb.errors.CommError("no such host")

    monkeypatch.setattr(wandb, "init", fail)
    written: list[Mapping] = []
    open_tracker(written.append, wandb="online", directory=tmp_path).log({"loss": 1.0}, 0)
    assert len(written) == 1
    assert "W&B did not start (CommError: no such host)" in caplog.text
