"""What would be needed to make the same numbers again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.report.content import Section, TextTable
from emosae.report.records import ReportData

NAME, TITLE = "provenance", "Where the numbers come from"
LONGEST = 160


def write_provenance(data: ReportData) -> Section:
    """The manifest, flattened."""
    rows = tuple(flatten(data.manifest))
    if not rows:
        return Section(NAME, TITLE, "The run left no manifest, so its numbers cannot be traced.")
    return Section(
        NAME,
        TITLE,
        "Model, SAEs, versions, seeds and hashes are recorded in the run's manifest, from which it can be repeated.",
        paragraphs=(
            "Beside this page, ledger.parquet holds one row per feature and emotion, and the folder of each stage "
            "holds its tables.",
        ),
        folded=(("The whole manifest", TextTable(("entry", "value"), rows)),),
    )


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every leaf of nested mappings with its dotted name; lists of plain values stay together."""
    if isinstance(value, Mapping):
        inside = [flatten(item, f"{name}.{key}" if name else str(key)) for key, item in sorted(value.items())]
        return [row for rows in inside for row in rows]
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        inside = [flatten(item, f"{name}[{at}]") for at, item in enumerate(value)]
        return [row for rows in inside for row in rows]
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [(name, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")]
