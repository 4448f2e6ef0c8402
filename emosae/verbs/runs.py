"""Verbs that run a config from its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from emosae.config import RunConfig, StageName, load_config
from emosae.errors import UsageError
from emosae.verbs.command import Command, Out, run_until

Settings = Annotated[RunConfig, arg(name="")]
FromStage = Annotated[StageName | None, arg(name="from", metavar="STAGE")]


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Run everything on the embedded model: stories to report in minutes, no download."""

    out: Out = Path("runs/demo")
    """Run directory; a finished stage in it is not done again."""
    from_stage: FromStage = None
    """Do this stage and all after it again."""
    settings: Settings = field(default_factory=RunConfig)

    def run(self) -> Path:
        """Run every stage."""
        from emosae import pipeline
        from emosae.store import Store

        return pipeline.run(self.settings, Store(self.out), first=self.from_stage)


@dataclass(frozen=True, kw_only=True)
class FromFile(Command):
    """A verb that begins with a config file."""

    config: Annotated[Positional[Path], arg(metavar="CONFIG.toml")]
    """The config, or the name of a shipped one (such as demo.toml)."""
    out: Out
    """Run directory; a finished stage in it is not done again."""
    settings: Settings = field(default_factory=RunConfig)

    @classmethod
    def defaults(cls, args: Sequence[str]) -> dict[str, Any]:
        """The settings in the first argument that ends in .toml."""
        files = [given for given in args if given.endswith(".toml")]
        if not files:
            raise UsageError("give a config, a file that ends in .toml")
        return {"settings": load_config(Path(files[0]))}


@dataclass(frozen=True, kw_only=True)
class Run(FromFile):
    """Run every stage of a config; flags override the file."""

    from_stage: FromStage = None
    """Do this stage and all after it again."""

    def run(self) -> Path:
        """Run every stage."""
        return Demo(out=self.out, from_stage=self.from_stage, settings=self.settings).run()


@dataclass(frozen=True, kw_only=True)
class Train(FromFile):
    """Train the SAEs of a config and save them in sae-lens' format."""

    def run(self) -> Path:
        """Run up to the SAEs."""
        return run_until("saes", self.settings, self.out)


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write the report of a run, doing first what is still missing."""

    run_directory: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run directory."""

    def run(self) -> Path:
        """Run up to the report."""
        from emosae.runs import config_of_run

        return run_until("report", config_of_run(self.run_directory), self.run_directory)
