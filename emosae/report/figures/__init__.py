"""The report's figures: plain records in, matplotlib figures out, and SVG that follows the page's colours."""

from __future__ import annotations

from emosae.report.figures.bars import draw_comparison, draw_stacks
from emosae.report.figures.canvas import NARROW, WIDE, drawing_style, to_svg
from emosae.report.figures.forest import draw_forest
from emosae.report.figures.grid import draw_grid
from emosae.report.figures.heatmap import draw_heatmap
from emosae.report.figures.panels import draw_panels
from emosae.report.figures.records import (
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
)

__all__ = [
    "NARROW",
    "WIDE",
    "Comparison",
    "Estimate",
    "Forest",
    "ForestGrid",
    "ForestRow",
    "GridColumn",
    "Heat",
    "Line",
    "MarkStyle",
    "Measure",
    "Panel",
    "Panels",
    "Part",
    "Stacks",
    "draw_comparison",
    "draw_forest",
    "draw_grid",
    "draw_heatmap",
    "draw_panels",
    "draw_stacks",
    "drawing_style",
    "to_svg",
]
