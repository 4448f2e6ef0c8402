"""The ends of the logs that the jobs of a sweep wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from emosae.cluster.journal import Journal, Submission
from emosae.errors import UserError

_ERROR = re.compile(r"(?:[\w.]*(?:Error|Exception|Interrupt|Diverged|Missing)\b|slurmstepd: error:)")


def read_logs(journal: Journal, names: Sequence[str] = (), n_lines: int = 20) -> str:
    """The last lines that the last job of each task wrote, or of those named; where the files lie stands above."""
    latest = journal.latest()
    if unknown := [name for name in names if name not in latest]:
        raise UserError(f"{unknown[0]}: no such task was submitted; emosae submit status {journal.root} lists them")
    parts = []
    for name in names or latest:
        for stream in ("out", "err"):
            path = journal.log_file(latest[name], stream)
            parts.append("\n".join([f"== {name}: {path}", *tail(path, n_lines), ""]))
    return "\n".join(parts)


def find_last_error(journal: Journal, submission: Submission) -> str:
    """The last line in which a job's log names an error; empty if there is none."""
    found = [line for line in tail(journal.log_file(submission, "err"), 50) if _ERROR.match(line)]
    return found[-1][:200] if found else ""


def tail(log: Path, n_lines: int) -> list[str]:
    """The last lines of a log without empty ones and without bars that were drawn over; none if there is no file."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 500 * (n_lines + 1)))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in lines if line][-n_lines:]
