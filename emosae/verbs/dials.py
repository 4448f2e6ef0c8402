"""Verbs for dials: emotion features that are turned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from emosae.verbs.command import Command


@dataclass(frozen=True, kw_only=True)
class DialCalibrate(Command):
    """Find for each dial of a run the doses at which text stays coherent, and fix its primary dose on tune stories."""

    run_directory: Annotated[Path, arg(name="run", metavar="DIR")]
    """The run; stages that are missing up to the ranking are done first. The table goes to DIR/dials."""
    doses: tuple[float, ...] = ()
    """Doses to measure, as added norms over the mean residual norm; those of the run's config if none are given."""
    kl: tuple[float, ...] = ()
    """Measure also at the doses that move neutral text by so many nats per token."""

    def run(self) -> Path:
        """Print the table, and say where the page is."""
        from emosae.pipeline.calibration import DoseGrid, calibrate_dials
        from emosae.report.calibration_page import format_calibration
        from emosae.runs import config_of_run
        from emosae.store import Store

        cfg = config_of_run(self.run_directory)
        grid = DoseGrid(self.doses or cfg.scenarios.calibration_doses, self.kl)
        table = calibrate_dials(cfg, Store.existing(self.run_directory), grid)
        print(format_calibration(table), flush=True)
        return self.run_directory / "dials" / "index.html"
