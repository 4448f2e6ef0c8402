"""The verdict ladder as it is shown: for every rung what a row has, or what it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emosae.ledger import Requirement, Rung

Row = Mapping[str, Any]

PASSED, FAILED, OPEN = "passed", "failed", "open"


def state_of_rung(rung: Rung, row: Row) -> list[str]:
    """`[state, why]`: `open` without words where nothing was measured, else whether all that the rung asks holds."""
    lacking = [requirement for requirement in rung.requirements if not requirement.holds(row)]
    if not lacking:
        measured = [requirement for requirement in rung.requirements if not _is_unmeasured(row, requirement)]
        return [PASSED, "; ".join(_show(row, requirement.column) for requirement in measured)]
    if all(_is_unmeasured(row, requirement) for requirement in rung.requirements):
        return [OPEN, ""]
    return [FAILED, f"asks for {lacking[0].says}: {_show(row, lacking[0].column)}"]


def _is_unmeasured(row: Row, requirement: Requirement) -> bool:
    value = row.get(requirement.column)
    return value is None or (isinstance(value, float) and math.isnan(value))


def _show(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{column} not measured"
    return f"{column} = {value:.3g}" if isinstance(value, float) else f"{column} = {value}"
