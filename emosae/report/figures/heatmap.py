"""Tables of numbers as shades of one colour over the page's own background, so that they work on light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, size_of, text_width, write
from emosae.report.figures.records import Heat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST, LEGEND = 34.0, 34.0
ROOM_FOR_TEXT = 26
FAINTEST = 0.02


def draw_heatmap(heat: Heat, width: float) -> Figure:
    """Cells with row labels at the left, column labels above, and a strip that explains the shades below."""
    size = FONT_PX - 0.5 if width > 500 else FONT_PX - 2.5
    names = [label(name, 24) for name in heat.rows]
    heads = [label(name, 24) for name in heat.columns]
    left = text_width(names, size) + 8
    room = (width - left - 4) / max(len(heads), 1)
    is_level = room > text_width(heads, size) + 4
    cell = min(text_width(heads, size) + 10 if is_level else LARGEST, room)
    top = 22.0 if is_level else text_width(heads, size) + 8
    high = 22.0 if is_level else max(cell, 15.0)
    figure = open_figure(width, top + high * len(names) + LEGEND + (12 if width > 500 or not heat.outline else 28))
    axes = add_axes(figure, left, top, cell * len(heads), max(high * len(names), 1.0))
    _fill_cells(axes, heat, np.clip(heat.shades, -1, 1), cell, size)
    for at, name in enumerate(names):
        write(figure, left - 6, top + high * (at + 0.5), name, size=size, ha="right")
    for at, name in enumerate(heads):
        turned = 0 if is_level else 90
        axes.text(at + 0.5, -0.15, name, rotation=turned, size=size, ha="center", va="bottom", color=INK["ink"])
    _explain(figure, heat, left, top + high * len(names) + LEGEND - 8)
    return figure


def _fill_cells(axes: Axes, heat: Heat, shades: np.ndarray, cell: float, size: float) -> None:
    from matplotlib.patches import Rectangle

    axes.set_xlim(0, max(len(heat.columns), 1))
    axes.set_ylim(max(len(heat.rows), 1), 0)
    axes.set_axis_off()
    axes.add_patch(Rectangle((0, 0), len(heat.columns), len(heat.rows), facecolor=INK["band"], lw=0))
    for (row, column), shade in np.ndenumerate(shades):
        if not np.isfinite(shade):
            axes.text(column + 0.5, row + 0.5, "·", color=INK["muted"], ha="center", va="center")
            continue
        colour = INK["accent" if shade >= 0 else "up"]
        if abs(shade) >= FAINTEST:
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=abs(shade), lw=0))
        if heat.texts and cell >= ROOM_FOR_TEXT:
            ink = INK["paper" if abs(shade) > 0.55 else "ink"]
            axes.text(
                column + 0.5,
                row + 0.5,
                heat.texts[row][column],
                color=ink,
                size=size - 2,
                ha="center",
                va="center_baseline",
            )
    axes.vlines(range(1, len(heat.columns)), 0, len(heat.rows), color=INK["paper"], linewidth=1)
    axes.hlines(range(1, len(heat.rows)), 0, len(heat.columns), color=INK["paper"], linewidth=1)
    for row, column in sorted(heat.outlined):
        frame = Rectangle((column, row), 1, 1, facecolor="none", edgecolor=INK["ink"], lw=1.8, clip_on=False)
        axes.add_patch(frame).set_zorder(4)


def _explain(figure: Figure, heat: Heat, left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    size = FONT_PX - 1
    start = text_width([heat.low], size) + 10
    write(figure, start - 6, top, heat.low, "muted", size=size, ha="right")
    long = 15.0 * heat.steps
    strip = add_axes(figure, start, top - 6, long, 12.0)
    strip.set_axis_off()
    strip.set_xlim(0, heat.steps)
    strip.set_ylim(0, 1)
    strip.add_patch(Rectangle((0, 0), heat.steps, 1, facecolor=INK["band"], lw=0))
    for step in range(1, heat.steps):
        strip.add_patch(Rectangle((step, 0), 1, 1, facecolor=INK["accent"], alpha=step / (heat.steps - 1), lw=0))
    write(figure, start + long + 6, top, heat.high, "muted", size=size)
    if heat.outline:
        after = start + long + 6 + text_width([heat.high], size) + 22
        if after + text_width([heat.outline], size) + 16 > size_of(figure)[0]:
            after, top = start, top + 18
        box = add_axes(figure, after, top - 6, 12.0, 12.0)
        box.set_axis_off()
        box.set_xlim(0, 1)
        box.set_ylim(0, 1)
        box.add_patch(Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=INK["ink"], lw=1.8, clip_on=False))
        write(figure, after + 18, top, heat.outline, "muted", size=size)
