"""Verbs for story corpora: check one, import one, have one written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from emosae.errors import UsageError, UserError
from emosae.stories.generate.settings import GenerateSettings
from emosae.stories.limits import CheckName, Limits
from emosae.verbs.command import Command

if TYPE_CHECKING:
    from emosae.stories.findings import CheckReport

OutFile = Annotated[Path, arg(metavar="FILE.jsonl")]


@dataclass(frozen=True, kw_only=True)
class StoriesCheck(Command):
    """Check a corpus: banned words, near-duplicates, balance, and what a bag of words can tell."""

    stories: Annotated[Positional[Path], arg(metavar="FILE.jsonl")]
    """Stories, one JSON object a line; `shipped` is the corpus that comes with the package."""
    neutral: Annotated[Path | None, arg(metavar="FILE.jsonl")] = None
    """Neutral texts, one JSON object a line, or `shipped`; they are compared for near-duplicates."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder for check.txt (the table with all violations) and check.json; other files in it are left alone."""
    as_json: Annotated[FlagCreatePairsOff[bool], arg(name="json")] = False
    """Print the JSON instead of the table."""
    show: int = 5
    """Violations of each check that the printed table shows."""
    skip: tuple[CheckName, ...] = ()
    """Checks to leave out."""
    limits: Annotated[OmitArgPrefixes[Limits], arg(name="")] = field(default_factory=Limits)

    def run(self) -> Path | None:
        """Print the findings; any violation is a failure."""
        from emosae.files import write_whole
        from emosae.stories.check_table import format_report

        report = self._check()
        as_json = json.dumps(report.as_json(), indent=2, ensure_ascii=False)
        if self.out is not None:
            whole = format_report(report, show=None)
            for name, text in (("check.txt", whole), ("check.json", as_json)):
                write_whole(self.out / name, lambda temporary, text=text: temporary.write_text(f"{text}\n", "utf-8"))
        print(as_json if self.as_json else format_report(report, self.show), flush=True)
        if report.violations:
            counts = ", ".join(f"{name} {count}" for name, count in report.violations.items())
            raise UserError(f"{self.stories}: {sum(report.violations.values())} violations: {counts}")
        return None if self.as_json else self.out

    def _check(self) -> CheckReport:
        from emosae.stories import SHIPPED, load_stories
        from emosae.stories.check import check_stories, refuse_corpus

        if self.stories != SHIPPED and not self.stories.is_file():
            raise UserError(f"{self.stories}: no such file")
        try:
            stories = load_stories(self.stories, self.neutral)
        except UserError as refused:
            return refuse_corpus(str(refused))
        return check_stories(stories, self.limits, self.skip)


@dataclass(frozen=True, kw_only=True)
class StoriesWords(Command):
    """List the emotion words that emosae knows, with their families, opponents, valence and arousal."""

    norms: Annotated[Path | None, arg(metavar="FILE")] = None
    """Human ratings to stand beside emosae's own: the CSV of Warriner et al. (2013), or the NRC-VAD lexicon."""
    family: str | None = None
    """Only the words of this family."""

    def run(self) -> None:
        """Print the table."""
        from emosae.stories import load_norms, load_taxonomy
        from emosae.stories.word_table import format_words

        words = list(load_taxonomy().values())
        families = sorted({word.family for word in words})
        if self.family is not None and self.family not in families:
            raise UsageError(f"family {self.family!r}: use one of {', '.join(families)}")
        shown = [word for word in words if self.family in (None, word.family)]
        print(format_words(shown, None if self.norms is None else load_norms(self.norms)))


