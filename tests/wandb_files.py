"""Reads what W&B keeps of a run that was logged offline: a LevelDB log of protocol buffers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE_HEADER, _BLOCK, _RECORD_HEADER = 7, 2**15, 7
_FULL, _LAST = 1, 4


@dataclass(frozen=True)
class OfflineRun:
    """One `run-ID.wandb` file: the run's id, the rows of its history, and whether its end is written."""

    run_id: str
    history: list[dict[str, Any]]
    is_ended: bool


def read_offline_runs(directory: Path, *, seconds: float = 20) -> list[OfflineRun]:
    """All of them below a directory, oldest first, once all are ended: W&B's own process writes after `finish`."""
    for _ in range(round(seconds / 0.05)):
        runs = [_read(path) for path in sorted(directory.glob("**/offline-run-*/run-*.wandb"), key=_started)]
        if runs and all(run.is_ended for run in runs):
            return runs
        time.sleep(0.05)
    raise TimeoutError(f"W&B did not end a run in {directory}")


def _started(path: Path) -> tuple[int, str]:
    return path.stat().st_ctime_ns, path.parent.name


def _read(path: Path) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2

    run_id, history, is_ended = path.stem.removeprefix("run-"), [], False
    for content in _records(path.read_bytes()):
        record: Any = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        is_ended |= record.WhichOneof("record_type") == "exit"
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return OfflineRun(run_id, history, is_ended)


def _records(data: bytes) -> Iterator[bytes]:
    """Whole records; one that a kill cut short is left out."""
    place, parts = _FILE_HEADER, b""
    while place + _RECORD_HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _RECORD_HEADER:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + _RECORD_HEADER : place + _RECORD_HEADER + length]
        place += _RECORD_HEADER + length
        if place <= len(data) and kind in (_FULL, _LAST):
            yield parts
            parts = b""
