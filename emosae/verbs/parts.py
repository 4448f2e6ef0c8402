"""Verbs for one part of the sentence: ranking, the scenarios."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, UseAppendAction, arg

from emosae.config import (
    FeaturesSection,
    ModelSection,
    RunConfig,
    SaeFromRelease,
    SaeOnDisk,
    SaeSpec,
    ScenariosSection,
    SelectivitySection,
    StoriesSection,
)
from emosae.errors import UsageError, UserError
from emosae.stories import SHIPPED
from emosae.stories.generate.settings import CallSettings
from emosae.verbs.command import Command, Out, run_until


@dataclass(frozen=True, kw_only=True)
class Rank(Command):
    """Rank the features of SAEs by how well each tells one emotion from the others."""

    model: Annotated[str, arg(metavar="NAME_OR_DIR")]
    """The language model: directory or hub name."""
    sae: Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], arg(aliases=("--saes",), metavar="DIR_OR_RELEASE:ID")]
    """SAEs, one or several. Features of SAEs that read the same place are looked for in one another."""
    stories: Annotated[Path, arg(metavar="FILE.jsonl")]
    """Stories, one JSON object a line; `shipped` is the corpus that comes with the package."""
    neutral: Annotated[Path | None, arg(metavar="FILE.jsonl")] = None
    """Neutral texts, one JSON object a line, or `shipped`."""
    out: Out
    """Run directory."""
    seed: int = 0
    """Start of every random number."""
    features: FeaturesSection = field(default_factory=FeaturesSection)
    selectivity: SelectivitySection = field(default_factory=SelectivitySection)

    def run(self) -> Path:
        """Run up to the ranking, whose page is the result."""
        if not self.sae:
            raise UsageError("rank: give at least one --sae")
        cfg = RunConfig(
            seed=self.seed,
            model=ModelSection(name=self.model),
            stories=StoriesSection(path=self.stories, neutral=self.neutral),
            saes=_saes_named([text for given in self.sae for text in given]),
            features=self.features,
            selectivity=self.selectivity,
        )
        return run_until("selectivity", cfg, self.out) / "index.html"


@dataclass(frozen=True, kw_only=True)
class ScenarioRun(Command):
    """Let the model of a run act while its emotion features are turned."""

    scenario: Positional[Literal["conversation", "impossible_code"]]
    """Which scenario."""
    run_directory: Annotated[Path, arg(name="run", metavar="DIR")]
    """A finished run, for its model, SAEs and features."""
    tasks: Annotated[Path | None, arg(metavar="FILE.jsonl")] = None
    """Programming tasks, one JSON object a line; `shipped` is the package's own Python tasks."""
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
            changes["tasks"] = self.tasks if self.tasks == SHIPPED else self.tasks.absolute()
        section = self.scenarios.model_copy(update=changes)
        return run_until("scenarios", cfg.model_copy(update={"scenarios": section}), self.out)


@dataclass(frozen=True, kw_only=True)
class ScenarioGrade(Command):
    """Grade programs that were written elsewhere, by running them in the sandbox."""

    tasks: Annotated[Positional[Path], arg(metavar="TASKS.jsonl")]
    """Programming tasks, one JSON object a line; `shipped` is the package's own."""
    answers: Annotated[Positional[Path], arg(metavar="ANSWERS.jsonl")]
    """Answers, one JSON object a line (id, text, if wanted condition and episode); `shipped` is scripted ones."""
    out: Out
    """Run directory of the grades."""
    workers: int = 2
    """Sandboxes at a time."""
    unsafe_no_sandbox: FlagCreatePairsOff[bool] = False
    """Run the programs without bubblewrap, with your own rights."""

    def run(self) -> Path:
        """Grade every answer, and print what each condition came to."""
        from emosae import pipeline
        from emosae.store import Store

        if self.workers < 1:
            raise UsageError("scenario grade: --workers must be 1 or more")
        return pipeline.grade_answers(
            self.tasks, self.answers, Store(self.out), workers=self.workers, unsafe=self.unsafe_no_sandbox
        )


@dataclass(frozen=True, kw_only=True)
class ScenarioJudge(Command):
    """Have a model behind an OpenAI-compatible endpoint grade answers too, and say how far it agrees with the rules."""

    directory: Annotated[Positional[Path], arg(name="", metavar="DIR")]
    """The --out of `scenario grade`; DIR/grades gets judged.jsonl, and a second section in its report.txt."""
    tasks: Annotated[Path, arg(metavar="TASKS.jsonl")] = SHIPPED
    """The tasks that were graded; `shipped` is the package's own."""
    model: Annotated[str, arg(metavar="NAME")]
    """The judge, by the endpoint's name for it; OPENAI_API_KEY holds its key."""
    base_url: Annotated[str | None, arg(metavar="URL")] = None
    """The endpoint; none is what OPENAI_BASE_URL names."""
    seed: int = 0
    """Start of the random part of waits between retries."""
    settings: Annotated[OmitArgPrefixes[CallSettings], arg(name="")] = field(default_factory=CallSettings)

    def run(self) -> Path:
        """Ask about the answers that this judge has not graded yet, and print the agreement."""
        from random import Random

        from emosae import pipeline
        from emosae.pipeline.judging import Judge
        from emosae.store import Store

        judge = Judge(self.model, self.base_url, self.settings)
        return pipeline.judge_answers(Store(self.directory), self.tasks, judge, Random(self.seed))


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
