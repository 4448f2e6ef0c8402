"""The verdict ladder as it is shown: for every rung what a row has, what it lacks, and the file it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emosae.ledger import Requirement, Rung

Row = Mapping[str, Any]

PASSED, FAILED, OPEN = "passed", "failed", "open"


def state_of_rung(rung: Rung, row: Row) -> list[str]:
    """`[state, why]`: `open` where the evidence was never measured, else whether all that the rung asks holds."""
    lacking = [requirement for requirement in rung.requirements if not requirement.holds(row)]
    if not lacking:
        measured = [requirement for requirement in rung.requirements if not _is_unmeasured(row, requirement)]
        return [PASSED, "; ".join(_show(row, requirement.column) for requirement in measured)]
    first = lacking[0]
    is_open = all(_is_unmeasured(row, requirement) for requirement in rung.requirements)
    return [OPEN if is_open else FAILED, f"asks for {first.says}: {_show(row, first.column)}"]


def locate_rung(rung: Rung, row: Row) -> list[str]:
    """The table on which the rung rests, and how its row is found."""
    return [rung.table, rung.key.format_map(row)]


def _is_unmeasured(row: Row, requirement: Requirement) -> bool:
    value = row.get(requirement.column)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _show(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{column} not measured"
    return f"{column} = {value:.3g}" if isinstance(value, float) else f"{column} = {value}"
