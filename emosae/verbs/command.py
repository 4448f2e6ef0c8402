"""What a verb of the console is: a record of its flags and one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, arg

from emosae.config import RunConfig, StageName

Out = Annotated[Path, arg(metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """A verb: its fields are its flags."""

    debug: FlagCreatePairsOff[bool] = False
    """Show where in the code a mistake was noticed."""

    @classmethod
    def defaults(cls, args: Sequence[str]) -> dict[str, Any]:
        """Values of fields that the flags in `args` override, where they are not the class's own."""
        return {}

    @abstractmethod
    def run(self) -> Path | None:
        """Do it, and say where the result is."""


def run_until(stage: StageName, cfg: RunConfig, out: Path) -> Path:
    """Run a config up to a stage, and return that stage's folder."""
    from emosae import pipeline
    from emosae.store import Store

    return pipeline.run_until(cfg, Store(out), stage)
