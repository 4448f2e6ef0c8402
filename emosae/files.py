"""Files as values: hashes that tell whether something changed, and writes that happen whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from emosae.errors import UserError

PART_SUFFIX = ".part"  # of what is still being written, or was when the process was killed
_CHUNK = 1 << 20


def content_hash(*parts: Any) -> str:
    """SHA-256 (64 hex digits) of values, bytes, files and directories, in the order given.

    A `Path` stands for its content: a file for its bytes, a directory for its files' relative paths and bytes.
    A copy elsewhere hashes the same. Everything else is hashed as canonical JSON: keys sorted, tuples equal to
    lists.
    """
    digest = hashlib.sha256()
    for part in parts:
        for kind, chunk in _items(part):
            digest.update(f"{kind}{len(chunk)}:".encode())
            digest.update(chunk)
    return digest.hexdigest()


def _items(part: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(part, bytes):
        yield "b", part
    elif not isinstance(part, Path):
        yield "j", canonical_json(part).encode()
    elif part.is_file():
        yield "f", file_hash(part).encode()
    elif part.is_dir():
        yield "d", b""
        for name, path in files_below(part).items():
            yield "p", name.encode()
            yield "f", file_hash(path).encode()
    else:
        raise UserError(f"{part}: no such file or directory")


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: keys sorted, no spaces; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def file_hash(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes, the same as `sha256sum` prints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> dict[str, Path]:
    """Every finished file below `folder` by sorted relative path; half-written ones are left out."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if not _is_partial(name)}


def _is_partial(name: str) -> bool:
    return any(folder_or_file.endswith(PART_SUFFIX) for folder_or_file in name.split("/"))


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary neighbour of `path`, sync it and rename it into place.

    The file may be read by whom the user lets read new files, which not every writer respects. A disk that is full or
    may not be written is refused by the file's name, and what lay there before stays.
    """
    temporary = temporary_name(path)
    with name_if_refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)
            sync(temporary)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):  # where nothing may be written, nothing may be deleted
                temporary.unlink(missing_ok=True)
        sync(path.parent)
    return path


@contextmanager
def name_if_refused(path: Path) -> Iterator[None]:
    """Turn the refusal of a disk that is full, or may not be written, into a line that names what was to be written.

    Raises:
        UserError: The block met an `OSError`, or safetensors' own error for one.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as refused:
        reason = getattr(refused, "strerror", None) or " ".join(str(refused).split())
        mend = "what was finished before is whole; make room there or name another directory, and run again"
        raise UserError(f"{path}: cannot be written ({reason}); {mend}") from refused


def temporary_name(path: Path) -> Path:
    """A hidden neighbour of `path` that no other process uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART_SUFFIX}")


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Delete a folder with all that is in it; a missing one is fine."""
    if folder.exists():
        shutil.rmtree(folder)


def drop_torn_line(file: BufferedIOBase) -> None:
    """Cut what follows the last newline of an open file; only its tail is read."""
    end = start = file.seek(0, os.SEEK_END)
    while start:
        start, stop = max(0, start - _CHUNK), start
        file.seek(start)
        newline = file.read(stop - start).rfind(b"\n")
        if newline >= 0:
            start += newline + 1
            break
    if start < end:
        file.truncate(start)
