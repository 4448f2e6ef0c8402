"""Figures draw their records: every label and number, at every width, the same each time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from emosae.report.figures import (
    NARROW,
    WIDE,
    Comparison,
    Estimate,
    Forest,
    ForestGrid,
    ForestRow,
    GridColumn,
    Heat,
    Line,
    MarkStyle,
    Measure,
    Panel,
    Panels,
    Part,
    Stacks,
    draw_comparison,
    draw_forest,
    draw_grid,
    draw_heatmap,
    draw_panels,
    draw_stacks,
    drawing_style,
    to_svg,
)
from emosae.report.figures.canvas import INK, add_axes, label, open_figure

HALF = Estimate(0.5, 0.4, 0.6)
ODD = "grief & <b> $x_1$ 悲しい"


def make_figures() -> dict[str, Callable[[float], Any]]:
    mark = ((MarkStyle(), HALF), (MarkStyle("^", "up", hollow=True), Estimate(math.nan)))
    rows = (ForestRow(ODD, mark, ("50% [40, 60]",)), ForestRow("second", mark, ("-",)))
    forest = Forest((("heading", rows),), "rate", (0.0, 1.0), ("column",), 0.5, (0.4, 0.6), ((MarkStyle(), "mark"),))
    heat = Heat(
        ("one", ODD), ("a", "b", "c"), np.array([[0.0, 1.0, -1.0], [math.nan, 0.5, 2.0]]), outlined=frozenset({(0, 1)})
    )
    lines = (Line("line", (1.0, 2.0, 3.0), (HALF, Estimate(math.nan), Estimate(0.7)), MarkStyle()),)
    panels = Panels(tuple(Panel(ODD, lines, {1.0: 200}) for _ in range(3)), "x", "y", count_name="at risk")
    measure = Measure("fvu", (0.5, math.nan), ("0.5", "not measured"), 1.0)
    stacks = Stacks((ODD, "none"), (Part("a", "up"), Part("b", "accent", 0.3)), ((0.4, 0.6), (0.0, 0.0)), "share")
    grid = ForestGrid(
        ("one", ODD), tuple(GridColumn(f"column {n}", (mark, mark)) for n in range(5)), "points", (-0.5, 0.5)
    )
    return {
        "forest": partial(draw_forest, forest),
        "heat": partial(draw_heatmap, heat),
        "panels": partial(draw_panels, panels),
        "comparison": partial(draw_comparison, Comparison(("one", ODD), (measure,) * 3)),
        "stacks": partial(draw_stacks, stacks),
        "grid": partial(draw_grid, grid),
    }


def render(draw: Callable[[float], Any], width: float, name: str = "figure") -> str:
    with drawing_style():
        return to_svg(draw(width), name)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", make_figures())
def test_every_figure_is_well_formed_and_says_its_labels(name: str, width: float) -> None:
    svg = render(make_figures()[name], width)
    root = ElementTree.fromstring(svg)
    assert float(root.attrib["width"]) == width
    shown = " ".join(text for text in root.itertext() if text.strip())
    assert ODD in shown or ODD[:15] in shown


@pytest.mark.parametrize("name", make_figures())
def test_equal_figures_are_equal_text(name: str) -> None:
    draw = make_figures()[name]
    assert render(draw, WIDE) == render(draw, WIDE)
    ids = [re.findall(r'\bid="([^"]*)"', render(draw, WIDE, one)) for one in ("first", "second")]
    assert not set(ids[0]) & set(ids[1])


@pytest.mark.parametrize(
    ("draw", "record"),
    [
        (draw_forest, Forest((), "x", (0.0, 1.0))),
        (draw_heatmap, Heat((), (), np.zeros((0, 0)))),
        (draw_panels, Panels((), "x", "y")),
        (draw_comparison, Comparison((), ())),
        (draw_stacks, Stacks((), (), (), "x")),
        (draw_grid, ForestGrid((), (), "x", (0.0, 1.0))),
    ],
)
def test_records_without_rows_can_be_drawn(draw: Callable[..., Any], record: Any) -> None:
    assert "<svg" in render(partial(draw, record), NARROW)


def test_marks_stand_at_their_values() -> None:
    row = ForestRow("a", ((MarkStyle(), Estimate(0.25, 0.1, 0.4)),))
    with drawing_style():
        axes = draw_forest(Forest((("", (row,)),), "rate", (0.0, 1.0)), WIDE).axes[0]
    drawn = [tuple(line.get_xdata()) for line in axes.lines]
    assert (0.1, 0.4) in drawn
    assert (0.25,) in drawn


def test_a_phone_gets_the_first_column_only() -> None:
    rows = (ForestRow("a", ((MarkStyle(), HALF),), ("first text", "second text")),)
    forest = Forest((("", rows),), "rate", (0.0, 1.0), ("one", "two"))
    wide, narrow = (render(partial(draw_forest, forest), width) for width in (WIDE, NARROW))
    assert "second text" in wide
    assert "second text" not in narrow
    assert "first text" in narrow


def test_colours_are_told_apart_and_legible() -> None:
    assert len(set(INK.values())) == len(INK)

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    def contrast(one: str, other: str) -> float:
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(INK[role], INK["paper"]) >= 4.5 for role in ("ink", "muted"))
    assert all(contrast(INK[role], INK["paper"]) >= 3 for role in ("accent", "up", "down", "other"))


def test_the_users_settings_do_not_matter() -> None:
    import matplotlib

    draw = make_figures()["forest"]
    plain = render(draw, WIDE)
    with matplotlib.rc_context({"font.size": 40, "text.usetex": False, "axes.grid": True}):
        assert render(draw, WIDE) == plain
        assert matplotlib.rcParams["font.size"] == 40


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a\nb\tc", "a b c"), ("\u202eevil\x00", "evil"), ("x" * 80, f"{'x' * 59}…"), (3, "3"), ("", "")],
)
def test_labels_are_one_line(given: object, shown: str) -> None:
    assert label(given) == shown


def test_axes_stand_where_they_are_put() -> None:
    figure = open_figure(200.0, 100.0)
    box = add_axes(figure, 20.0, 10.0, 100.0, 50.0).get_position()
    assert (box.x0, box.y1, box.width, box.height) == pytest.approx((0.1, 0.9, 0.5, 0.5))
