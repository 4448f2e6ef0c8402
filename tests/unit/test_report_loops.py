"""The sections on loops say what their tables say: a rise, a share, or that there is nothing to share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from report_fixture import plain, small_data

from emosae.report import ReportData, build_page
from emosae.report.figures import WIDE, drawing_style
from emosae.report.page import render_markdown
from emosae.report.sections.mediation import write_mediation
from emosae.report.sections.trajectory import write_trajectory
from emosae.scenarios.mediation import tabulate_mediation
from emosae.scenarios.rollouts import TRACE_PREFIX
from emosae.scenarios.tables import make_table
from emosae.scenarios.trajectory import name_counterpart, tabulate_trajectory

HOSTILE = "<script>alert(1)</script>"


def make_mediation(rates: dict[tuple[str, str], float]) -> pa.Table:
    """Forty episodes of twenty tasks, of which the first share of each arm cheats at the second attempt."""
    roles = {"desperate": "target", "proud": "decoy"}
    rows: list[dict[str, Any]] = [
        {
            "condition": loop,
            "dial": held,
            "role": roles.get(held, "none"),
            "task_id": f"t{at // 2}",
            "episode": at % 2,
            "impossible": True,
            "n_attempts": 2,
            "grades": ["honest", "special_cases" if at < 40 * rate else "honest"],
        }
        for (loop, held), rate in rates.items()
        for at in range(40)
    ]
    texts = ("condition", "dial", "role", "task_id", "grades[]")
    return tabulate_mediation(make_table(rows, texts=texts, counts=("episode", "n_attempts"), flags=("impossible",)))


def make_trajectory(rise: float) -> pa.Table:
    rng, names = np.random.default_rng(0), ["desperate", *(name_counterpart("desperate", at) for at in range(2))]
    rows = []
    for loop, slope in (("failures", rise), ("no failures", 0.0)):
        for at in range(30):
            traces = {
                f"{TRACE_PREFIX}{name}": (1 + slope * (name == "desperate") * np.arange(3) + rng.normal(0, 0.2, 3))[
                    : 1 + at % 3
                ].tolist()
                for name in names
            }
            facts = {"condition": loop, "dial": "-", "impossible": True, "task_id": f"t{at % 15}", "episode": at // 15}
            rows.append(facts | traces)
    numbers = [f"{TRACE_PREFIX}{name}[]" for name in names]
    texts = ("condition", "dial", "task_id")
    loops = make_table(rows, texts=texts, numbers=numbers, counts=("episode",), flags=("impossible",))
    closings = make_table(
        [
            {"task_id": f"t{at}", "episode": 0, "impossible": True, "name": name, "before": 3.0, "after": 1.0 + at / 9}
            | {"otherwise": 2.0}
            for at in range(5)
            for name in names
        ],
        texts=("task_id", "name"),
        numbers=("before", "after", "otherwise"),
        counts=("episode",),
        flags=("impossible",),
    )
    return tabulate_trajectory(loops, closings, {"desperate": 2})


MEDIATED = {
    ("failures", "-"): 0.8,
    ("no failures", "-"): 0.2,
    ("failures", "desperate"): 0.35,
    ("no failures", "desperate"): 0.2,
    ("failures", "proud"): 0.8,
    ("no failures", "proud"): 0.2,
}


@pytest.fixture
def data() -> ReportData:
    return replace(small_data(), trajectory=make_trajectory(1.0), mediation=make_mediation(MEDIATED))


def test_a_share_is_said_with_its_interval(data: ReportData) -> None:
    section = plain(write_mediation(data))
    assert section is not None
    assert (
        "80% of 40 episodes cheat later if failures are told and 20% if not, a difference of +60 [" in section.finding
    )
    assert " 75% [" in section.finding
    assert "passes through the features of desperate" in section.finding
    assert "mediate more than them by: proud +45 [" in section.paragraphs[1]
    row = section.plates[0].table.rows[0]
    assert row[:4] == ("desperate", "target", "35%", "20%")
    assert row[-2].startswith("75% [")


def test_without_a_total_there_is_no_ratio(data: ReportData) -> None:
    table = make_mediation(MEDIATED | {("failures", "-"): 0.25})
    section = plain(write_mediation(replace(data, mediation=table)))
    assert section is not None
    assert section.finding.startswith("There is no failure-induced cheating to mediate: 25% of 40 episodes")
    assert {row[-2] for row in section.plates[0].table.rows} == {"nothing to share"}


def test_a_rise_is_said_against_both_controls(data: ReportData) -> None:
    section = plain(write_trajectory(data))
    assert section is not None
    assert "desperate rises by" in section.finding
    assert "more than the loop without failures" in section.finding
    flat = write_trajectory(replace(data, trajectory=make_trajectory(0.0)))
    assert flat is not None
    assert "is not shown to rise" in flat.finding
    assert "not shown to differ from" in flat.finding
    assert "5 episodes passed the tests after a failure" in section.paragraphs[1]
    levels, slopes = section.plates
    at_risk = [row[4] for row in levels.table.rows if row[1:3] == ("dial", "failures")]
    assert at_risk == ["30", "20", "10"]
    assert [row[1] for row in slopes.table.rows] == ["failures told", "no failures told", "difference of the two"]
    assert (slopes.table.rows[0][4], slopes.table.rows[2][4]) == ("0.33", "-")


def test_nothing_played_has_no_section() -> None:
    assert write_trajectory(small_data()) is None
    assert write_mediation(small_data()) is None
    empty = replace(small_data(), mediation=make_mediation({}), trajectory=make_trajectory(1.0).slice(0, 0))
    assert write_trajectory(empty) is None
    assert write_mediation(empty) is None


def test_figures_are_drawn_and_names_are_escaped(data: ReportData) -> None:
    assert data.mediation is not None
    named = [HOSTILE if name == "proud" else name for name in data.mediation["features"].to_pylist()]
    table = data.mediation.set_column(0, "features", pa.array(named))
    page = build_page(replace(data, mediation=table))
    assert "<script>" not in render_markdown(page)
    with drawing_style():
        for section in page.sections:
            if section.name in ("trajectory", "mediation"):
                for plate in section.plates:
                    assert plate.draw(WIDE).axes
                    assert plate.draw(360.0).axes
