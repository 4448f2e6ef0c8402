"""The largest of many numbers, exactly, without sorting what cannot be among them."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from emosae.training.world import World

GROUP = 32
SAMPLE = 16


def top_per_row(values: Float[Tensor, "row column"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """The `k` largest values of each row and their columns, in no order; the same values as `torch.topk`.

    Columns are looked at in groups of 32. At most `k` groups hold one of the `k` largest, and they are the `k` groups
    with the largest maxima, so only those are searched: at 8,192 columns and k 32 an eighth of the whole.
    """
    n_rows, n_columns = values.shape
    n_groups = n_columns // GROUP
    if n_columns % GROUP or n_groups <= 2 * k:
        found = values.topk(k, dim=1, sorted=False)
        return found.values, found.indices
    grouped = values.view(n_rows, n_groups, GROUP)
    groups = grouped.amax(dim=2).topk(k, dim=1, sorted=False).indices
    searched = grouped.gather(1, groups[:, :, None].expand(-1, -1, GROUP)).view(n_rows, k * GROUP)
    found = searched.topk(k, dim=1, sorted=False)
    columns = groups.gather(1, found.indices // GROUP) * GROUP + found.indices % GROUP
    return found.values, columns


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
        positions = (flat > guess).nonzero()[:, 0]
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
