"""Which features can be among the strongest of a token or a batch, found in a number format that is quicker than fp32.

A product in bf16 is off by no more than the norms allow (Cauchy-Schwarz), so it bounds each activation from above and
below. Whatever stays below the k-th largest lower bound is not among the k largest. The few that are left are computed
in fp32, one dot product each, and those alone are ranked: every format keeps the same features and the same bits, so
that a training may change its format between two steps.
"""

from __future__ import annotations

import functools
import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.training.world import World

_log = logging.getLogger(__name__)
_INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_GROUP = 32
_BLOCK = 128
_WORTH_IT = 0.7
_CROWD = 256
_PROBE_ROUNDS = 12

Positions = tuple[Int[Tensor, " n"], Int[Tensor, " n"]]


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """The activations by which features are ranked, `tokens @ rows.T + bias`, before they are computed."""

    tokens: Float[Tensor, "token d_in"]
    rows: Float[Tensor, "d_sae d_in"]
    bias: Float[Tensor, " d_sae"]

    def at(self, token: Int[Tensor, " n"], feature: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Some of them, on a CPU; `token` must rise. Each is the same to the bit, whichever others are asked for."""
        starts = torch.bincount(token, minlength=len(self.tokens)).cumsum(0)
        starts, shape = torch.nn.functional.pad(starts, (1, 0)), (len(self.tokens), len(self.rows))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR", UserWarning)
            wanted = torch.sparse_csr_tensor(
                starts, feature, self.rows.new_zeros(len(feature)), shape, check_invariants=False
            )
        return torch.sparse.sampled_addmm(wanted, self.tokens, self.rows.T, beta=0).values() + self.bias[feature]

    def of(self, features: Int[Tensor, " n"]) -> Float[Tensor, "token n"]:
        """Those of some features on all tokens."""
        return torch.addmm(self.bias[features], self.tokens, self.rows[features].T)

    def dense(self) -> Float[Tensor, "token d_sae"]:
        """All of them."""
        return torch.addmm(self.bias, self.tokens, self.rows.T)

    def can_be_screened(self) -> bool:
        """Whether this is a CPU, and all numbers are finite: nothing bounds the others."""
        return self.tokens.device.type == "cpu" and bool(
            (self.tokens.sum() + self.rows.sum() + self.bias.sum()).isfinite()
        )


def screen_tokens(ranking: Ranking, k: int, dtype: torch.dtype) -> Positions:
    """Where the `k` largest positive activations of each token lie, and some others; ordered by token, then feature.

    Tokens of which too many are left are looked at again in fp32.
    """
    bounds = _bound(ranking, dtype)
    floors = bounds.floors(k).numpy()
    place = floors.shape[1] - k
    token, feature = bounds.reach(torch.from_numpy(np.partition(floors, place, axis=1)[:, place]))
    if dtype == torch.float32:
        return token, feature
    crowded = torch.bincount(token, minlength=len(ranking.tokens)) > 3 * k + _CROWD
    if not crowded.any():
        return token, feature
    again = crowded.nonzero()[:, 0]
    there, those = screen_tokens(Ranking(ranking.tokens[again], ranking.rows, ranking.bias), k, torch.float32)
    others = ~crowded[token]
    token, feature = torch.cat([token[others], again[there]]), torch.cat([feature[others], those])
    order = token.argsort(stable=True)
    return token[order], feature[order]


def screen_batch(ranking: Ranking, count: int, dtype: torch.dtype, world: World) -> Positions:
    """Where the `count` largest positive activations over the tokens of all processes lie, and some others.

    If each process has its share of `count` above its own bound, all together have `count` above the lowest. Each may
    look in a format of its own; if too many are left to one of them, all look again in fp32.
    """
    share = -(-count // world.size)
    bounds = _bound(ranking, dtype)
    floors = bounds.floors(-(-share // len(ranking.tokens))).flatten().numpy()
    place = max(0, len(floors) - share)
    least = world.smallest(torch.from_numpy(np.partition(floors, place)[place : place + 1]))
    found = bounds.reach(least.expand(len(ranking.tokens)))
    is_crowded = len(found[0]) > 3 * share + _CROWD * len(ranking.tokens)
    if world.any(dtype != torch.float32 and is_crowded):
        return screen_batch(ranking, count, torch.float32, world)
    return found


@dataclass(frozen=True, eq=False, slots=True)
class _Bounds:
    """Upper bounds of all activations: each is at most `2 * slack[token] * size[feature]` above what it bounds."""

    above: Tensor
    slack: Float[Tensor, " token"]
    size: Float[Tensor, " d_sae"]

    def floors(self, k: int) -> Float[Tensor, "token group"]:
        """Lower bounds of one activation in each group of features, of which there are at least `k`.

        Eight times as many keep it rare that two of the largest share a group. Non-negative floats are ordered as
        the integers of the same bits, and integers are compared faster.
        """
        n_tokens, d_sae = self.above.shape
        group = next(
            size for size in (_GROUP, 16, 8, 4, 2, 1) if d_sae % size == 0 and d_sae >= size * min(8 * k, d_sae)
        )
        grouped = self.above.view(_INTEGERS[self.above.dtype]).view(n_tokens, group, d_sae // group)
        highest = grouped.amax(dim=1).view(self.above.dtype).float()
        size = self.size.view(group, -1).amax(dim=0)
        return highest * (1 - torch.finfo(self.above.dtype).eps) - 2 * self.slack[:, None] * size

    def reach(self, least: Float[Tensor, " token"]) -> Positions:
        """Where upper bounds are positive and reach each token's `least`."""
        dtype = self.above.dtype
        bits = (least * (1 - 2 * torch.finfo(dtype).eps)).clamp_min(torch.finfo(dtype).tiny).view(torch.int32)
        integers = _INTEGERS[dtype]
        lowest = (bits >> (32 - torch.iinfo(integers).bits)).to(integers)[:, None].numpy()
        above, d_sae = self.above.view(integers).numpy(), self.above.shape[1]
        blocks = [
            np.flatnonzero(above[start : start + _BLOCK] >= lowest[start : start + _BLOCK]) + start * d_sae
            for start in range(0, len(above), _BLOCK)
        ]
        positions = torch.from_numpy(np.concatenate(blocks))
        token = positions.div(d_sae, rounding_mode="floor")
        return token, positions - token * d_sae


def _bound(ranking: Ranking, dtype: torch.dtype) -> _Bounds:
    """One product in `dtype`, of operands that have the bias and the error's bound as further columns.

    |x y - x' y'| <= |x - x'| |y| + |x'| |y - y'| for rounded x' and y'; to this comes the rounding of both fp32 sums,
    that of the product and that of `Ranking.at`. The bias is split in three so that bf16 has all its digits.
    """
    eps, tokens, rows = torch.finfo(dtype).eps, ranking.tokens.to(dtype), ranking.rows.to(dtype)
    size = ranking.rows.norm(dim=1).hypot(ranking.bias).clamp_min(1e-30)
    lost = ((ranking.rows - rows.float()).norm(dim=1) / size).max()
    summing = (tokens.shape[1] + 8) * 2.0**-22
    length = ranking.tokens.norm(dim=1).hypot(torch.ones(()))
    slack = (ranking.tokens - tokens.float()).norm(dim=1) + (lost + summing) * length
    slack, size = ((values * (1 + 2 * eps)).to(dtype) for values in (slack, size))
    parts, rest = [], ranking.bias
    for _ in range(3):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1].float()
    left = torch.cat([tokens, slack[:, None], tokens.new_ones(len(tokens), 3)], dim=1)
    right = torch.cat([rows, torch.stack([size, *parts], dim=1)], dim=1)
    return _Bounds(left @ right.T, slack.float(), size.float())


