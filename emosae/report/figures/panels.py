"""Small plots side by side: what rises with what."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, size_of, write
from emosae.report.figures.forest import draw_legend, legend_height, stroke
from emosae.report.figures.records import Line, Panel, Panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, PLOT, TICKS, COUNTS, AXIS = 22.0, 150.0, 24.0, 30.0, 20.0
LEFT, GAP = 46.0, 40.0


def draw_panels(panels: Panels, width: float) -> Figure:
    """As many panels in a row as stay legible; counts, if there are any, stand under each axis."""
    across = max(1, min(len(panels.panels), int((width - 8) // 190))) if width > 500 else 1
    down = math.ceil(len(panels.panels) / across)
    has_counts = any(panel.counts for panel in panels.panels)
    step = TITLE + PLOT + TICKS + AXIS + (COUNTS if has_counts else 0) + 10
    top = legend_height(panels.legend, width)
    figure = open_figure(width, top + step * down)
    draw_legend(figure, panels.legend, 0.0, 10.0)
    wide = (width - LEFT - 12 - GAP * (across - 1)) / across
    for at, panel in enumerate(panels.panels):
        left = LEFT + (wide + GAP) * (at % across)
        high = top + step * (at // across)
        axes = add_axes(figure, left, high + TITLE, wide, PLOT)
        write(figure, left, high + 10, label(panel.title, int(wide / 6)), size=FONT_PX, weight="bold")
        _draw_panel(axes, panel, panels)
        _write_counts(figure, axes, panel, panels, high + TITLE + PLOT + TICKS + 4)
        below = high + step - 16 - (0 if has_counts or not any(panel.counts for panel in panels.panels) else COUNTS)
        write(figure, left + wide / 2, below, panels.x_axis, "muted", size=FONT_PX - 0.5, ha="center")
    return figure


def _draw_panel(axes: Axes, panel: Panel, panels: Panels) -> None:
    ticks = sorted({x for line in panel.lines for x in line.x})
    if panels.log_x:
        axes.set_xscale("log")
    for line in panel.lines:
        _draw_line(axes, line)
    axes.set_xticks(_thin(ticks, 5, panels.log_x))
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:g}")
    axes.locator_params(axis="y", nbins=4)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(axis="y", color=INK["rule"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)


def _draw_line(axes: Axes, line: Line) -> None:
    known = [(x, point) for x, point in zip(line.x, line.points, strict=True) if point.known]
    colour = INK[line.style.role]
    axes.plot(
        [x for x, _ in known],
        [point.value for _, point in known],
        linewidth=1.6,
        markersize=5.5,
        zorder=3,
        **stroke(line.style),
    )
    for x, point in known:
        if point.bounded:
            axes.plot([x, x], [point.lo, point.hi], color=colour, linewidth=1.2, alpha=0.75, zorder=2)


def _thin(ticks: list[float], most: int, is_log: bool) -> list[float]:
    """At most so many of the ticks, ends included, evenly spread on the scale that is drawn."""
    if len(ticks) <= most:
        return ticks
    scale = [math.log(x) for x in ticks] if is_log and ticks[0] > 0 else ticks
    wanted = [scale[0] + (scale[-1] - scale[0]) * at / (most - 1) for at in range(most)]
    nearest = [min(range(len(ticks)), key=lambda i, w=w: abs(scale[i] - w)) for w in wanted]
    return [ticks[i] for i in sorted(set(nearest))]


def _write_counts(figure: Figure, axes: Axes, panel: Panel, panels: Panels, top: float) -> None:
    if not panel.counts:
        return
    wide, high = size_of(figure)
    write(figure, 0.0, top + 2, label(panels.count_name, 8), "muted", size=FONT_PX - 2)
    figure.canvas.draw_idle()
    for x, count in panel.counts.items():
        place = axes.transData.transform((x, 0))[0]
        figure.text(place / wide, 1 - (top + 2) / high, f"{count}", size=FONT_PX - 2, ha="center", va="center_baseline")
