"""The section on a dial's parts says what the tables say, and claims no share of nothing."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from part_rows import part_tables
from report_fixture import small_data

from emosae.report import ReportData, build_page
from emosae.report.citing import drop_citations
from emosae.report.figures import NARROW, WIDE, drawing_style
from emosae.report.page import draw_plates, render_html, render_markdown
from emosae.report.sections.subspace import write_subspace

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def data() -> ReportData:
    terms, arms = part_tables()
    return replace(small_data(), subspace=terms, subspace_arms=arms)


def test_shares_are_said_with_their_intervals(data: ReportData) -> None:
    section = write_subspace(data)
    assert section is not None
    finding, geometry = drop_citations(section.finding), drop_citations(section.paragraphs[0])
    assert finding.startswith("Turning up desperate changes cheating by +63 [")
    opening = "over 38 episodes: averaged over whether the other part is there, its part inside the emotion subspace "
    assert f"{opening}brings 75% [" in finding
    assert "of that and its part outside 25% [" in finding
    assert "Alone, the part inside brings 67% [" in finding
    assert "and the part outside 17% [" in finding
    assert finding.endswith("] comes only of both together.")
    assert "has 2 dimensions of 16" in geometry
    assert "a random direction has 12%" in geometry
    shares, lengths = ([[drop_citations(cell) for cell in row] for row in plate.table.rows] for plate in section.plates)
    assert [row[0] for row in shares][:4] == [
        "the whole dial",
        "inside alone",
        "outside alone",
        "only both together",
    ]
    assert shares[1][3].startswith("67% [")
    by_name = {row[0]: row for row in lengths}
    assert by_name["inside, equal norm"][6] == "-"
    assert by_name["random subspace 0, equal norm"][6].startswith("+37 [")
    assert by_name["the whole dial"][1:3] == ["0.40", "1.00"]


def test_a_change_that_is_not_shown_is_not_shared(data: ReportData) -> None:
    terms, arms = part_tables(both=0.22)
    section = write_subspace(replace(data, subspace=terms, subspace_arms=arms))
    assert section is not None
    assert "too little to be shared" in section.finding
    assert {row[3] for row in section.plates[0].table.rows[1:]} == {"nothing to share"}


def test_nothing_turned_has_no_section(data: ReportData) -> None:
    assert write_subspace(small_data()) is None
    assert data.subspace is not None
    assert write_subspace(replace(data, subspace=data.subspace.slice(0, 0))) is None


def test_figures_are_drawn_and_names_are_escaped() -> None:
    terms, arms = part_tables(control=HOSTILE)
    named = [HOSTILE] * terms.num_rows
    terms = terms.set_column(0, "dial", pa.array(named))
    arms = arms.set_column(0, "dial", pa.array([HOSTILE] * arms.num_rows))
    page = build_page(replace(small_data(), subspace=terms, subspace_arms=arms))
    page = replace(page, sections=tuple(one for one in page.sections if one.name == "subspace"))
    assert page.sections
    assert "<script>" not in render_markdown(page)
    assert "<script>alert" not in render_html(page, draw_plates(page))
    with drawing_style():
        for plate in page.sections[0].plates:
            for width in (WIDE, NARROW):
                assert plate.draw(width).axes
