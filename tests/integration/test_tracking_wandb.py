"""The real wandb package, without a network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from wandb_files import read_offline_runs

from emosae.cli import main
from emosae.store import Stage
from emosae.tracking import open_tracker

pytestmark = pytest.mark.integration


def test_offline_wandb_keeps_its_files_in_the_given_directory(tmp_path: Path) -> None:
    written: list[Mapping] = []
    with open_tracker(written.append, wandb="offline", directory=tmp_path, series="a", config={"k": 1}) as tracker:
        tracker.log({"loss": 1.0}, 0)
    assert len(written) == 1
    [run] = read_offline_runs(tmp_path)
    assert [(row["_step"], row["step"], row["a/loss"]) for row in run.history] == [(0, 0, 1.0)]


def test_a_run_that_goes_on_is_the_same_run_with_every_step_once(tmp_path: Path) -> None:
    written: list[dict[str, Any]] = []
    for steps in (range(50, 201, 50), range(150, 301, 50), range(50, 401, 50)):  # the second and third repeat some
        with open_tracker(
            lambda record: written.append(dict(record)),
            wandb="offline",
            directory=tmp_path,
            series="a",
            run_id="kept1234",
            earlier=tuple(written),
        ) as tracker:
            for step in steps:
                tracker.log({"loss": 1 / step, "bad": float("nan")}, step)
    steps = list(range(50, 401, 50))
    assert [record["step"] for record in written] == steps
    [run] = read_offline_runs(tmp_path)
    assert run.run_id == "kept1234"
    assert [(row["_step"], row["a/loss"]) for row in run.history] == [(step, 1 / step) for step in steps]


CONFIG = """
[training]
documents = 40
[stories]
per_emotion = 3
[[saes]]
name = "one"
hook_name = "blocks.3.hook_resid_post"
d_sae = 256
k = 8
steps = 600
batch_size = 256
[tracking]
wandb = "offline"
"""


def test_a_training_that_was_killed_goes_on_in_the_same_wandb_run(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    out, arguments = tmp_path / "run", ["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not this process' W&B
    process = subprocess.Popen([sys.executable, "-m", "emosae", *arguments], stderr=subprocess.DEVNULL, env=own)
    while len(Stage(out).read_lines("metrics")) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = Stage(out).read_lines("metrics")
    kept = json.loads((out / "saes/one.tracking.json").read_text())
    assert main(arguments) == 0
    assert json.loads((out / "saes/one.tracking.json").read_text()) == kept
    after = Stage(out).read_lines("metrics")
    assert after[: len(before)] == before
    assert [record["step"] for record in after] == list(range(50, 601, 50))
    [run] = read_offline_runs(out / "wandb")
    assert run.run_id == kept["run_id"]
    expected = [(record["step"], record["loss"], record["tokens_per_second"]) for record in after]
    assert [(row["_step"], row["one/loss"], row["one/tokens_per_second"]) for row in run.history] == expected
