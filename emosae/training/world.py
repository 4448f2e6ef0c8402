"""The processes that train one SAE together, and what they tell one another. Alone, there is nothing to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """This process among `size` of them. Every collective must be called by all, in the same order."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """As torch.distributed was initialised; alone if it was not."""
        from torch import distributed

        if not distributed.is_available() or not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, logs and evaluates."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Added over all processes, in place."""
        return self._reduce(values, "SUM")

    def smallest(self, values: Tensor) -> Tensor:
        """The smallest over all processes, element by element, in place."""
        return self._reduce(values, "MIN")

    def any(self, flag: bool, device: torch.device | str = "cpu") -> bool:
        """Whether it holds in any process."""
        return (self.size > 1 and bool(self.sum(torch.tensor(float(flag), device=device)) > 0)) or flag

    def gather(self, values: Tensor) -> Tensor:
        """Equally long vectors of all processes, end to end."""
        if self.size == 1:
            return values
        from torch import distributed

        parts = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()

    def _reduce(self, values: Tensor, how: str) -> Tensor:
        if self.size > 1:
            from torch import distributed

            operations: Any = distributed.ReduceOp
            distributed.all_reduce(values, op=getattr(operations, how))
        return values
