"""The verbs of the console: each is a record of its flags and one call of the pipeline.

Flags come from the config by way of tyro, so that they cannot drift. Nothing heavy is imported before a verb runs:
every `--help` stays under half a second.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from emosae.config import (
    FeaturesSection,
    ModelSection,
    RunConfig,
    SaeFromRelease,
    SaeOnDisk,
    SaeSpec,
    ScenariosSection,
    SelectivitySection,
    StageName,
    StoriesSection,
    load_config,
)
from emosae.errors import UsageError, UserError

Settings = Annotated[RunConfig, arg(name="")]
Out = Annotated[Path, arg(metavar="DIR")]
FromStage = Annotated[StageName | None, arg(name="from", metavar="STAGE")]


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
        return _run_until("saes", self.settings, self.out)


@dataclass(frozen=True, kw_only=True)
class Rank(Command):
    """Rank the features of SAEs by how well each tells one emotion from the others."""

    model: Annotated[str, arg(metavar="NAME_OR_DIR")]
    """The language model: directory or hub name."""
    sae: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="DIR_OR_RELEASE:ID")]
    """An SAE; give the flag once for each."""
    stories: Annotated[Path, arg(metavar="FILE.jsonl")]
    """Stories, one JSON object a line."""
    neutral: Annotated[Path | None, arg(metavar="FILE.jsonl")] = None
    """Neutral texts, one JSON object a line."""
    out: Out
    """Run directory."""
    seed: int = 0
    """Start of every random number."""
    features: FeaturesSection = field(default_factory=FeaturesSection)
    selectivity: SelectivitySection = field(default_factory=SelectivitySection)

    def run(self) -> Path:
        """Run up to the ranking."""
        if not self.sae:
            raise UsageError("rank: give at least one --sae")
        cfg = RunConfig(
            seed=self.seed,
            model=ModelSection(name=self.model),
            stories=StoriesSection(path=self.stories, neutral=self.neutral),
            saes=_saes_named(self.sae),
            features=self.features,
            selectivity=self.selectivity,
        )
        return _run_until("selectivity", cfg, self.out)


@dataclass(frozen=True, kw_only=True)
class AtlasBuild(Command):
    """Match, group and place the features of one run or of several."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Run directories that read the same stories with the same model."""
    out: Out
    """Run directory of the atlas."""

    def run(self) -> Path:
        """Run up to the atlas."""
        from emosae.runs import config_of_run, config_of_runs

        if not self.runs:
            raise UsageError("atlas build: give at least one run directory")
        is_in_place = len(self.runs) == 1 and self.runs[0].absolute() == self.out.absolute()
        cfg = config_of_run(self.out) if is_in_place else config_of_runs(self.runs)
        return _run_until("atlas", cfg, self.out)


@dataclass(frozen=True, kw_only=True)
class AtlasServe(Command):
    """Show a finished atlas in the browser, to this machine only."""

    directory: Annotated[Positional[Path], arg(metavar="DIR")]
    """Directory of the pages."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""

    def run(self) -> None:
        """Serve until interrupted."""
        from emosae.serve import address, open_server

        with open_server(self.directory, self.port) as server, contextlib.suppress(KeyboardInterrupt):
            print(f"{address(self.directory, server)} (stop with Ctrl-C)", flush=True)
            server.serve_forever()


@dataclass(frozen=True, kw_only=True)
class ScenarioRun(Command):
    """Let the model of a run act while its emotion features are turned."""

    scenario: Positional[Literal["conversation", "impossible_code"]]
    """Which scenario."""
    run_directory: Annotated[Path, arg(name="run", metavar="DIR")]
    """A finished run, for its model, SAEs and features."""
    tasks: Annotated[Path | None, arg(metavar="FILE.jsonl")] = None
    """Programming tasks, one JSON object a line."""
    out: Out
    """Run directory of the scenario."""
    scenarios: ScenariosSection = field(default_factory=ScenariosSection)

    @classmethod
    def defaults(cls, args: Sequence[str]) -> dict[str, Any]:
        """The earlier run's section."""
        from emosae.runs import config_of_run

        given = re.search(r"(?:^|\0)--run[\0=]([^\0]+)", "\0".join(args))
        return {"scenarios": config_of_run(Path(given[1])).scenarios} if given else {}

    def run(self) -> Path:
        """Run up to the scenarios."""
        from emosae.runs import config_of_run, with_trained_saes

        cfg = config_of_run(self.run_directory)
        if self.out.absolute() != self.run_directory.absolute():
            cfg = with_trained_saes(cfg, self.run_directory)
        changes: dict[str, Any] = {"enabled": (self.scenario,)}
        if self.tasks is not None:
            changes["tasks"] = self.tasks.absolute()
        section = self.scenarios.model_copy(update=changes)
        return _run_until("scenarios", cfg.model_copy(update={"scenarios": section}), self.out)


@dataclass(frozen=True, kw_only=True)
class ScenarioGrade(Command):
    """Grade programs that were written elsewhere, by running them in the sandbox."""

    tasks: Annotated[Positional[Path], arg(metavar="TASKS.jsonl")]
    """Programming tasks, one JSON object a line."""
    answers: Annotated[Positional[Path], arg(metavar="ANSWERS.jsonl")]
    """Answers, one JSON object a line."""
    out: Out
    """Run directory of the grades."""

    def run(self) -> Path:
        """Grade every answer."""
        from emosae import pipeline
        from emosae.store import Store

        return pipeline.grade_answers(self.tasks, self.answers, Store(self.out))


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write the report of a run, doing first what is still missing."""

    run_directory: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run directory."""

    def run(self) -> Path:
        """Run up to the report."""
        from emosae.runs import config_of_run

        return _run_until("report", config_of_run(self.run_directory), self.run_directory)


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


def _run_until(stage: StageName, cfg: RunConfig, out: Path) -> Path:
    from emosae import pipeline
    from emosae.store import Store

    return pipeline.run_until(cfg, Store(out), stage)


def _saes_named(given: Sequence[str]) -> tuple[SaeSpec, ...]:
    """SAEs from the command line, each a directory or RELEASE:ID, named after what tells them apart."""
    saes = [_sae_named(text) for text in given]
    names = [sae.name for sae in saes]
    return tuple(
        sae.model_copy(update={"name": f"{sae.name}.{place}"}) if names.count(sae.name) > 1 else sae
        for place, sae in enumerate(saes, start=1)
    )


def _sae_named(text: str) -> SaeSpec:
    path = Path(text)
    if path.is_dir():
        return SaeOnDisk(name=_as_name(path.resolve().name), path=path)
    release, colon, sae_id = text.partition(":")
    if not (colon and release and sae_id):
        raise UserError(f"--sae {text}: no such directory, and not RELEASE:ID either")
    return SaeFromRelease(name=_as_name(sae_id), release=release, sae_id=sae_id)


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-") or "sae"