@dataclass(frozen=True, kw_only=True)
class StoriesImport(Command):
    """Turn JSONL, CSV, TSV, Parquet or a Hugging Face dataset directory into stories."""

    source: Annotated[Positional[Path], arg(metavar="FILE_OR_DIR")]
    """File, or folder whose data files are read one after another."""
    out: OutFile
    """Where the stories go; an existing file is replaced."""
    text_column: str = "text"
    """Column of the text."""
    emotion_column: str = "emotion"
    """Column of the emotion: a name, a number, or several of them."""
    topic_column: str | None = None
    """Column of the topic; a column "topic" is taken without being named, and so for the next three."""
    id_column: str | None = None
    """Column of the id."""
    writer_column: str | None = None
    """Column of the writer."""
    perspective_column: str | None = None
    """Column of the perspective: first or third."""
    split_column: str | None = None
    """Column of the split, taken only if named: discover, tune or confirm."""
    labels: Annotated[Path | None, arg(metavar="FILE")] = None
    """Names of emotions that are numbers, one a line, the first line for 0."""
    multi: Literal["drop", "first"] = "drop"
    """What becomes of a row with several emotions: left out, or a story of the first."""
    separator: str = ","
    """What separates several emotions in one cell."""
    columns: tuple[str, ...] = ()
    """Names of all columns of CSV or TSV files without a header line."""
    quotes: Literal["auto", "yes", "no"] = "auto"
    """Whether quotation marks enclose cells; auto is yes for CSV and no for TSV."""

    def run(self) -> Path:
        """Import, and print what became of every row."""
        from emosae.stories.importing import ColumnMap, import_stories, write_stories
        from emosae.stories.sources import read_names

        names = ("text", "emotion", "topic", "id", "writer", "perspective", "split")
        column_map = ColumnMap(**{name: getattr(self, f"{name}_column") for name in names})
        if self.out.resolve() == self.source.resolve() or self.out.is_dir():
            raise UsageError(f"--out {self.out}: give a file that is not the source")
        stories, report = import_stories(
            self.source,
            column_map,
            labels=read_names(self.labels) if self.labels else None,
            multi=self.multi,
            separator=self.separator,
            columns=self.columns or None,
            quotes=None if self.quotes == "auto" else self.quotes == "yes",
        )
        path = write_stories(self.out, stories)
        print(report.format(), flush=True)
        return path


@dataclass(frozen=True, kw_only=True)
class StoriesGenerate(Command):
    """Have stories written by a model behind an OpenAI-compatible endpoint."""

    topics: Annotated[Path, arg(metavar="FILE")]
    """Topics, one a line."""
    emotions: Annotated[Path | None, arg(metavar="FILE")] = None
    """Emotions, one a line; none is every word of the taxonomy."""
    model: Annotated[str, arg(metavar="NAME")]
    """The model, by the endpoint's name for it; OPENAI_BASE_URL and OPENAI_API_KEY say which endpoint."""
    out: OutFile
    """Where the stories are appended; those that are there already are not asked for again."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Say what is missing and what it would cost, and ask for nothing."""
    seed: int = 0
    """Start of the random part of waits between retries."""
    settings: Annotated[OmitArgPrefixes[GenerateSettings], arg(name="")] = field(default_factory=GenerateSettings)

    def run(self) -> Path | None:
        """Bring the file to hold every cell, and print what it took."""
        from random import Random

        from emosae.stories import load_taxonomy
        from emosae.stories.generate.cells import plan_cells
        from emosae.stories.generate.journal import read_finished
        from emosae.stories.generate.spend import estimate_spend
        from emosae.stories.generate.write import write_stories
        from emosae.stories.sources import read_names

        emotions = read_names(self.emotions) if self.emotions else list(load_taxonomy())
        cells = plan_cells(emotions, read_names(self.topics), self.settings.per_cell)
        if self.dry_run:
            done = read_finished(self.out)
            missing = sum(cell.id not in done for cell in cells)
            print(f"stories: {len(cells) - missing} of {len(cells)} are there, {missing} missing")
            print(f"estimate: {estimate_spend(cells, list(done), emotions, self.settings).format(self.settings)}")
            return None
        tally = write_stories(self.out, cells, emotions, self.model, self.settings, Random(self.seed))
        print(tally.format(self.settings), flush=True)
        if tally.given_up:
            first, reason = next(iter(tally.given_up.items()))
            missing = f"{len(tally.given_up)} of {len(cells)} stories are missing"
            raise UserError(f"{self.out}: {missing}, such as {first} ({reason}); the same command asks for them again")
        return self.out
