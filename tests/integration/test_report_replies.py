"""What the report says of conversations is what their tables say, and nothing that a model wrote becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from report_fixture import HOSTILE, demo_data, plain

from emosae.report import ReportData, build_page
from emosae.report.content import Plate, Section
from emosae.report.figures import NARROW, WIDE, drawing_style, to_svg
from emosae.report.page import draw_plates, render_html
from emosae.report.sections.conversations import write_conversations
from emosae.report.sections.replies import write_replies


@pytest.fixture(scope="module")
def demo() -> ReportData:
    return demo_data(n_tasks=6, per_task=2)


def find_plate(section: Section | None, name: str) -> Plate:
    assert section is not None
    (plate,) = [plate for plate in section.plates if plate.name == name]
    return plate


def rows_of(table: pa.Table | None, **where: Any) -> list[dict[str, Any]]:
    assert table is not None
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in where.items())]


def test_tests_are_told_with_their_nulls(demo: ReportData) -> None:
    said = " ".join(plain(write_conversations(demo)).paragraphs)
    (row,) = rows_of(demo.shuffled, place="at_open_token", kind="all")
    null = f"{row['mean_rank_null']:.1f} with shuffled labels, p {row['p_rank']:.3f}"
    assert f"as the turn opens the expected emotion has mean rank {row['mean_rank']:.1f} [" in said
    assert null in said
    planned = rows_of(demo.trends, place="over_reply", kind="medicine")
    held = sum((row["p_holm"] or 1) < 0.05 for row in planned)
    assert f"Of 2 trends that the file foretells over a ladder of doses, {held} hold" in said
    assert "the strongest is afraid for medicine, mean rank correlation 0.9" in said


def test_whose_emotion_is_one_sentence_with_intervals(demo: ReportData) -> None:
    section = plain(write_conversations(demo))
    (said,) = [one for one in section.paragraphs if one.startswith("At the words of the user")]
    assert len(re.findall(r"\d \[\S+, \S+\]", said)) == 6
    plate = find_plate(section, "whose")
    cells = {row[:2]: row for row in plate.table.rows}
    (own,) = rows_of(demo.whose, tokens="user", whose="user")
    assert cells["words of the user", "the user's"][2].startswith(f"{own['effect']:.2f} [{own['lo']:.2f}")


def test_foils_stand_in_the_direction_of_the_matter(demo: ReportData) -> None:
    plate = find_plate(plain(write_conversations(demo)), "foils")
    pairs = {row[2:4]: row for row in plate.table.rows if row[4] == "over the reply" and row[1] == "afraid"}
    (row,) = rows_of(demo.foils, variant="danger", emotion="afraid", place="over_reply", matter=True)
    assert pairs["danger", "safe scary words"][6].startswith(f"{row['difference']:.2f} [")
    assert pairs["cheerful overdose", "danger"][8] == "–"


def test_messages_are_listed_part_by_part(demo: ReportData) -> None:
    plate = find_plate(plain(write_conversations(demo)), "messages")
    table = plate.table
    assert [row[1] for row in table.rows[:3]] == ["user", "opening", "reply"]
    first = [row for row in rows_of(demo.messages) if row["conversation_id"] == "c0" and row["number"] == 0]
    best = max(first, key=lambda row: row["score"])
    assert table.rows[0][3:5] == (best["emotion"], f"{best['score']:.2f}".replace("-", "\u2212"))
    with drawing_style():
        for width in (WIDE, NARROW):
            svg = to_svg(plate.draw(width), "messages")
            assert len(ElementTree.fromstring(svg)) > 0


def test_what_was_said_is_escaped(demo: ReportData) -> None:
    page = build_page(demo)
    html = render_html(page, draw_plates(page))
    assert "<script" not in html
    assert "{{ 7*7 }}" in html
    assert "\u202e" not in html
    assert HOSTILE in {row[2] for row in find_plate(plain(write_conversations(demo)), "messages").table.rows}


def test_replies_say_share_null_and_what_dials_change(demo: ReportData) -> None:
    section = plain(write_replies(demo))
    assert section is not None
    (tone,) = rows_of(demo.tones, part="said", kind="all")
    assert section.finding.startswith(f"{100 * tone['share']:.0f}% [")
    assert f"{100 * tone['share_null']:.0f}% with shuffled labels" in section.finding
    (down,) = rows_of(demo.turned, dial="afraid", outcome="warned")
    assert f"afraid down lowers warnings (\u2212{-100 * down['delta']:.0f} [" in section.finding
    assert "against a decoy turned as far" in section.finding
    assert "61% [56, 66] of the confirm stories, where chance is 5%" in section.paragraphs[0]
    assert "by 0.10 [" in section.paragraphs[1]
    assert len(find_plate(section, "turned").table.rows) == 3 * 4


def test_a_decoy_with_a_dose_of_its_own_was_not_turned_as_far(demo: ReportData) -> None:
    assert demo.turned is not None
    rows = [row | ({"turned": 0.2} if row["role"] == "decoy" else {}) for row in demo.turned.to_pylist()]
    section = plain(write_replies(replace(demo, turned=pa.Table.from_pylist(rows, schema=demo.turned.schema))))
    assert section is not None
    assert "against a decoy at dose 0.2" in section.finding
    assert "turned as far" not in section.finding


def test_without_turned_dials_nothing_is_said_of_them(demo: ReportData) -> None:
    section = plain(write_replies(replace(demo, turned=None)))
    assert section is not None
    assert "down" not in section.finding
    assert [plate.name for plate in section.plates] == ["tones"]
    assert write_replies(replace(demo, turned=None, tones=None)) is None
