"""The processes that train one SAE together, and what they tell one another. Alone, there is nothing to tell."""

from __future__ import annotations

import os
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

    @classmethod
    def join(cls, device: str = "cpu") -> World:
        """Meet the other processes that torchrun or srun started beside this one; alone if there are none.

        torchrun tells each its rank; under srun the ranks are Slurm's, and MASTER_ADDR and MASTER_PORT must be set.
        """
        from torch import distributed

        for ours, slurms in (("RANK", "SLURM_PROCID"), ("WORLD_SIZE", "SLURM_NTASKS"), ("LOCAL_RANK", "SLURM_LOCALID")):
            if "MASTER_ADDR" in os.environ and slurms in os.environ:
                os.environ.setdefault(ours, os.environ[slurms])
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
            is_cuda = torch.device(device).type == "cuda"
            if is_cuda:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group("nccl" if is_cuda else "gloo")
        return cls.current()

    @staticmethod
    def leave() -> None:
        """Part from the other processes."""
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()

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
