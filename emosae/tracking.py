"""Where a run's numbers go while it runs: always to `metrics.jsonl`, and to Weights & Biases if asked.

The file is the record. W&B is a guest: whatever happens to it, the run goes on and says once that the guest left.
"""

from __future__ import annotations

import io
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

from emosae.errors import UserError

WandbMode = Literal["disabled", "offline", "online"]
WriteLine = Callable[[Mapping[str, Any]], None]

_log = logging.getLogger(__name__)


@runtime_checkable
class Sink(Protocol):
    """A second place for metrics, which may fail at any call."""

    def log(self, metrics: Mapping[str, float | int], step: int) -> None:
        """Record the metrics of one step."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class Tracker:
    """Logs metrics per step, under an optional name that tells several series of one run apart."""

    def __init__(
        self,
        write_line: WriteLine,
        sink: Sink | None = None,
        *,
        series: str = "",
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Log through `write_line`, one record a call, and to `sink` for as long as it lives.

        `earlier` is what was written before a kill. The sink, which may have lost some of it, is told it again, and
        steps up to the last of it are passed over: what goes on from a checkpoint repeats them.
        """
        self._write_line = write_line
        self._sink = sink
        self._series = series
        self._done = max((record["step"] for record in earlier), default=-1)
        for record in earlier:
            known = {name: value for name, value in record.items() if name not in ("series", "step")}
            self._show({name: math.nan if value is None else value for name, value in known.items()}, record["step"])

    def log(self, metrics: Mapping[str, float | int], step: int) -> None:
        """Record the metrics of one step; values that are not finite are written as null."""
        if step <= self._done:
            return
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        head = {"series": self._series} if self._series else {}
        self._write_line({**head, "step": step, **finite})
        self._show(values, step)

    def _show(self, values: Mapping[str, float], step: int) -> None:
        prefix = f"{self._series}/" if self._series else ""
        self._tell(lambda sink: sink.log({f"{prefix}{name}": value for name, value in values.items()}, step))

    def close(self) -> None:
        """Close the sink. The file needs no closing: every record is already written."""
        self._tell(lambda sink: sink.close())
        self._sink = None

    def __enter__(self) -> Tracker:
        """Use as a context manager to have it closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def _tell(self, call: Callable[[Sink], None]) -> None:
        if self._sink is None:
            return
        try:
            call(self._sink)
        except Exception as failure:  # a guest's failure of any kind must not end the run
            _log.warning("W&B stopped (%s); metrics go on in the file", _reason(failure))
            self._sink = None


def open_tracker(
    write_line: WriteLine,
    *,
    series: str = "",
    wandb: WandbMode = "disabled",
    directory: Path | None = None,
    project: str = "emosae",
    group: str | None = None,
    config: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> Tracker:
    """A tracker that also logs to W&B unless `wandb` is "disabled".

    W&B keeps its own files under `directory`; "offline" sends nothing (`wandb sync` does later). A missing
    package is refused, since the user asked for it; a W&B that does not start is reported and left out.

    Args:
        write_line: Takes one record a call.
        series: Name that tells several series of one run apart; also the W&B run's.
        wandb: Whether W&B gets the metrics, and whether it sends them.
        directory: Where W&B keeps its files.
        project: W&B project.
        group: W&B group.
        config: What W&B shows as the run's config.
        run_id: W&B's id of the run; with the same one again the same W&B run goes on. Offline there is then one folder
            of that id, which holds the whole history: those that a killed process left are deleted, since W&B would
            write one over the other.
        earlier: Records of the series that were written before a kill; no step of them is logged twice.
    """
    if wandb == "disabled":
        return Tracker(write_line, series=series, earlier=earlier)
    labels = {"project": project, "group": group, "name": series or None}
    if run_id is not None:
        labels |= {"id": run_id, "resume": "allow"}
        _drop_offline_folders(directory, run_id)
    return Tracker(write_line, _open_wandb(wandb, directory, labels, config), series=series, earlier=earlier)


def _drop_offline_folders(directory: Path | None, run_id: str) -> None:
    folder = (directory or Path()) / "wandb"
    for superseded in folder.glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(superseded, ignore_errors=True)


def _open_wandb(
    mode: WandbMode,
    directory: Path | None,
    labels: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> Sink | None:
    try:
        import wandb
    except ModuleNotFoundError as missing:
        raise UserError("tracking.wandb: the wandb package is missing; pip install 'emosae[wandb]'") from missing
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(console="off", silent=True, init_timeout=30, finish_timeout=60)
    try:
        run = wandb.init(
            mode=mode,
            dir=directory,
            config=dict(config or {}),
            settings=settings,
            reinit="create_new",
            **labels,
        )
    except Exception as failure:  # no network, no key, a full disk: the run does without
        _log.warning("W&B did not start (%s); metrics go to the file", _reason(failure))
        return None
    return _WandbSink(run)


def _reason(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}".splitlines()[0]


class _WandbSink:
    """A W&B run as a sink."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, metrics: Mapping[str, float | int], step: int) -> None:
        if step >= self._run.step:  # else W&B's server has it from before a kill
            self._run.log({**metrics, "step": step}, step=step, commit=True)

    def close(self) -> None:
        self._run.finish()


def has_wandb_login() -> bool:
    """Whether W&B is installed and has a key for its server; the network is not asked."""
    try:
        import wandb
    except ImportError:
        return False
    with suppress(Exception), redirect_stderr(io.StringIO()):
        return bool(wandb.login(prompt=False, verify=False))
    return False
