"""Write the pages: the shipped HTML, CSS and JavaScript, and the data as scripts that they load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from emosae.site.chunks import list_data_files
from emosae.site.examples import list_chosen
from emosae.site.pack import pack_site
from emosae.site.pack_pages import list_page_files
from emosae.site.records import SiteData
from emosae.site.tables import FOLDER, save_tables
from emosae.store import Stage

_STATIC = "static"
_KINDS = (".html", ".css", ".js")


def write_site(data: SiteData, stage: Stage) -> Path:
    """Write the atlas into `stage` and return its first page, which opens with a double click.

    The tables lie beside the pages. The first page is written last, so that a folder with one is whole. Data of an
    earlier, larger atlas in the same folder is left; nothing refers to it.
    """
    atlas, library = pack_site(data)
    for name, value in list_data_files(atlas, library):
        stage.write_text(f"data/{name}.js", wrap_script(name, value))
    for name, value in list_page_files(data):
        stage.write_text(f"data/{name}.js", wrap_script(name, value))
    save_tables(data, list_chosen(data), stage.substage(FOLDER))
    pages = dict(_list_static(resources.files("emosae.site") / _STATIC))
    first = pages.pop("index.html")
    for name, page in pages.items():
        stage.write_text(name, page.read_text(encoding="utf-8"))
    return stage.write_text("index.html", first.read_text(encoding="utf-8"))


def wrap_script(name: str, value: Any) -> str:
    """A script that hands `value` to the page: plain ASCII without `<`, whatever texts the value holds."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return f"emosae.receive({json.dumps(name)},{text});\n"


def _list_static(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _list_static(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_KINDS):
            yield f"{prefix}{entry.name}", entry
