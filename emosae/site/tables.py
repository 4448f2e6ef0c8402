"""The tables that an atlas was made of, beside its pages: what other programs read, and what an export starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.site.page_tables import PageTables
from emosae.site.records import Example, SiteData
from emosae.store import Stage

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "tables"
ABOUT = "about"
_TABLES = ("saes", "nodes", "links", "concepts", "emotions", "ledger")


def save_tables(data: SiteData, examples: Sequence[Example], stage: Stage) -> None:
    """Write a Parquet file per table, the stories shown, and `about.json`, which comes last: with it they are whole."""
    for name in _TABLES:
        stage.write_table(name, getattr(data, name))
    stage.write_table("examples", _tabulate_examples(examples))
    if data.pages.tokens is None:
        stage.remove("tokens.parquet")
    else:
        stage.write_table("tokens", data.pages.tokens)
    about = {"model": data.model, "synthetic": data.synthetic, "notes": list(data.notes)}
    stage.write_json(ABOUT, {"format_version": 1} | about)


def load_tables(stage: Stage) -> SiteData:
    """An atlas as `save_tables` wrote it, without most of what single pages show beside it.

    Raises:
        UserError: Tables that are missing, torn or another program's.
    """
    about = stage.read_json(ABOUT)
    if not isinstance(about, dict) or not {"model", "synthetic", "notes"} <= about.keys():
        raise UserError(f"{stage.path / ABOUT}.json: not written by this program; build the atlas again")
    tables = {name: stage.read_table(name) for name in _TABLES}
    examples = [_read_example(row) for row in stage.read_table("examples").to_pylist()]
    return SiteData(
        model=str(about["model"]),
        synthetic=bool(about["synthetic"]),
        manifest={},
        notes=tuple(about["notes"]),
        examples=examples,
        pages=PageTables(tokens=stage.read_table("tokens") if stage.has("tokens.parquet") else None),
        **tables,
    )


def find_tables(directory: Path) -> Stage:
    """Where the tables of an atlas lie; `directory` is the atlas or a run whose report holds one.

    Raises:
        UserError: There is no atlas.
    """
    for folder in (directory, directory / "report" / "atlas"):
        stage = Stage(folder / FOLDER)
        if stage.has(f"{ABOUT}.json"):
            return stage
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    raise UserError(f"{directory}: no atlas there ({FOLDER}/{ABOUT}.json is missing); `emosae atlas build` makes one")


def _tabulate_examples(examples: Sequence[Example]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "sae": (pa.string(), [one.sae for one in examples]),
        "feature_idx": (pa.int64(), [one.feature_idx for one in examples]),
        "story_id": (pa.string(), [_mend(one.story_id) for one in examples]),
        "emotion": (pa.string(), [_mend(one.emotion) for one in examples]),
        "split": (pa.string(), [one.split for one in examples]),
        "tokens": (pa.list_(pa.string()), [[_mend(token) for token in one.tokens] for one in examples]),
        "values": (pa.list_(pa.float32()), [list(one.values) for one in examples]),
    }
    return pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})


def _mend(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair, as a token may end in, becomes a replacement mark."""
    return text.encode("utf-8", "replace").decode()


def _read_example(row: dict[str, Any]) -> Example:
    plain = {name: row[name] for name in ("sae", "feature_idx", "story_id", "emotion", "split")}
    return Example(**plain, tokens=tuple(row["tokens"]), values=tuple(row["values"]))
