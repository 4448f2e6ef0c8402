"""`--local` runs the tasks of a sweep here, and `--dry-run` prints what sbatch would get; neither needs Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cluster.two_nodes import look, states, wait_until

from emosae.cli import main
from emosae.cluster import Journal
from emosae.store import Store

pytestmark = pytest.mark.integration

SAE = "blocks.3.hook_resid_post.d64.k8.seed0"
HARVEST, TASKS = "harvest/task-0", ["harvest/task-0", f"train/{SAE}", f"rank/{SAE}", "atlas/all"]


def test_a_sweep_ends_in_an_atlas_of_its_runs(quiet_run: Path) -> None:
    assert states(quiet_run) == dict.fromkeys(TASKS, "finished")
    assert (quiet_run / "runs" / SAE / "saes" / SAE / "sae_weights.safetensors").is_file()
    assert set(pq.read_table(quiet_run / "atlas/nodes.parquet")["sae"].to_pylist()) == {SAE}
    assert pq.read_table(quiet_run / "saes/saes.parquet")["seed"].to_pylist() == [0]
    configs = [Store.existing(path).read_manifest()["config"] for path in (quiet_run, quiet_run / "runs" / SAE)]
    groups = {cfg["tracking"]["group"] for cfg in configs}
    assert len(groups) == 1
    assert groups.pop().startswith("sweep-")


def test_status_and_logs_say_what_was_reached(quiet_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "status", str(quiet_run)]) == 0
    harvest, train = (line.split() for line in capsys.readouterr().out.splitlines()[1:3])
    n_shards = len(list((quiet_run / "shards").rglob("shard-*.safetensors")))
    assert harvest[:3] == [HARVEST, "finished", f"{n_shards}/{n_shards}"]
    assert n_shards >= 2
    assert train[:3] == [f"train/{SAE}", "finished", "400/400"]
    assert float(train[3].replace(",", "")) > 0
    assert main(["submit", "status", str(quiet_run), "--json"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["finished"] * 4
    assert main(["submit", "logs", str(quiet_run), f"rank/{SAE}", "--lines", "3"]) == 0
    printed = capsys.readouterr().out
    assert "selectivity" in printed
    assert "train/" not in printed
    assert main(["submit", "logs", str(quiet_run), HARVEST]) == 0
    assert "task 0: 100%" in capsys.readouterr().out


def test_what_is_finished_is_not_done_again(quiet_run: Path, write_config: Callable[..., Path]) -> None:
    before = Journal.existing(quiet_run).submissions()
    assert main(["submit", str(write_config("quiet")), "--out", str(quiet_run), "--local"]) == 0
    assert Journal.existing(quiet_run).submissions() == before


def test_the_model_reads_the_text_once_and_trainings_do_not(quiet_run: Path) -> None:
    logs = {task: (quiet_run / f"cluster/jobs/{one.job}_0_log.err").read_text() for task, one in submitted(quiet_run)}
    assert "reading" not in logs[f"train/{SAE}"]
    cfg = Store.existing(quiet_run / "runs" / SAE).read_manifest()["config"]
    [folder] = (quiet_run / "shards").iterdir()
    assert (cfg["training"]["activations"], cfg["shards"]["folder"]) == ("given", str(folder))


def submitted(run: Path) -> list[tuple[str, Any]]:
    return list(Journal.existing(run).latest().items())


@pytest.fixture
def lost_weights(quiet_run: Path) -> Iterator[Path]:
    """The sweep whose SAE is lost while this is looked at."""
    weights = quiet_run / "runs" / SAE / "saes" / SAE / "sae_weights.safetensors"
    moved = weights.rename(weights.with_suffix(".moved"))
    yield quiet_run
    moved.rename(weights)


@pytest.fixture
def damaged_shard(quiet_run: Path) -> Iterator[None]:
    """One shard of the sweep is too short while this is looked at."""
    path = sorted((quiet_run / "shards").rglob("shard-0-*.safetensors"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    yield
    path.write_bytes(content)


def test_a_lost_file_is_noticed(lost_weights: Path) -> None:
    seen = states(lost_weights)
    assert (seen[HARVEST], seen[f"train/{SAE}"]) == ("finished", "failed")


def test_shards_are_missed_only_where_something_is_left_to_train(quiet_run: Path, damaged_shard: None) -> None:
    assert set(states(quiet_run).values()) == {"finished"}


def test_a_damaged_shard_is_noticed_where_it_is_needed(lost_weights: Path, damaged_shard: None) -> None:
    seen = states(lost_weights)
    assert (seen[HARVEST], seen[f"train/{SAE}"]) == ("failed", "failed")


def test_a_task_that_fails_is_named_with_its_reason(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = write_config("broken")
    cfg.write_text(cfg.read_text().replace("blocks.3.", "blocks.77."))
    assert main(["submit", str(cfg), "--out", str(tmp_path / "run"), "--local"]) == 1
    assert "failed: harvest/task-0; 3 more wait for them" in capsys.readouterr().err
    harvest, *others = look(tmp_path / "run").values()
    assert harvest.state == "failed"
    assert "UserError" in harvest.note
    assert "blocks.77.hook_resid_post" in harvest.note
    assert [other.state for other in others] == ["new"] * 3


def test_dry_run_prints_a_script_per_stage_and_writes_nothing(
    write_config: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "run"
    assert main(["submit", str(write_config("dry", seeds=(0, 1), parts=3)), "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "# 2: harvest/task-2\n" in printed
    harvest, train, rank, atlas = printed.split("#!/bin/bash")[1:]
    for script in (harvest, train, rank, atlas):
        assert "#SBATCH --partition=low" in script
        assert "#SBATCH --requeue" in script
        assert "#SBATCH --signal=USR2@120" in script
        assert "export OMP_NUM_THREADS=1" in script
    assert "#SBATCH --array=0-2%3" in harvest
    assert "--dependency" not in harvest
    assert "#SBATCH --array=0-1%2" in train
    assert "#SBATCH --dependency=afterok:HARVEST1" in train
    assert "#SBATCH --dependency=aftercorr:TRAIN2" in rank
    assert "#SBATCH --dependency=afterok:RANK3" in atlas
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
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it in the background
    )
    wait_until((out / "runs" / SAE / "metrics.jsonl").exists, "some steps")
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130, complaint
    assert [line for line in complaint.splitlines() if "Traceback" in line] == []
    assert list(states(out).values()) == ["finished", "cancelled", "new", "new"]
    assert list((out / "runs" / SAE / "saes/checkpoints").glob("step-*.json"))
