"""Many small sets of estimates on one scale: a strip for each, as many beside one another as stay legible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, write
from emosae.report.figures.forest import draw_legend, draw_mark, legend_height
from emosae.report.figures.records import Estimate, MarkStyle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, ROW, TICKS, GAP, BETWEEN = 20.0, 11.0, 20.0, 10.0, 26.0


@dataclass(frozen=True, slots=True)
class Strip:
    """A title and estimates under one another, a line for each."""

    title: str
    marks: tuple[tuple[MarkStyle, Estimate], ...]


@dataclass(frozen=True, slots=True)
class Strips:
    """Strips on one scale; `line` is a reference that all of them show."""

    strips: tuple[Strip, ...]
    axis: str
    limits: tuple[float, float]
    line: float
    legend: tuple[tuple[MarkStyle, str], ...] = ()


def draw_strips(strips: Strips, width: float) -> Figure:
    """Four strips in a row, or two on a phone; the numbers of the scale stand under the lowest row of strips."""
    across = min(4 if width > 500 else 2, max(1, len(strips.strips)))
    down = max(1, math.ceil(len(strips.strips) / across))
    top = legend_height(strips.legend, width)
    tallest = ROW * max((len(strip.marks) for strip in strips.strips), default=1)
    step = TITLE + tallest + GAP
    figure = open_figure(width, top + step * down + TICKS + 18)
    draw_legend(figure, strips.legend, 0.0, 10.0)
    wide = (width - 8 - BETWEEN * (across - 1)) / across
    for at, strip in enumerate(strips.strips):
        left, high = 4 + (wide + BETWEEN) * (at % across), top + step * (at // across)
        write(figure, left - 4, high + TITLE / 2 + 2, label(strip.title, int(wide / 7)), size=FONT_PX, weight="bold")
        is_lowest = at + across >= len(strips.strips)
        _draw_strip(figure, strip, strips, (left, high + TITLE, wide, tallest), with_ticks=is_lowest)
    write(figure, width / 2, top + step * down + TICKS + 4, strips.axis, "muted", size=FONT_PX - 0.5, ha="center")
    return figure


def _draw_strip(
    figure: Figure, strip: Strip, strips: Strips, place: tuple[float, float, float, float], *, with_ticks: bool
) -> None:
    axes = add_axes(figure, *place)
    axes.set_xlim(*strips.limits)
    axes.set_ylim(place[3], 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([tick for tick in (0.0, 0.25, 0.5, 0.75, 1.0) if strips.limits[0] <= tick <= strips.limits[1]])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(labelbottom=with_ticks)
    axes.grid(axis="x", color=INK["rule"], linewidth=0.5, zorder=0)
    axes.axvline(strips.line, color=INK["muted"], linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    for at, (style, estimate) in enumerate(strip.marks):
        draw_mark(axes, style, estimate, ROW * (at + 0.5), size=5.0)
