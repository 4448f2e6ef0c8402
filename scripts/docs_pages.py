"""What mkdocs.yml has made while the documentation is built: pages on verbs and notebooks, and their place in the menu.

A menu entry that ends in `/` stands for all pages of that folder. Links out of docs/ into the package lead to a copy.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from emosae.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
VERB_FOLDER, NOTEBOOK_FOLDER, SOURCE_FOLDER = "reference/verbs", "notebooks", "sources"
HELP_COLUMNS = "80"

_BREAK = "\f"
_ASK = f"""
import sys
from emosae.cli import main
for verb in sys.argv[1:]:
    print({_BREAK!r}, end="")
    main([*verb.split(), "--help"])
"""
_CELL = re.compile(r"^# %%(?P<markdown> \[markdown\])?[^\n]*\n", re.MULTILINE)
_PACKAGE_LINK = re.compile(r"\]\((?:\.\./)+(?P<path>emosae/[^)\s#]+)\)")
_NAMED_PAGE = re.compile(r"\bdocs/(?P<page>\w+\.md)\b")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the folders of the menu."""
    config.nav = [_fill(entry, Path(config.docs_dir)) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the files of the package that pages link to."""
    for verb, said in ask_for_help().items():
        files.append(File.generated(config, verb_page(verb), content=f"# {verb}\n\n{_fence('text', said)}\n"))
    files.append(File.generated(config, f"{VERB_FOLDER}/index.md", content=list_verbs()))
    for source in find_notebooks():
        content = render_notebook(source.read_text())
        files.append(File.generated(config, f"{NOTEBOOK_FOLDER}/{source.stem}.md", content=content))
    for path in sorted(find_linked(Path(config.docs_dir))):
        files.append(File.generated(config, f"{SOURCE_FOLDER}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links into the package lead to the copies."""
    up = "../" * (len(PurePosixPath(page.file.src_uri).parts) - 1)
    return _PACKAGE_LINK.sub(lambda link: f"]({up}{SOURCE_FOLDER}/{link['path']})", markdown)


def _fill(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        return {title: _fill(inside, docs) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [_fill(one, docs) for one in entry]
    return list(list_folder(entry.rstrip("/"), docs)) if entry.endswith("/") else entry


def list_folder(folder: str, docs: Path) -> Iterator[str]:
    """The pages of a folder in order."""
    if folder == VERB_FOLDER:
        yield f"{VERB_FOLDER}/index.md"
        yield from map(verb_page, VERBS)
    elif folder == NOTEBOOK_FOLDER:
        yield from (f"{NOTEBOOK_FOLDER}/{source.stem}.md" for source in find_notebooks())
    else:
        yield from sorted(path.relative_to(docs).as_posix() for path in (docs / folder).glob("*.md"))


def verb_page(verb: str) -> str:
    """Where a verb's page lies."""
    return f"{VERB_FOLDER}/{verb.replace(' ', '_')}.md"


def list_verbs() -> str:
    """All verbs with what each does."""
    rows = [
        f"| [`emosae {verb}`]({PurePosixPath(verb_page(verb)).name}) | {html.escape(_first_line(command))} |"
        for verb, command in VERBS.items()
    ]
    head = "# Verbs\n\nWhat `--help` says, asked while these pages were built. Flags are the keys of the config.\n"
    return "\n".join([head, "| verb | what it does |", "|---|---|", *rows, ""])


def _first_line(command: type) -> str:
    return (command.__doc__ or "").splitlines()[0]


def ask_for_help() -> dict[str, str]:
    """What `emosae VERB --help` prints, by verb; one process is asked for all."""
    environment = os.environ | {"COLUMNS": HELP_COLUMNS, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    command = [sys.executable, "-c", _ASK, *VERBS]
    said = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment).stdout
    return dict(zip(VERBS, said.split(_BREAK)[1:], strict=True))


def find_notebooks() -> list[Path]:
    """The sources of the notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("*.py"))


def render_notebook(source: str) -> str:
    """A notebook in py:percent as a page: its text and its code, which is not run."""
    marks = list(_CELL.finditer(source))
    ends = [*(mark.start() for mark in marks[1:]), len(source)]
    cells = []
    for mark, end in zip(marks, ends, strict=True):
        body = source[mark.end() : end].strip("\n")
        cells.append(_take_text(body) if mark["markdown"] else _fence("python", body))
    return "\n\n".join(cells) + "\n"


def _take_text(body: str) -> str:
    """A cell of text without its comment signs; a page of docs/ that it names becomes a link."""
    text = "\n".join(re.sub(r"^# ?", "", line) for line in body.splitlines())
    return _NAMED_PAGE.sub(lambda name: f"[{name['page'].removesuffix('.md')}](../{name['page']})", text)


def _fence(language: str, text: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def find_linked(docs: Path) -> set[str]:
    """The files of the package that pages link to."""
    return {link["path"] for page in docs.rglob("*.md") for link in _PACKAGE_LINK.finditer(page.read_text())}
