"""The verbs of the console by name.

Flags come from the config by way of tyro, so that they cannot drift. Nothing heavy is imported before a verb runs:
every `--help` stays under half a second.
"""

from emosae.verbs.atlas import AtlasBuild, AtlasExport, AtlasServe
from emosae.verbs.cluster import Submit, SubmitCancel, SubmitLogs, SubmitStatus
from emosae.verbs.command import Command
from emosae.verbs.dials import DialCalibrate
from emosae.verbs.doctor import Doctor
from emosae.verbs.parts import Rank, ScenarioGrade, ScenarioJudge, ScenarioRun
from emosae.verbs.runs import Demo, Report, Run, Train
from emosae.verbs.stories import StoriesCheck, StoriesGenerate, StoriesImport, StoriesWords
from emosae.verbs.validate import ValidateAtlas, ValidateScenarios, ValidateSelectivity

VERBS: dict[str, type[Command]] = {
    "demo": Demo,
    "run": Run,
    "train": Train,
    "rank": Rank,
    "atlas build": AtlasBuild,
    "atlas serve": AtlasServe,
    "atlas export": AtlasExport,
    "scenario run": ScenarioRun,
    "scenario grade": ScenarioGrade,
    "scenario judge": ScenarioJudge,
    "dial calibrate": DialCalibrate,
    "report": Report,
    "submit": Submit,
    "submit status": SubmitStatus,
    "submit cancel": SubmitCancel,
    "submit logs": SubmitLogs,
    "stories check": StoriesCheck,
    "stories generate": StoriesGenerate,
    "stories import": StoriesImport,
    "stories words": StoriesWords,
    "doctor": Doctor,
    "validate selectivity": ValidateSelectivity,
    "validate atlas": ValidateAtlas,
    "validate scenarios": ValidateScenarios,
}

__all__ = ["VERBS", "Command"]
