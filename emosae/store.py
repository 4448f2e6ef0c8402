"""The one door to disk: a run directory, its manifest, and one folder per stage.

Every file appears whole or not at all: it is written beside its place, synced and renamed. A stage is done
when its `stage.json` exists; that is written last and lists the SHA-256 of every file. So a process killed at
any moment leaves either a finished stage or one that is seen to be unfinished.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.files import (
    PART_SUFFIX,
    canonical_json,
    content_hash,
    drop_torn_line,
    file_hash,
    files_below,
    name_if_refused,
    remove_folder,
    sync,
    temporary_name,
    write_whole,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

MANIFEST = "manifest.json"
DONE = "stage.json"
FORMAT_VERSION = 1

__all__ = ["DONE", "FORMAT_VERSION", "MANIFEST", "Stage", "Store", "content_hash"]


def _write_json(path: Path, value: Any) -> Path:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_whole(path, lambda temporary: temporary.write_text(f"{text}\n", encoding="utf-8"))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise UserError(f"{path}: no such file; the stage that writes it has not run") from missing
    except ValueError as broken:
        raise UserError(f"{path}: not valid JSON ({broken}); delete it to have it made again") from broken


@dataclass(frozen=True)
class Stage:
    """One folder of a run directory. Names of files are relative to it and may contain folders."""

    path: Path

    def file(self, name: str, suffix: str = "") -> Path:
        """Where `name` lies; `suffix` is added unless there already. Leaving the folder is refused."""
        path = self.path / (name if name.endswith(suffix) else name + suffix)
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise UserError(f"{name!r}: lies outside {self.path}")
        return path

    def substage(self, name: str) -> Stage:
        """A folder inside this one."""
        return Stage(self.file(name))

    def has(self, name: str) -> bool:
        """Whether the file or folder `name` (with its suffix) exists."""
        return self.file(name).exists()

    def write_table(self, name: str, table: pa.Table) -> Path:
        """Save `table` as `<name>.parquet`."""
        import pyarrow.parquet as pq

        return write_whole(self.file(name, ".parquet"), lambda temporary: pq.write_table(table, temporary))

    def read_table(self, name: str) -> pa.Table:
        """Load `<name>.parquet`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._existing(name, ".parquet")
        try:
            with pq.ParquetFile(path) as file:
                return file.read()
        except (pa.ArrowException, OSError) as broken:
            raise UserError(f"{path}: not a readable Parquet table ({broken})") from broken

    def write_tensors(
        self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
    ) -> Path:
        """Save `tensors` as `<name>.safetensors`.

        The metadata lies under one key, because safetensors orders several keys at random and equal content
        would then hash differently.
        """
        from safetensors.torch import save_file

        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        packed = {"metadata": canonical_json(metadata)} if metadata else None
        path = self.file(name, ".safetensors")
        return write_whole(path, lambda temporary: save_file(whole, temporary, packed))

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """Load `<name>.safetensors` to the CPU."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._existing(name, ".safetensors")
        try:
            return load_file(path)
        except SafetensorError as broken:
            raise UserError(f"{path}: not a readable safetensors file ({broken})") from broken

    def read_tensor_metadata(self, name: str) -> dict[str, str]:
        """The metadata that `write_tensors` was given; empty if none."""
        from safetensors import SafetensorError, safe_open

        path = self._existing(name, ".safetensors")
        try:
            with safe_open(path, framework="pt") as file:
                return json.loads((file.metadata() or {}).get("metadata", "{}"))
        except SafetensorError as broken:
            raise UserError(f"{path}: not a readable safetensors file ({broken})") from broken

    def write_json(self, name: str, value: Any) -> Path:
        """Save `value` as `<name>.json`, keys sorted."""
        return _write_json(self.file(name, ".json"), value)

    def read_json(self, name: str) -> Any:
        """Load `<name>.json`."""
        return _read_json(self.file(name, ".json"))

    def write_text(self, name: str, text: str) -> Path:
        """Save `text` as UTF-8 under exactly `name`."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Save `content` under exactly `name`."""
        return write_whole(self.file(name), lambda temporary: temporary.write_bytes(content))

    def read_text(self, name: str) -> str:
        """Load the UTF-8 text `name`."""
        return self._existing(name).read_bytes().decode()

    @contextlib.contextmanager
    def write_folder(self, name: str) -> Iterator[Path]:
        """A folder for a third party's own writer; it replaces `name` once the block ends well.

        What a kill left half-written of it is deleted first.
        """
        target = self.file(name)
        for leftover in target.parent.glob(f".{escape(target.name)}.*{PART_SUFFIX}"):
            remove_folder(leftover)
        temporary = temporary_name(target)
        with name_if_refused(target):
            try:
                temporary.mkdir(parents=True)
                yield temporary
                for path in files_below(temporary).values():
                    path.chmod(temporary.stat().st_mode & 0o666)
                    sync(path)
                remove_folder(target)
                os.replace(temporary, target)
            finally:
                remove_folder(temporary)
            sync(target.parent)

    def append_line(self, name: str, record: Mapping[str, Any]) -> None:
        """Add a line to `<name>.jsonl` and hand it to the system; a line torn by a kill is dropped first."""
        path = self.file(name, ".jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with name_if_refused(path), path.open("a+b") as file:
            drop_torn_line(file)
            file.write(f"{canonical_json(record)}\n".encode())

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The records of `<name>.jsonl`, without a torn last line; empty if there is no file."""
        path = self.file(name, ".jsonl")
        if not path.exists():
            return []
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def remove(self, name: str) -> None:
        """Delete the file `name` (with its suffix), if it is there."""
        self.file(name).unlink(missing_ok=True)

    def is_done(self, input_hash: str) -> bool:
        """Whether the stage was finished from these inputs and every file it listed is still unchanged."""
        try:
            done = json.loads((self.path / DONE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        match done:
            case {"input_hash": str(hashed), "files": dict(files)}:
                return hashed == input_hash and all(self._is_unchanged(*item) for item in files.items())
        return False

    def finish(self, input_hash: str, seconds: float) -> None:
        """Mark the stage as done. Call it last: it records every file that lies here now."""
        files = {name: file_hash(path) for name, path in files_below(self.path).items() if name != DONE}
        record = {"input_hash": input_hash, "seconds": round(seconds, 3), "files": files}
        _write_json(self.path / DONE, record)

    def clear(self) -> None:
        """Empty the stage; its done marker goes first, so that a kill half-way leaves it unfinished."""
        if (self.path / MANIFEST).exists():
            raise ValueError(f"{self.path} is a whole run, not a stage of one")
        (self.path / DONE).unlink(missing_ok=True)
        remove_folder(self.path)

    def _is_unchanged(self, name: str, sha256: str) -> bool:
        path = self.path / name
        return path.is_file() and file_hash(path) == sha256

    def _existing(self, name: str, suffix: str = "") -> Path:
        path = self.file(name, suffix)
        if not path.is_file():
            raise UserError(f"{path}: no such file; the stage that writes it has not run")
        return path


class Store:
    """A run directory. Nothing is created before the first stage or manifest entry is asked for."""

    def __init__(self, root: Path) -> None:
        """Take `root` as a new or existing run directory; anything else that lies there is refused."""
        self.root = root
        if root.exists() and not root.is_dir():
            raise UserError(f"{root}: is a file; give a directory for the run")
        is_new = not (root / MANIFEST).exists()
        if is_new and root.is_dir() and any(_is_foreign(path) for path in root.iterdir()):
            raise UserError(f"{root}: holds files but no {MANIFEST}: no emosae run; give another directory")

    @classmethod
    def existing(cls, root: Path) -> Store:
        """Open the run directory `root`, which must hold a run."""
        if not (root / MANIFEST).is_file():
            raise UserError(f"{root}: no emosae run there ({MANIFEST} is missing)")
        return cls(root)

    @property
    def home(self) -> Stage:
        """The run directory itself, for files that stand at its top: `metrics.jsonl`, `ledger.parquet`."""
        self._claim()
        return Stage(self.root)

    def stage(self, name: str) -> Stage:
        """The folder of one stage."""
        return self.home.substage(name)

    def read_manifest(self) -> dict[str, Any]:
        """All sections of `manifest.json`; empty for a new run."""
        path = self.root / MANIFEST
        return _read_json(path) if path.exists() else {}

    def update_manifest(self, **sections: Any) -> None:
        """Merge `sections` into the manifest: mappings key by key, anything else is replaced."""
        manifest = {"format_version": FORMAT_VERSION} | self.read_manifest()
        for name, value in sections.items():
            old = manifest.get(name)
            manifest[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        _write_json(self.root / MANIFEST, manifest)

    def _claim(self) -> None:
        if not (self.root / MANIFEST).exists():
            self.update_manifest()


def _is_foreign(path: Path) -> bool:
    """Whether a file lies there that a run killed while it wrote its first manifest cannot have left."""
    return not (path.name.startswith(f".{MANIFEST}.") and path.name.endswith(PART_SUFFIX))
