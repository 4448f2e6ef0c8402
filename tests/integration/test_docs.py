"""The documentation is built with warnings as errors, holds every verb, table and notebook, and asks no other host."""

from __future__ import annotations

import html
import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from emosae.verbs import VERBS

pytestmark = pytest.mark.integration

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
"""What a browser fetches by itself; a link that a reader may follow may lead anywhere."""

ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
STYLE_ADDRESS = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)

SCHEMAS = {
    "selectivity/comparisons": "emosae.selectivity.comparison:COLUMNS",
    "selectivity/detection": "emosae.selectivity.detection:COLUMNS",
    "selectivity/replication": "emosae.selectivity.replication:COLUMNS",
    "selectivity/layers": "emosae.selectivity.layers:_SCHEMA",
    "atlas/nodes": "emosae.atlas.nodes:NODE_SCHEMA",
    "atlas/links": "emosae.matching.links:LINK_SCHEMA",
    "atlas/concepts": "emosae.atlas.concepts:CONCEPT_SCHEMA",
    "atlas/tokens": "emosae.pipeline.page_tables:TOKEN_SCHEMA",
    "atlas/connections": "emosae.connections.links:CONNECTION_SCHEMA",
}


class Fetches(HTMLParser):
    """The addresses that a page makes a browser fetch, and its styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += STYLE_ADDRESS.findall(given.get("style") or "")
        if tag in LOADED and given.get("rel") != "canonical":
            self.found.append(given.get(LOADED[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is missing; install the docs extra")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=repo_root, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}, check=False
    )
    said = built.stdout + built.stderr
    assert built.returncode == 0, said
    assert not re.search(r"^(WARNING|ERROR)\b", said, re.MULTILINE), said
    return folder


def test_pages_fetch_nothing_from_another_host(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    elsewhere = {
        str(path): [one for one in Fetches(text).found if ELSEWHERE.match(one)] for path, text in pages.items()
    }
    assert not {path: found for path, found in elsewhere.items() if found}
    styles = {str(path): STYLE_ADDRESS.findall(path.read_text()) for path in site.rglob("*.css")}
    assert styles
    assert not {path: found for path, found in styles.items() if found}
    lazy = re.compile(r'class="mermaid"|data-md-component="source"')  # for these the theme's script would ask a host
    assert not [str(path) for path, text in pages.items() if lazy.search(text)]


def test_every_verb_and_notebook_has_its_page(site: Path, repo_root: Path) -> None:
    for verb in VERBS:
        page = html.unescape((site / f"reference/verbs/{verb.replace(' ', '_')}.html").read_text())
        assert f"usage: emosae {verb}" in re.sub(r"<[^>]+>", "", page)
    for source in (repo_root / "notebooks").glob("*.py"):
        page = (site / f"notebooks/{source.stem}.html").read_text()
        assert "# %%" not in page
        assert source.read_text().splitlines()[1].removeprefix("# # ") in html.unescape(page)


def test_what_a_notebook_calls_is_described(site: Path) -> None:
    page = (site / "reference/python.html").read_text()
    for name in ("rank", "open_run", "clamp", "FinishedRun", "ClampedModel"):
        assert f'id="emosae.api.{name}"' in page


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_of_a_schema_is_described(table: str, repo_root: Path) -> None:
    text = (repo_root / "docs/reference/tables.md").read_text()
    section = text.split(f"### `{table}`\n")[1].split("\n##")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    described = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    module, name = SCHEMAS[table].split(":")
    owner: ModuleType = importlib.import_module(module)
    assert described == set(getattr(owner, name).names)
