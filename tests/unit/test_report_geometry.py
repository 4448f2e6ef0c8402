"""The report says of the emotions' geometry and of the features' connections what their tables say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pytest
from report_fixture import small_data

from emosae.atlas.axes import AXES_SCHEMA
from emosae.atlas.statements import STATEMENT_SCHEMA
from emosae.atlas.tree import TREE_SCHEMA
from emosae.connections import CONNECTION_SCHEMA
from emosae.report.figures import NARROW, WIDE, drawing_style, to_svg
from emosae.report.figures.dendrogram import Dendrogram, Merge, order_leaves
from emosae.report.records import ReportData
from emosae.report.sections.connections import write_connections
from emosae.report.sections.geometry import write_geometry

MERGES = [
    {"node": 3, "left": 1, "right": 2, "height": 0.4, "n_leaves": 2, "support": 0.93, "members": ["grieving", "sad"]},
    {
        "node": 4,
        "left": 0,
        "right": 3,
        "height": 1.1,
        "n_leaves": 3,
        "support": 1.0,
        "members": ["calm", "grieving", "sad"],
    },
]
AXES = [
    {
        "axis": 1,
        "measure": "valence",
        "source": "x",
        "n": 20,
        "variance": 0.4,
        "r": 0.2,
        "lo": -0.3,
        "hi": 0.6,
        "p": 0.4,
        "r_partial": 0.05,
        "p_partial": 0.8,
    },
    {
        "axis": 1,
        "measure": "story_length",
        "source": "x",
        "n": 20,
        "variance": 0.4,
        "r": -0.7,
        "lo": -0.9,
        "hi": -0.4,
        "p": 0.001,
    },
    {
        "axis": 2,
        "measure": "story_length",
        "source": "x",
        "n": 20,
        "variance": 0.1,
        "r": 0.1,
        "lo": -0.4,
        "hi": 0.5,
        "p": 0.7,
    },
]
STATEMENTS = [
    {
        "statement": "grief and loss overlap",
        "definition": "words of sorrow",
        "members": ["grieving", "sad"],
        "n_emotions": 20,
        "overlap": 0.43,
        "overlap_lo": 0.33,
        "overlap_hi": 0.54,
        "null_mean": -0.05,
        "null_hi": 0.27,
        "p": 0.016,
        "p_same_valence": 0.02,
        "overlap_vectors": 0.6,
        "p_vectors": 0.01,
        "is_seen": True,
        "verdict": "seen",
    },
    {
        "statement": "joy and excitement overlap",
        "definition": "words of joy",
        "members": ["joyful"],
        "n_emotions": 20,
        "verdict": "not testable here: only one member (joyful)",
    },
]
LINK = {
    "sae": "late",
    "feature_idx": 3,
    "emotion": "sad",
    "attribution": 0.5,
    "drop_lo": 0.3,
    "drop_hi": 0.5,
    "n_stories": 8,
}
LINKS = [
    {**LINK, "kind": "token", "source": " <b>tears", "drop": 0.4, "control_drop": 0.1, "is_confirmed": True},
    {**LINK, "kind": "feature", "source": "early/7", "drop": 0.2, "control_drop": None, "is_confirmed": False},
]


def data_with(**tables: pa.Table) -> ReportData:
    return replace(small_data(), **tables)


@pytest.fixture(scope="module")
def geometry() -> ReportData:
    similarity = pa.table(
        {"emotion_a": ["x"] * 3, "emotion_b": ["y"] * 3, "by_features": [0.1, 0.5, 0.2], "by_vectors": [0.2, 1.0, 0.4]}
    )
    return data_with(
        tree=pa.Table.from_pylist(MERGES, schema=TREE_SCHEMA),
        axes=pa.Table.from_pylist(AXES, schema=AXES_SCHEMA),
        statements=pa.Table.from_pylist(STATEMENTS, schema=STATEMENT_SCHEMA),
        similarity=similarity,
    )


def test_statements_are_in_the_finding_with_what_could_not_be_tested(geometry: ReportData) -> None:
    section = write_geometry(geometry)
    assert section is not None
    assert "Grief and loss overlap: seen (p 0.016)." in section.finding
    assert "not testable here: only one member (joyful)" in section.finding
    said = " ".join(section.paragraphs)
    assert "grieving and sad have a mean similarity of 0.43 [0.33, 0.54]" in said
    assert "correlate at 1.00" in said


def test_an_axis_that_goes_with_length_is_called_out_and_no_other(geometry: ReportData) -> None:
    section = write_geometry(geometry)
    assert section is not None
    first, second = (line for line in section.paragraphs if line.startswith("Axis"))
    assert "may be length" in first
    assert "may be length" not in second


def test_the_figures_of_the_geometry_can_be_drawn(geometry: ReportData) -> None:
    section = write_geometry(geometry)
    assert section is not None
    with drawing_style():
        for plate in section.plates:
            for width in (WIDE, NARROW):
                assert to_svg(plate.draw(width), plate.name).startswith("<svg")
        tree = to_svg(section.plates[0].draw(WIDE), "tree")
    assert ">grieving<" in tree
    assert ">93<" in tree


def test_leaves_of_a_group_stand_side_by_side() -> None:
    merges = (Merge(0, 2, 0.1, 1.0), Merge(1, 3, 0.2, 1.0), Merge(4, 5, 0.9, 1.0))
    order = order_leaves(Dendrogram(("a", "b", "c", "d"), merges, "distance", 0.5))
    neighbours = {frozenset(pair) for pair in pairwise(order)}
    assert {frozenset({0, 2}), frozenset({1, 3})} <= neighbours


def test_connections_are_listed_with_their_controls(geometry: ReportData) -> None:
    section = write_connections(data_with(connections=pa.Table.from_pylist(LINKS, schema=CONNECTION_SCHEMA)))
    assert section is not None
    assert "1 of 1 traced features have at least one confirmed token" in section.finding
    assert "0 of 1 traced features have at least one confirmed feature of an earlier layer" in section.finding
    [(_, confirmed)], [(_, every)] = section.tables, section.folded
    assert [row[3] for row in confirmed.rows] == ["' <b>tears'"]
    assert [row[6] for row in every.rows] == ["10%", "–"]


def test_a_run_without_these_tables_has_no_such_sections() -> None:
    data = replace(small_data(), tree=None, connections=None)
    assert write_geometry(data) is None
    assert write_connections(data) is None
