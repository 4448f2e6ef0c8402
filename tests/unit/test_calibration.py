"""A dial's range ends where its text breaks, and what was measured is not measured again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from emosae.errors import UserError
from emosae.pipeline.calibration import DoseGrid
from emosae.report.calibration_page import build_page, format_calibration
from emosae.scenarios.calibration import Written, choose_primary, find_common_dose


def row(dose: float, coherent: bool, gain: float | None = 0.0, emotion: str = "calm") -> dict[str, Any]:
    numbers = {"dose_of_max": 2 * dose, "kl": dose**2, "loss_rise": dose, "well_formed": 0.9 if coherent else 0.2}
    return {
        "emotion": emotion,
        "dose": dose,
        "text_gain": gain,
        "coherent": coherent,
        "primary": False,
        **numbers,
    }


def test_the_primary_dose_gains_most_where_all_lower_doses_are_coherent() -> None:
    rows = [row(0.8, True, 9.0), row(0.4, False, 3.0), row(0.1, True, 0.1), row(0.3, True, 0.2), row(0.2, True, 0.4)]
    assert choose_primary(rows) == 4
    assert choose_primary([row(0.1, True, None), row(0.2, True, None), row(0.3, False, None)]) == 1
    assert choose_primary([row(0.1, False, 1.0), row(0.2, True, 2.0)]) is None
    assert choose_primary([row(0.1, False, None)]) is None


def test_the_common_dose_is_coherent_for_every_dial() -> None:
    rows = [row(0.1, True), row(0.2, True), row(0.3, False), *(row(d, True, 0.0, "sad") for d in (0.1, 0.2, 0.3))]
    assert find_common_dose(rows) == 0.2
    assert find_common_dose([*rows, row(0.1, False, 0.0, "angry")]) is None
    assert find_common_dose([]) is None


def test_text_is_well_formed_if_it_is_like_most_unedited_text() -> None:
    ordinary = Written(np.linspace(1, 2, 101), np.linspace(0, 0.1, 101))
    written = Written(np.array([0.1, 2.44, 2.46, 1.0]), np.array([0.0, 0.0, 0.0, 0.096]))
    assert written.are_well_formed(ordinary).tolist() == [True, True, False, False]
    assert ordinary.are_well_formed(ordinary).mean() == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("grid", [((),), ((0.1, 0.0),), ((0.1,), (-1.0,))])
def test_doses_must_be_above_0(grid: Any) -> None:
    with pytest.raises(UserError, match="must be above 0"):
        DoseGrid(*grid)


def test_console_and_page_name_each_dials_end_and_dose() -> None:
    rows = [row(0.1, True, 0.2), row(0.2, True, 0.4) | {"primary": True}, row(0.3, False)]
    rows += [row(dose, False, None, "sad<b>") for dose in (0.1, 0.2)]
    table = pa.Table.from_pylist(rows)
    printed = format_calibration(table)
    assert "calm: coherent up to 0.2, primary 0.2 (KL 0.04)." in printed
    assert "sad<b>: no dose is coherent, none is fixed." in printed
    assert "No dose is coherent for all." in printed
    assert [line.split()[:2] for line in printed.splitlines()[2:7]] == [[r["emotion"], f"{r['dose']:g}"] for r in rows]
    page = build_page(table, model="toy", synthetic=True)
    [plate] = page.sections[0].plates
    assert len(plate.table.rows) == 5
    assert plate.draw(640.0).axes
