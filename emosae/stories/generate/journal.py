"""The file of finished stories: whole lines, appended one at a time, by one process."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any

from emosae.errors import UserError
from emosae.files import drop_torn_line


class Journal:
    """Finished cells by id. What `append` has returned from survives a kill; half a line does not count."""

    def __init__(self, path: Path, file: BufferedRandom, stories: dict[str, str]) -> None:
        self._path = path
        self._file = file
        self.stories = stories

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line, and wait until it is on the disk; an id that is finished is refused."""
        if record["id"] in self.stories:
            raise ValueError(f"{self._path}: {record['id']} is finished already")
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.stories[record["id"]] = record["text"]


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal in a file, which is made if there is none; a torn last line is cut off.

    Raises:
        UserError: Another process writes to the file, or it holds something else than stories with ids.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=-1) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{path}: another process is writing to it: wait, or give another --out") from error
        _mend_end(file)
        yield Journal(path, file, read_finished(path))


def read_finished(path: Path) -> dict[str, str]:
    """Texts by id of the whole lines of a file; none if there is no file."""
    stories: dict[str, str] = {}
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        is_story = (
            isinstance(record, dict) and isinstance(record.get("id"), str) and isinstance(record.get("text"), str)
        )
        if not is_story or record["id"] in stories:
            what = "has an id used above" if is_story else "is no story with an id"
            raise UserError(f"{path} line {number}: {what}: give an --out that stories generate wrote")
        stories[record["id"]] = record["text"]
    return stories


def _mend_end(file: BufferedRandom) -> None:
    """Cut off a torn last line; end one that only lacks its newline."""
    file.seek(0)
    tail = file.read().rpartition(b"\n")[2]
    if _parse(tail) is not None:
        file.write(b"\n")
        file.flush()
    drop_torn_line(file)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
