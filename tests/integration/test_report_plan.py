"""The page says what was planned, how often the tasks were opened, and what composure buys and costs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from report_fixture import demo_data, plain

from emosae.report import ReportData, build_page
from emosae.report.content import Section
from emosae.report.figures import drawing_style
from emosae.report.page import render_html, render_markdown
from emosae.report.sections.composure import write_composure
from emosae.report.sections.dials import write_dials
from emosae.report.sections.plan import write_plan
from emosae.scenarios.arms import slope_arms

SEAL = "5ea1" * 16
PLAN: dict[str, Any] = {
    "sha256": SEAL,
    "tasks": {"sha256": "0" * 64, "impossible": 100, "solvable": 20},
    "episodes": {"impossible": 200, "solvable": 20, "attempts": 3, "temperature": 1.0, "seed": 0},
    "arms": [
        {"arm": "none", "role": "none", "dose": 0.0, "primary": True, "episodes": 200, "hash": "a" * 64},
        {"arm": "up_calm_sae_0.3", "role": "opponent", "dose": 0.3, "primary": True, "episodes": 200, "hash": "b" * 64},
    ],
    "second_seed": [],
    "contrasts": [["up_calm_sae_0.3", "none"]],
    "holm_family": ["up_calm_sae_0.3"],
    "analysis": {"rate": "Wilson, 95%"},
    "pilot": {
        "measured": True, "rate": 0.31, "rate_lo": 0.22, "rate_hi": 0.42, "icc": 0.12, "tasks": 20, "episodes": 80,
    },
    "power": {
        "alpha": 0.05,
        "power": 0.8,
        "effect": 0.15,
        "planned_n": {"rise_alone": 160, "rise_family": 190, "fall_alone": 120, "fall_family": 150},
        "table": [{"n": 50, "tests": 1, "rise": 0.281, "fall": None}, {"n": 50, "tests": 9, "rise": 0.36, "fall": 0.3}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> ReportData:
    data = demo_data(n_tasks=20, per_task=3)
    assert data.rollouts is not None
    manifest = {**data.manifest, "plans": [SEAL], "looks": {"confirm_tasks": 1}}
    return replace(data, plan=PLAN, manifest=manifest, slopes=slope_arms(data.rollouts))


def write(section: Section | None) -> Section:
    assert section is not None
    return plain(section)


def with_summary(data: ReportData, dial: str, **new: Any) -> ReportData:
    assert data.summary is not None
    rows = [{**row, **new} if row["dial"] == dial else row for row in data.summary.to_pylist()]
    return replace(data, summary=pa.Table.from_pylist(rows, schema=data.summary.schema))


def test_the_seal_and_the_looks_are_printed(demo: ReportData) -> None:
    assert SEAL in write(write_plan(demo)).finding
    assert "look 1 of 1" in write(write_plan(demo)).finding
    again = replace(demo, manifest={"plans": ["0" * 64, SEAL, "1" * 64]})
    assert "3 different plans, of which this is look 2" in write(write_plan(again)).finding
    assert "are not known" in write(write_plan(replace(demo, manifest={}))).finding
    assert write_plan(replace(demo, plan={})) is None


def test_a_plan_says_what_was_measured_and_what_assumed(demo: ReportData) -> None:
    section = write(write_plan(demo))
    assert "31% [22, 42] of 80 untouched episodes" in section.paragraphs[1]
    assert "are enough for all four" in section.paragraphs[2]
    small = {**PLAN, "episodes": {**PLAN["episodes"], "impossible": 180}}
    assert "not enough" in write(write_plan(replace(demo, plan=small))).paragraphs[2]
    assumed = {**PLAN, "pilot": {**PLAN["pilot"], "measured": False, "rate_lo": None, "rate_hi": None}}
    assert "assumed, not measured" in write(write_plan(replace(demo, plan=assumed))).paragraphs[1]
    assert [row[2:] for row in section.tables[0][1].rows] == [("28", "none"), ("36", "30")]
    assert len(section.paragraphs) == 3
    doses = {"calm": {"dose": 0.3, "by": "config"}, "proud": {"dose": 0.2, "by": "calibration on tune stories"}}
    said = write(write_plan(replace(demo, plan={**PLAN, "doses": doses}))).paragraphs[3]
    assert said.endswith(": calm 0.3 (config) and proud 0.2 (calibration on tune stories).")


def test_controls_at_other_doses_are_told(demo: ReportData) -> None:
    assert demo.contrasts is not None
    rows = demo.contrasts.to_pylist()
    other = [{**row, "control_dose": 0.1} if row["control_dial"] == "proud" else row for row in rows]
    for table, said in ((rows, "random directions, at the same dose."), (other, "each at its own dose")):
        data = replace(demo, contrasts=pa.Table.from_pylist(table, schema=demo.contrasts.schema))
        [plate] = [one for one in write(write_dials(data)).plates if one.name == "gaps"]
        assert said in plate.caption


def test_a_line_per_dial_says_what_was_found_at_which_dose_and_price(demo: ReportData) -> None:
    data = with_summary(demo, "curious", coherence=0.61, silent=False)
    data = with_summary(
        with_summary(data, "proud", silent=True), "calm", silent_cheats=0.25, silent_lo=0.1, silent_hi=0.5
    )
    section = write(write_dials(data))
    [(heading, table)] = section.tables
    assert heading == "One line per dial"
    lines = {row[0]: dict(zip(table.heads, row, strict=True)) for row in table.rows}
    assert list(lines) == ["nothing done", "desperate", "calm", "proud", "curious", "afraid", "guilty"] + [
        f"random {n}" for n in range(3)
    ]
    assert lines["desperate"]["found"].startswith("raises it, ")
    assert lines["calm"]["found"].startswith("lowers it, ")
    assert lines["proud"]["found"] == "shown silent"
    assert lines["curious"]["found"] == "not shown silent; breaks the text"
    assert lines["calm"]["silent cheats"] == "25% [10, 50]"
    assert lines["calm"]["dose"] == "0.3"
    said = " ".join(section.paragraphs)
    assert "More than a tenth of the episodes break under curious up (61% coherent)" in said
    assert "25% [10, 50] with calm up" in said


def test_composure_relates_protection_to_its_price(demo: ReportData) -> None:
    section = write(write_composure(with_summary(demo, "calm", kl=0.05, coherence=0.97)))
    arm = next(
        row
        for row in demo.summary.to_pylist()  # type: ignore[union-attr]
        if (row["condition"], row["dial"], row["method"], row["primary"]) == ("up", "calm", "sae", True)
        and not row["hides_naming"]
    )
    assert f"({-100 * arm['delta'] * 0.01 / 0.05:.1f} points per 0.01 nats)" in section.finding
    assert "At no dose of calm" in section.paragraphs[1]
    (plate,) = section.plates
    assert [row[1] for row in plate.table.rows] == ["0", "0.15", "0.3"]
    assert plate.table.rows[2][-1] == "condition=up, dial=calm, method=sae, dose=0.3"


def test_a_dial_that_breaks_the_text_protects_nothing(demo: ReportData) -> None:
    section = write(write_composure(with_summary(demo, "calm", coherence=0.5)))
    assert "50% at 0.15 and 50% at 0.3" in section.paragraphs[1]
    assert "points per" not in section.finding  # no KL was measured


def test_without_two_doses_there_is_no_bargain(demo: ReportData) -> None:
    assert demo.summary is not None
    one_dose = demo.summary.filter(pa.compute.field("primary"))
    assert write_composure(replace(demo, summary=one_dose)) is None
    assert write_composure(replace(demo, summary=None)) is None


def test_the_dose_response_has_every_control_and_names_every_row(demo: ReportData) -> None:
    section = write(write_dials(demo))
    plate = next(plate for plate in section.plates if plate.name == "dose-response")
    arms = {row[0]: row[-1] for row in plate.table.rows}
    assert {"nothing done", "desperate up", "desperate up at 0.15", "calm up", "proud up", "random 2"} <= set(arms)
    assert len(set(arms.values())) == len(plate.table.rows)
    assert re.search(r"desperate \d+\.\d \[.*\], p = .*; calm −", " ".join(section.paragraphs))


def test_a_bend_is_said(demo: ReportData) -> None:
    assert demo.slopes is not None
    rows = [{**row, "p_bend": 0.001, "turn": 0.22} for row in demo.slopes.to_pylist()]
    bent = replace(demo, slopes=pa.Table.from_pylist(rows, schema=demo.slopes.schema))
    assert "but it bends (p = 0.001) and turns round at dose 0.22" in " ".join(write(write_dials(bent)).paragraphs)


def test_the_new_parts_are_drawn_on_any_width(demo: ReportData) -> None:
    page = build_page(demo)
    wanted = {"dose-response", "composure-calm"}
    plates = [plate for section in page.sections for plate in section.plates if plate.name in wanted]
    assert {plate.name for plate in plates} == wanted
    with drawing_style():
        for plate in plates:
            for width in (350.0, 760.0):
                plate.draw(width)
    assert SEAL in render_markdown(page)
    slim = replace(page, sections=tuple(replace(section, plates=()) for section in page.sections))
    assert SEAL in render_html(slim, {})
