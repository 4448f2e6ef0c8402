"""Numbers that say where they stand: each can carry the row of the table that it was read from.

`cite` marks a piece of text; the mark goes through whatever sentence or cell the text is put in. A page turns marks
into links to pages of rows (see `row_pages`), everything else drops them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from emosae.report.wording import clean_text

SOURCES = {
    "ledger": "ledger",
    **{
        name: f"scenarios/impossible_code/{name}"
        for name in ("rollouts", "summary", "contrasts", "slopes", "trajectory", "mediation", "subspace")
    },
    "subspace_arms": "scenarios/impossible_code/subspace_arms",
    **{
        name: f"scenarios/conversation/{name}"
        for name in ("ranks", "doses", "shuffled", "trends", "foils", "whose", "graders", "tones")
    },
    "turned": "scenarios/conversation/turned_summary",
}
"""Tables that numbers may be cited from, by their field of the report's data: where they lie in the run directory."""

_OPEN, _THEN, _CLOSE = "\ue000", "\ue001", "\ue002"
_KEY = secrets.token_hex(4)
"""So that no text from outside can pass for a mark."""
_MARK = re.compile(f"{_OPEN}{_KEY} ([a-z_]+) ([0-9]+) ([^{_THEN}]*){_THEN}([^{_CLOSE}]*){_CLOSE}")


class TableRow(dict[str, Any]):
    """A row of one of the SOURCES that knows its table and its number, from 0 as in the file."""

    def __init__(self, values: Mapping[str, Any], table: str, number: int) -> None:
        super().__init__(values)
        self.table, self.number = table, number


def cite(text: str, row: Mapping[str, Any], *columns: str) -> str:
    """The text, marked as read from these columns of a row; as it is, if the row is of no table that can be cited.

    The first column holds what the text says first; `a + b` is the sum of two.
    """
    if not isinstance(row, TableRow):
        return text
    return f"{_OPEN}{_KEY} {row.table} {row.number} {', '.join(columns)}{_THEN}{clean_text(text)}{_CLOSE}"


def drop_citations(text: str) -> str:
    """The text without marks."""
    return _MARK.sub(r"\4", text)


def link_citations(text: str) -> str:
    """The text as HTML, escaped, with every mark as a link to its row."""
    from markupsafe import escape

    found, end = [], 0
    for mark in _MARK.finditer(text):
        table, number, columns, inner = mark.groups()
        title = f"{SOURCES[table]}.parquet, row {number}: {columns}"
        found.append(str(escape(clean_text(text[end : mark.start()]))))
        link = f'<a class="cited" href="rows/{name_page(table)}.html#row-{number}" title="{escape(title)}">'
        found.append(f"{link}{escape(clean_text(inner))}</a>")
        end = mark.end()
    return "".join([*found, str(escape(clean_text(text[end:])))])


def name_page(table: str) -> str:
    """What the page of a table's rows is called."""
    return SOURCES[table].removeprefix("scenarios/").replace("/", "-")


def find_cited(html: str) -> dict[str, list[int]]:
    """The rows that a page links to, by table, in order."""
    by_page = {name_page(table): table for table in SOURCES}
    found: dict[str, set[int]] = {}
    for page, number in re.findall(r'<a class="cited" href="rows/([^"]+)\.html#row-([0-9]+)"', html):
        found.setdefault(by_page[page], set()).add(int(number))
    return {table: sorted(numbers) for table, numbers in found.items()}
