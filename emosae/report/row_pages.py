"""The rows that the report's numbers were read from: a plain page per table, beside the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from emosae.report.citing import SOURCES, find_cited, name_page
from emosae.report.page import open_templates
from emosae.report.records import ReportData
from emosae.store import Stage

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 250
"""Tables with more rows are cut to those that are linked."""


def write_row_pages(html: str, data: ReportData, stage: Stage) -> None:
    """Write `rows/<table>.html` for every table that a page links to."""
    for table, numbers in find_cited(html).items():
        stage.write_text(f"rows/{name_page(table)}.html", render_rows(table, getattr(data, table), numbers))


def render_rows(name: str, table: pa.Table, numbers: Sequence[int]) -> str:
    """One of the SOURCES as a page: each row in the file's order, under the id `row-<number>`, counted from 0."""
    shown = range(len(table)) if len(table) <= MOST_ROWS else numbers
    rows = table.take(list(shown)).to_pylist()
    template = (files("emosae.report") / "templates" / "rows.html.j2").read_text(encoding="utf-8")
    return (
        open_templates(autoescape=True)
        .from_string(template)
        .render(
            title=f"{SOURCES[name]}.parquet",
            heads=table.column_names,
            rows=[
                (number, [_say_cell(value) for value in row.values()]) for number, row in zip(shown, rows, strict=True)
            ],
            n_rows=len(table),
        )
    )


def _say_cell(value: Any) -> str:
    """A value as text: six digits of a number, lists as JSON, a dash for null."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
