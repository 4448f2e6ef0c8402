"""Verbs for the atlas: build it from runs, show it, hand it to other tools."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from emosae.errors import UsageError
from emosae.verbs.command import Command, Out, run_until

Format = Literal["neuronpedia", "parquet", "graphml", "csv"]


@dataclass(frozen=True, kw_only=True)
class AtlasBuild(Command):
    """Match, group and place the features of one run or of several, and write the pages."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """Finished run directories; their models, SAEs and stories may differ. Features are matched where stories are the
    same."""
    out: Out
    """Directory of the atlas; a run itself to bring only its own tables up to date."""
    norms: Annotated[Path | None, arg(metavar="FILE")] = None
    """Human ratings for a run's own tables: a CSV (emotion,valence,arousal; -1 to 1), Warriner et al. or NRC-VAD."""

    def run(self) -> Path:
        """Join the runs; nothing in them is changed."""
        if not self.runs:
            raise UsageError("atlas build: give at least one run directory")
        if self.out.absolute() in [run.absolute() for run in self.runs]:
            return self._renew()
        if self.norms is not None:
            raise UsageError("atlas build --norms: ratings belong to a run's own tables; give RUN with --out RUN first")
        from emosae import pipeline
        from emosae.runs import config_of_run

        for run in self.runs:
            config_of_run(run)  # what is no run is named before anything slow is imported
        return pipeline.join_runs(self.runs, self.out)

    def _renew(self) -> Path:
        """Run one run up to its atlas."""
        from emosae.runs import config_of_run

        if len(self.runs) > 1:
            raise UsageError(f"atlas build: --out {self.out} is one of the runs; give another directory")
        cfg = config_of_run(self.out)
        if self.norms is not None:
            cfg = cfg.model_copy(update={"atlas": cfg.atlas.model_copy(update={"norms": self.norms.absolute()})})
        return run_until("atlas", cfg, self.out)


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
class AtlasExport(Command):
    """Write an atlas in the formats of other tools."""

    directory: Annotated[Positional[Path], arg(metavar="DIR")]
    """An atlas, or a run with a report."""
    out: Out
    """Directory of the files."""
    formats: tuple[Format, ...] = ("neuronpedia", "parquet", "graphml", "csv")
    """Neuronpedia-style JSON, a Parquet with projection_x and projection_y, GraphML, CSV."""

    def run(self) -> Path:
        """Write each format."""
        from emosae.site.export import export_atlas
        from emosae.site.tables import find_tables, load_tables
        from emosae.store import Stage

        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"atlas export: --out {self.out} is a file; give a directory")
        export_atlas(load_tables(find_tables(self.directory)), self.formats, Stage(self.out))
        return self.out
