"""Rows of the files that labelled texts come in: JSONL, JSON, CSV, TSV, Parquet, Arrow, or a directory of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emosae.errors import UserError

Row = Mapping[str, Any]
KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_DESCRIPTIONS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_LONGEST_CELL = 1 << 27


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its columns in order, its rows (to be read once), and what Hugging Face noted about its columns."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Row]
    features: Mapping[str, Any] = field(default_factory=dict)

    def label_names(self, column: str) -> list[str] | None:
        """The names of a Hugging Face ClassLabel column, or of a column of lists of them; None for any other."""
        feature = self.features.get(column)
        while isinstance(feature, list | dict) and "names" not in feature:
            feature = feature.get("feature") if isinstance(feature, dict) else next(iter(feature), None)
        return list(feature["names"]) if isinstance(feature, dict) else None


def read_sources(path: Path, columns: Sequence[str] | None = None, quotes: bool | None = None) -> Iterator[Source]:
    """A file, or every data file below a directory in the order of their paths.

    A directory may be what `save_to_disk` writes or a dataset repository: all splits are read, one after another,
    and files that describe the dataset are passed over. `columns` names those of CSV and TSV files without a header
    line; `quotes` says whether quotation marks enclose their cells (None: in CSV they do, in TSV not).

    Raises:
        UserError: No such file, a kind of file that is not known, or one that cannot be read.
    """
    for file in _data_files(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        with _refusing(file):
            source = _open(file, name, columns, quotes)
        yield replace(source, rows=_refuse_on_the_way(file, source.rows))


def read_names(path: Path) -> list[str]:
    """Names, one a line (of labels 0, 1, 2, ..., of emotions or of topics); an empty or doubled one is refused."""
    with _refusing(path):
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().split("\n")]
    bad = [number for number, name in enumerate(names, start=1) if not name or name in names[: number - 1]]
    if bad:
        raise UserError(f"{path}: lines {bad} are empty or say again what is above: give names, one a line")
    return names


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """Say of which file a third party complains."""
    try:
        yield
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read ({error})") from error


def _refuse_on_the_way(file: Path, rows: Iterable[Row]) -> Iterator[Row]:
    with _refusing(file):
        yield from rows


def _data_files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: is none of {', '.join(KINDS)}: give it the ending of what it is")
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _is_data(file, path))
    if not found:
        raise UserError(f"{path}: no such file, or no data file below it ({', '.join(KINDS)})")
    return found


def _is_data(file: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith((".", "cache-")) for part in file.relative_to(folder).parts)
    return file.suffix.lower() in KINDS and not is_hidden and file.name not in _DESCRIPTIONS and file.is_file()


def _open(file: Path, name: str, columns: Sequence[str] | None, quotes: bool | None) -> Source:
    match file.suffix.lower():
        case ".csv":
            return _open_cells(file, name, ",", columns, quotes is not False)
        case ".tsv":
            return _open_cells(file, name, "\t", columns, quotes is True)
        case ".parquet":
            return _open_parquet(file, name)
        case ".arrow":
            return _open_arrow(file, name)
        case _:
            return _open_json(file, name)


def _open_cells(file: Path, name: str, delimiter: str, columns: Sequence[str] | None, quotes: bool) -> Source:
    rows = _read_cells(file, delimiter, quotes)
    header = columns or next(rows, (0, []))[1]
    if len(set(header)) < len(header) or not header:
        raise UserError(f"{file}: columns {', '.join(header) or 'are missing'}: each needs its own name")
    return Source(name, tuple(header), (_pair(file, line, header, cells) for line, cells in rows))


def _read_cells(file: Path, delimiter: str, quotes: bool) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table that are not empty, each with the number of its last line."""
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
            yield from ((reader.line_num, cells) for cells in reader if cells)
    finally:
        csv.field_size_limit(limit)


def _pair(file: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        counts = f"has {len(cells)} cells where {len(header)} are named"
        raise UserError(f"{file} line {line}: {counts}: check --columns and --quotes")
    return dict(zip(header, cells, strict=True))


def _open_json(file: Path, name: str) -> Source:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".json" and text.lstrip().startswith("["):
        found = list(enumerate(json.loads(text), start=1))
    else:
        lines = enumerate(text.split("\n"), start=1)
        found = [(number, _parse(file, number, line)) for number, line in lines if line.strip()]
    bad = [number for number, row in found if not isinstance(row, dict)]
    if bad:
        raise UserError(f"{file} line {bad[0]}: is no JSON object")
    rows = [row for _, row in found]
    return Source(name, tuple(dict.fromkeys(key for row in rows for key in row)), rows)


def _parse(file: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{file} line {number}: is not JSON ({error})") from error


def _open_parquet(file: Path, name: str) -> Source:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
    return Source(name, tuple(table.schema_arrow.names), rows, _features(table.schema_arrow))


def _open_arrow(file: Path, name: str) -> Source:
    """An Arrow file: the stream that Hugging Face writes, or the format with a footer."""
    import pyarrow as pa

    mapped = pa.memory_map(str(file))
    try:
        table = pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(mapped).read_all()
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    return Source(name, tuple(table.schema.names), rows, _features(table.schema))


def _features(schema: Any) -> Mapping[str, Any]:
    """What Hugging Face wrote into a file about its columns; nothing if it did not write it."""
    note = (schema.metadata or {}).get(b"huggingface")
    return json.loads(note).get("info", {}).get("features", {}) if note else {}