@functools.cache
def quickest_format() -> torch.dtype:
    """bf16 where its matrix product is clearly faster than that of fp32 and sums in fp32, else fp32.

    Measured in the first call of a process, in turns so that a busy moment hits both; this takes some tens of
    milliseconds and logs one line. The result decides how long a step takes and no bit of what it computes.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n_rows, 512, generator=generator) for n_rows in (128, 2048))
    rounds = [
        {dtype: _time_product(left.to(dtype), right.to(dtype)) for dtype in _INTEGERS} for _ in range(_PROBE_ROUNDS)
    ]
    seconds = {dtype: min(one[dtype] for one in rounds) for dtype in _INTEGERS}
    quick, plain = seconds[torch.bfloat16], seconds[torch.float32]
    rounded = left[:32].bfloat16(), right.bfloat16()
    expected = rounded[0].double() @ rounded[1].double().T
    off = (rounded[0] @ rounded[1].T - expected).abs() - 2.0**-8 * expected.abs()
    is_bf16 = quick < _WORTH_IT * plain and float(off.max()) < 512 * 2.0**-22 * 512
    _log.info(
        "TopK steps screen features in %s: a product takes %.2f ms in bf16 and %.2f ms in fp32",
        "bf16" if is_bf16 else "fp32",
        1e3 * quick,
        1e3 * plain,
    )
    return torch.bfloat16 if is_bf16 else torch.float32


def _time_product(left: Tensor, right: Tensor) -> float:
    """Seconds that a product takes."""
    start = time.perf_counter()
    torch.matmul(left, right.T)
    return time.perf_counter() - start
