"""One SAE on residuals that lie in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from emosae.activations import MemoryStream
from emosae.axes import Resid
from emosae.store import Stage
from emosae.tracking import Tracker
from emosae.training.loop import train_saes
from emosae.training.spec import SaeTrainSpec

_HELD_OUT = 8192


def count_held_out(n_rows: int) -> int:
    """How many of so many rows an SAE is measured on rather than trained: a twentieth, at least 1, at most 8,192."""
    return min(_HELD_OUT, max(1, n_rows // 20))


def split_held_out(n_rows: int, seed: int) -> tuple[Int[np.ndarray, " held"], Int[np.ndarray, " row"]]:
    """Rows to measure on and rows to train on, each in rising order."""
    order = np.random.default_rng(seed).permutation(n_rows)
    n_held = count_held_out(n_rows)
    return np.sort(order[:n_held]), np.sort(order[n_held:])


def train_sae(resid: Resid, spec: SaeTrainSpec, stage: Stage, tracker: Tracker | None = None, **options: Any) -> Path:
    """Train one SAE and return its folder; its seed also decides the order of the rows. See `train_saes`."""
    held, rows = split_held_out(len(resid), spec.seed)
    stream = MemoryStream({spec.hook_name: resid}, spec.batch_size, spec.seed, rows)
    held_out = {spec.hook_name: resid[torch.from_numpy(held)]}
    tell = None if tracker is None else (lambda _: tracker)
    return train_saes(stream, held_out, [spec], stage, open_tracker=tell, **options)[spec.name]
