"""The verbs of the console by name.

Flags come from the config by way of tyro, so that they cannot drift. Nothing heavy is imported before a verb runs:
every `--help` stays under half a second.
"""

from emosae.verbs.command import Command
from emosae.verbs.parts import AtlasBuild, AtlasServe, Rank, ScenarioGrade, ScenarioRun
from emosae.verbs.runs import Demo, Report, Run, Train

VERBS: dict[str, type[Command]] = {
    "demo": Demo,
    "run": Run,
    "train": Train,
    "rank": Rank,
    "atlas build": AtlasBuild,
    "atlas serve": AtlasServe,
    "scenario run": ScenarioRun,
    "scenario grade": ScenarioGrade,
    "report": Report,
}

__all__ = ["VERBS", "Command"]
