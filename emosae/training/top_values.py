"""The largest of many numbers, exactly, without sorting what cannot be among them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosae.encoders import GROUP
from emosae.training.world import World

SAMPLE = 16


def top_overall(values: Float[Tensor, "row column"], count: int) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The `count` largest values of a whole matrix and their flat positions, in no order."""
    flat = values.flatten()
    n_groups = len(flat) // GROUP
    if len(flat) % GROUP or n_groups <= 2 * count:
        return _above_a_guess(flat, count, n_columns=values.shape[1])
    grouped = flat.view(n_groups, GROUP)
    groups = grouped.amax(dim=1).topk(count, sorted=False).indices
    found = grouped[groups].flatten().topk(count, sorted=False)
    return found.values, groups[found.indices // GROUP] * GROUP + found.indices % GROUP


def _above_a_guess(flat: Float[Tensor, " cell"], count: int, n_columns: int) -> tuple[Tensor, Tensor]:
    """Search only what exceeds a bound guessed from the first rows; all of it, should the guess be too high."""
    sample = flat[: max(1, len(flat) // n_columns // SAMPLE) * n_columns]
    rank = int(1.5 * count * len(sample) / len(flat)) + 1
    if rank < len(sample):
        guess = sample.topk(rank, sorted=False).values.min()
        positions = (~(flat <= guess)).nonzero()[:, 0]
        if len(positions) >= count:
            found = flat[positions].topk(count, sorted=False)
            return found.values, positions[found.indices]
    found = flat.topk(count, sorted=False)
    return found.values, found.indices


def kth_largest(values: Float[Tensor, "row column"], count: int, world: World) -> Float[Tensor, ""]:
    """The `count`-th largest value over the matrices of all processes, which are equally large."""
    mine = top_overall(values, min(count, values.numel()))[0]
    everyone = world.gather(mine.contiguous())
    return everyone.topk(count, sorted=False).values.min()


def keep_largest(values: Float[Tensor, " n"], group: Int[Tensor, " n"], n_groups: int, k: int) -> Bool[Tensor, " n"]:
    """The `k` largest of each group, on a CPU; of equal ones the first. `group` must rise."""
    counts = torch.bincount(group, minlength=n_groups)
    widest, starts = int(counts.max()), counts.cumsum(0) - counts
    if widest <= k:
        return torch.ones_like(group, dtype=torch.bool)
    table = values.new_full((n_groups, widest), -torch.inf)
    place = torch.arange(len(group)) - starts[group]
    table.view(-1)[group * widest + place] = values
    least = _kth_of_rows(table, k)[group]
    larger, tied = values > least, values == least
    room = k - torch.bincount(group[larger], minlength=n_groups)
    before = torch.nn.functional.pad(tied.cumsum(0), (1, 0))
    return larger | (tied & (before[:-1] - before[starts][group] < room[group]))


def mask_top(values: Float[Tensor, "row column"], k: int) -> Float[Tensor, "row column"]:
    """1 at the `k` largest of each row, 0 elsewhere; which of equal ones is left open."""
    if values.device.type == "cpu":
        mask = (values >= _kth_of_rows(values, k)[:, None]).to(values.dtype)
        if bool((mask.sum(dim=1) == k).all()):
            return mask
    return torch.zeros_like(values).scatter_(1, values.topk(k, dim=1, sorted=False).indices, 1.0)


def _kth_of_rows(values: Float[Tensor, "row column"], k: int) -> Float[Tensor, " row"]:
    """The k-th largest of each row; numpy partitions by vector instructions, ten times as fast as `torch.topk`."""
    place = values.shape[1] - k
    return torch.from_numpy(np.partition(values.numpy(), place, axis=1)[:, place].copy())
