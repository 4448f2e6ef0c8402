"""`--local` runs the tasks of a sweep here, and `--dry-run` prints what sbatch would get; neither needs Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cluster.two_nodes import look, states, wait_until

from emosae.cli import main
from emosae.cluster import Journal
from emosae.store import Store

pytestmark = pytest.mark.integration

SAE = "blocks.3.hook_resid_post.d64.k8.seed0"


def test_a_sweep_ends_in_an_atlas_of_its_runs(quiet_run: Path) -> None:
    assert states(quiet_run) == {f"train/{SAE}": "finished", f"rank/{SAE}": "finished", "atlas/all": "finished"}
    assert (quiet_run / "runs" / SAE / "saes" / SAE / "sae_weights.safetensors").is_file()
    assert set(pq.read_table(quiet_run / "atlas/nodes.parquet")["sae"].to_pylist()) == {SAE}
    configs = [Store.existing(path).read_manifest()["config"] for path in (quiet_run, quiet_run / "runs" / SAE)]
    groups = {cfg["tracking"]["group"] for cfg in configs}
    assert len(groups) == 1
    assert groups.pop().startswith("sweep-")


def test_status_and_logs_say_what_was_reached(quiet_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "status", str(quiet_run)]) == 0
    train = capsys.readouterr().out.splitlines()[1].split()
    assert train[:3] == [f"train/{SAE}", "finished", "400/400"]
    assert float(train[3].replace(",", "")) > 0
    assert main(["submit", "status", str(quiet_run), "--json"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["finished"] * 3
    assert main(["submit", "logs", str(quiet_run), f"rank/{SAE}", "--lines", "3"]) == 0
    printed = capsys.readouterr().out
    assert "selectivity" in printed
    assert "train/" not in printed


def test_what_is_finished_is_not_done_again(quiet_run: Path, write_config: Callable[..., Path]) -> None:
    before = Journal.existing(quiet_run).submissions()
    assert main(["submit", str(write_config("quiet")), "--out", str(quiet_run), "--local"]) == 0
    assert Journal.existing(quiet_run).submissions() == before


def test_a_lost_file_is_noticed(quiet_run: Path) -> None:
    weights = quiet_run / "runs" / SAE / "saes" / SAE / "sae_weights.safetensors"
    moved = weights.rename(weights.with_suffix(".moved"))
    try:
        assert states(quiet_run)[f"train/{SAE}"] == "failed"
    finally:
        moved.rename(weights)


def test_a_task_that_fails_is_named_with_its_reason(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = write_config("broken")
    cfg.write_text(cfg.read_text().replace("blocks.3.", "blocks.77."))
    assert main(["submit", str(cfg), "--out", str(tmp_path / "run"), "--local"]) == 1
    assert "failed: train/blocks.77.hook_resid_post.d64.k8.seed0; 2 more wait for them" in capsys.readouterr().err
    train, rank, atlas = look(tmp_path / "run").values()
    assert train.state == "failed"
    assert "UserError" in train.note
    assert "blocks.77.hook_resid_post" in train.note
    assert (rank.state, atlas.state) == ("new", "new")


def test_dry_run_prints_a_script_per_stage_and_writes_nothing(
    write_config: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "run"
    assert main(["submit", str(write_config("dry", seeds=(0, 1))), "--out", str(out), "--dry-run"]) == 0
    train, rank, atlas = capsys.readouterr().out.split("#!/bin/bash")[1:]
    for script in (train, rank, atlas):
        assert "#SBATCH --partition=low" in script
        assert "#SBATCH --requeue" in script
        assert "#SBATCH --signal=USR2@120" in script
        assert "export OMP_NUM_THREADS=1" in script
    assert "#SBATCH --array=0-1%2" in train
    assert "--dependency" not in train
    assert "#SBATCH --dependency=aftercorr:TRAIN1" in rank
    assert "#SBATCH --dependency=afterok:RANK2" in atlas
    assert not out.exists()


def test_without_slurm_there_is_one_line_that_says_so(
    write_config: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", str(write_config("none")), "--out", str(tmp_path / "run")]) == 1
    assert "sbatch: no such program" in capsys.readouterr().err
    assert main(["submit", "status", str(tmp_path / "run")]) == 1
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_and_ends_what_runs(write_config: Callable[..., Path], tmp_path: Path) -> None:
    cfg, out = write_config("stopped"), tmp_path / "sweep"
    cfg.write_text(cfg.read_text().replace("steps = 400", "steps = 20000"))
    command = [sys.executable, "-m", "emosae", "submit", str(cfg), "--out", str(out), "--local"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until((out / "runs" / SAE / "metrics.jsonl").exists, "some steps")
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in complaint.splitlines() if "Traceback" in line] == []
    assert states(out) == {f"train/{SAE}": "cancelled", f"rank/{SAE}": "new", "atlas/all": "new"}
    assert list((out / "runs" / SAE / "saes/checkpoints").glob("step-*.json"))
