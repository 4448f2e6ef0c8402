"""The same rows of estimates under several headings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, text_width, write
from emosae.report.figures.forest import draw_legend, draw_mark, legend_height
from emosae.report.figures.records import ForestGrid, GridColumn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, HEAD, AXIS, GAP = 23.0, 24.0, 44.0, 16.0
NARROWEST = 105.0


def draw_grid(grid: ForestGrid, width: float) -> Figure:
    """As many columns side by side as stay legible; further ones go below, with the labels again."""
    names = [label(name, 28) for name in grid.labels]
    left = min(text_width(names, FONT_PX - 0.5) + 12, width * 0.4)
    across = max(1, min(len(grid.columns), int((width - left + GAP) // (NARROWEST + GAP))))
    down = math.ceil(len(grid.columns) / across)
    top = legend_height(grid.legend, width)
    step = HEAD + ROW * len(names) + AXIS
    figure = open_figure(width, top + step * down)
    draw_legend(figure, grid.legend, 0.0, 10.0)
    wide = (width - left - GAP * (across - 1)) / across
    for at, column in enumerate(grid.columns):
        start, high = left + (wide + GAP) * (at % across), top + step * (at // across)
        axes = add_axes(figure, start, high + HEAD, wide, max(ROW * len(names), 1.0))
        write(figure, start, high + HEAD / 2, label(column.title, int(wide / 6)), size=FONT_PX - 0.5, weight="bold")
        _draw_column(axes, grid, column)
        if at % across == 0:
            for place, name in enumerate(names):
                write(figure, 0.0, high + HEAD + ROW * (place + 0.5), name, size=FONT_PX - 0.5)
            write(figure, start, high + step - 8, grid.axis, "muted", size=FONT_PX - 0.5)
    return figure


def _draw_column(axes: Axes, grid: ForestGrid, column: GridColumn) -> None:
    axes.set_xlim(*grid.limits)
    axes.set_ylim(max(ROW * len(grid.labels), 1.0), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}".replace("-", "−").replace("+0", "0"))
    axes.grid(axis="x", color=INK["rule"], linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.axvline(0, color=INK["muted"], linewidth=1.1, linestyle=(0, (3, 2)), zorder=1)
    for place, marks in enumerate(column.marks):
        middle = ROW * (place + 0.5)
        lifted = 3 if len(marks) > 1 else 0
        for at, (style, estimate) in enumerate(marks):
            draw_mark(axes, style, estimate, middle - lifted if at == 0 else middle + 5)
