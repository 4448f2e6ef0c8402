"""An SAE that is trained from shards comes out to the same bits after a kill, in whatever order tasks wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import BOS, HOOK, planted_lm, planted_resid

from emosae.activations import ShardStream, write_shards
from emosae.store import Stage, content_hash
from emosae.training import CheckpointPolicy, SaeTrainSpec, train_saes

pytestmark = pytest.mark.integration

N_WORDS = 400
DEEPER = "blocks.1.hook_resid_post"
LM = planted_lm(planted_resid(N_WORDS, 16, 24)[0], [str(word) for word in range(N_WORDS)])
DOCUMENTS = [
    [BOS, *np.random.default_rng(seed).integers(1, N_WORDS + 1, size=20 + seed % 30).tolist()] for seed in range(60)
]
SPECS = [
    SaeTrainSpec(model_name="planted", hook_name=hook, name=name, d_sae=48, k=3, steps=30, batch_size=128, seed=seed)
    for seed, (name, hook) in enumerate({"early": HOOK, "late": DEEPER}.items())
]


class Killed(BaseException):
    """What no handler catches."""


class MortalStream(ShardStream):
    """A stream that dies at its `dies_at`-th batch."""

    dies_at: int | None = None
    calls = 0

    def next_batch(self, rank: int = 0, n_ranks: int = 1) -> dict[str, torch.Tensor]:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed
        return super().next_batch(rank, n_ranks)


def train(shards: Path, out: Path, *, dies_at: int | None = None) -> tuple[dict[str, str], int]:
    stream = MortalStream(shards, 128, seed=3, lm=LM, n_held_out=60)
    stream.dies_at = dies_at
    paths = train_saes(
        stream, stream.held_out(), SPECS, Stage(out), policy=CheckpointPolicy(every_steps=8, every_seconds=None)
    )
    return {name: content_hash(path) for name, path in paths.items()}, stream.calls


def write(shards: Path, tasks: Iterable[int]) -> Path:
    for task in tasks:
        options: dict[str, Any] = {"rows_per_shard": 300, "dtype": "bfloat16", "task": task, "n_tasks": 2}
        write_shards(LM, DOCUMENTS, (HOOK, DEEPER), Stage(shards), **options)
    return shards


def test_an_sae_from_shards_survives_a_kill_to_the_bit(tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", (0, 1))
    assert len(list(shards.glob("shard-*.json"))) >= 6
    whole, n_calls = train(shards, tmp_path / "whole")
    steps_left = 2 * 16 + 30 - 20
    with pytest.raises(Killed):
        train(shards, tmp_path / "killed", dies_at=n_calls - steps_left + 1)
    saved = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").glob("step-*.json"))
    assert saved == ["step-000000008.json", "step-000000016.json"]
    again, n_calls_again = train(shards, tmp_path / "killed")
    assert again == whole
    assert n_calls_again == n_calls - 16
    other_order = write(tmp_path / "other_order", (1, 0))
    assert train(other_order, tmp_path / "other") == (whole, n_calls)
