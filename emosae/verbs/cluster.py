"""Verbs for sweeps of SAEs on a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from emosae.config import RunConfig
from emosae.errors import UsageError
from emosae.verbs.command import Command
from emosae.verbs.runs import FromFile, Settings

Sweep = Annotated[Positional[Path], arg(metavar="RUN")]
Tasks = Annotated[Positional[tuple[str, ...]], arg(metavar="TASK")]


@dataclass(frozen=True, kw_only=True)
class Submit(FromFile):
    """Harvest, train, rank and map a [sweep] of SAEs as Slurm jobs; again: only what is left. See submit status."""

    dry_run: FlagCreatePairsOff[bool] = False
    """Print the scripts that sbatch would be given, and do nothing."""
    local: FlagCreatePairsOff[bool] = False
    """Run the same tasks on this machine, and return when they are done."""
    settings: Settings = field(default_factory=RunConfig)

    def run(self) -> Path | None:
        """Submit what is neither finished nor on its way."""
        from emosae import cluster
        from emosae.store import Store

        if self.dry_run and self.local:
            raise UsageError("submit: give --dry-run or --local, not both")
        journal = cluster.Journal(Store(self.out))
        todo = cluster.find_todo(self.settings, journal)
        if self.dry_run:
            print(cluster.print_scripts(self.settings, journal, todo))
            return None
        if self.local:
            cluster.run_tasks_here(self.settings, journal, todo)
        else:
            cluster.submit_to_slurm(self.settings, journal, todo)
        return self.out


@dataclass(frozen=True, kw_only=True)
class SubmitStatus(Command):
    """Show how every task of a submitted sweep stands."""

    run_directory: Sweep
    """The sweep's directory."""
    json: FlagCreatePairsOff[bool] = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Print a line for each task."""
        from emosae.cluster import Journal, tabulate, watch_tasks

        states = watch_tasks(Journal.existing(self.run_directory))
        print(_as_json(states) if self.json else tabulate(states))


@dataclass(frozen=True, kw_only=True)
class SubmitCancel(Command):
    """Cancel the jobs of a submitted sweep, or of some of its tasks."""

    run_directory: Sweep
    """The sweep's directory."""
    tasks: Tasks = ()
    """Names of tasks, as status shows them; all if none."""

    def run(self) -> None:
        """Cancel, and print which tasks had a job on its way."""
        from emosae.cluster import Journal, cancel_tasks

        cancelled = cancel_tasks(Journal.existing(self.run_directory), self.tasks)
        print("\n".join(cancelled) if cancelled else "nothing was on its way")


@dataclass(frozen=True, kw_only=True)
class SubmitLogs(Command):
    """Show what the jobs of a submitted sweep wrote last."""

    run_directory: Sweep
    """The sweep's directory."""
    tasks: Tasks = ()
    """Names of tasks, as status shows them; all if none."""
    lines: int = 20
    """Lines of each log."""

    def run(self) -> None:
        """Print the ends of the logs."""
        from emosae.cluster import Journal, read_logs

        print(read_logs(Journal.existing(self.run_directory), self.tasks, self.lines))


def _as_json(states) -> str:
    keys = ("state", "note", "job", "step", "steps", "tokens_per_second")
    return json.dumps([{"task": one.task.name, **{key: getattr(one, key) for key in keys}} for one in states], indent=2)
