"""Where residuals lie and how far from there, measured once before a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.activations import ActivationStream, Cursor
from emosae.errors import UserError
from emosae.training.world import World

SCALE_ROWS = 262_144
"""Rows that centre and scale are measured on, or an epoch if that is shorter."""


@dataclass(frozen=True, eq=False, slots=True)
class Scaling:
    """The residuals' centre, and the factor that brings their distance from it to sqrt(d_in) on average."""

    mean: Float[Tensor, " d_in"]
    factor: float


def measure_scale(stream: ActivationStream, hook_name: str, world: World) -> Scaling:
    """Centre and scale over the first batches of a stream, together with the other processes.

    Refused: residuals that are not finite or do not vary.
    """
    n_batches = max(1, min(stream.n_rows, SCALE_ROWS) // stream.batch_size)
    mean = torch.zeros(stream.d_in, dtype=torch.float64)
    distance = torch.zeros(1, dtype=torch.float64)
    rows = torch.zeros(1, dtype=torch.float64)
    for batch in _batches(stream, hook_name, n_batches, world):
        mean += batch.sum(dim=0)
        rows += len(batch)
    mean = world.sum(mean) / world.sum(rows)
    for batch in _batches(stream, hook_name, n_batches, world):
        distance += (batch - mean).norm(dim=1).sum()
    total = float(world.sum(distance))
    if not math.isfinite(total):
        raise UserError("the residuals hold values that are not finite; read the model in float32")
    if total == 0:
        raise UserError("the residuals are all the same; there is nothing to learn")
    return Scaling(mean.float(), math.sqrt(stream.d_in) * float(rows) / total)


def _batches(stream: ActivationStream, hook_name: str, count: int, world: World):
    stream.seek(Cursor())
    for _ in range(count):
        yield stream.next_batch(world.rank, world.size)[hook_name].double().cpu()
    stream.seek(Cursor())
