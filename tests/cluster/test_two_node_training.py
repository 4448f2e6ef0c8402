"""Two tasks of one Slurm job, on two nodes, train the SAE that one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.two_nodes import Slurm, free_ports
from safetensors.torch import load_file

from emosae.cli import main

pytestmark = [pytest.mark.integration, pytest.mark.slurm]

CONFIG = """
[stories]
per_emotion = 4
[training]
documents = 60
[[saes]]
name = "sae"
hook_name = "blocks.2.hook_resid_post"
d_sae = 64
k = 8
steps = 15
batch_size = 256
"""


def test_two_nodes_train_the_weights_of_one_process(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "sae.toml").write_text(CONFIG)
    train = ["train", str(tmp_path / "sae.toml"), "--out"]
    assert main([*train, str(tmp_path / "one")]) == 0
    [port] = free_ports(1)
    export = f"--export=ALL,MASTER_ADDR=127.0.0.1,MASTER_PORT={port},OMP_NUM_THREADS=1"
    # two nodes of one machine share its folders and differ in name only, which each task tells
    told = f"echo node $SLURMD_NODENAME >&2; exec {sys.executable} -m emosae {' '.join(train)} {tmp_path / 'two'}"
    command = ["srun", "--nodes=2", "--ntasks=2", "--partition=high", export, "bash", "-c", told]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, env=slurm.environment() | os.environ)
    assert found.returncode == 0, found.stderr[-3000:]
    assert {line.split()[-1] for line in found.stderr.splitlines() if line.startswith("node ")} == {"n1", "n2"}
    one, two = (load_file(tmp_path / name / "saes" / "sae" / "sae_weights.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert float((two[key] - value).abs().max() / value.abs().max()) < 1e-5, key
