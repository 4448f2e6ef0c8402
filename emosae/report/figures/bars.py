"""Quantities of a few things beside one another, and wholes cut into parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, text_width, write
from emosae.report.figures.records import Comparison, Measure, Part, Stacks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, HEAD, BAR = 26.0, 24.0, 9.0
GAP = 14.0
STACK_ROW, AXIS = 24.0, 40.0
READABLE = 0.55


def draw_comparison(comparison: Comparison, width: float) -> Figure:
    """A bar from 0 and its number for every row and quantity; each quantity has its own scale."""
    is_wide = width > 500
    names = [label(name, 30) for name in comparison.labels]
    indent = text_width(names, FONT_PX) + 14 if is_wide else 0.0
    row = ROW if is_wide else ROW + 18
    figure = open_figure(width, HEAD + row * len(names) + 6)
    wide = (width - indent - GAP * (len(comparison.measures) - 1)) / max(len(comparison.measures), 1)
    for at, measure in enumerate(comparison.measures):
        left = indent + (wide + GAP) * at
        write(figure, left, HEAD / 2, measure.name, "muted", size=FONT_PX - 1, weight="bold")
        _draw_measure(figure, measure, left, wide, row)
    for at, name in enumerate(names):
        write(
            figure, 0.0, HEAD + row * at + (row / 2 if is_wide else 12.0), name, weight="normal" if is_wide else "bold"
        )
    return figure


def _draw_measure(figure: Figure, measure: Measure, left: float, width: float, row: float) -> None:
    room = text_width(measure.texts, FONT_PX - 1) + 8
    axes = add_axes(figure, left, HEAD, width - room, max(row * len(measure.values), 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(max(row * len(measure.values), 1.0), 0)
    for at, (value, text) in enumerate(zip(measure.values, measure.texts, strict=True)):
        middle = row * at + (row - ROW) + ROW / 2
        share = min(max(value / measure.limit, 0.0), 1.0) if math.isfinite(value) else 0.0
        axes.barh(middle, 1, height=BAR, color=INK["band"], linewidth=0)
        axes.barh(middle, share, height=BAR, color=INK["accent"], linewidth=0)
        write(figure, left + width - room + 6, HEAD + middle, text, size=FONT_PX - 1)


def draw_stacks(stacks: Stacks, width: float) -> Figure:
    """A bar of full length per row, cut into its parts, with the legend above."""
    names = [label(name, 34) for name in stacks.labels]
    indent = min(text_width(names, FONT_PX - 0.5) + 12, width * 0.42)
    top = _write_legend(open_figure(width, 10.0), stacks.parts, width)
    figure = open_figure(width, top + STACK_ROW * len(names) + AXIS)
    _write_legend(figure, stacks.parts, width)
    axes = add_axes(figure, indent, top, width - indent - 12, max(STACK_ROW * len(names), 1.0))
    for at, (name, shares) in enumerate(zip(names, stacks.shares, strict=True)):
        _stack(axes, stacks.parts, shares, at)
        write(figure, 0.0, top + STACK_ROW * (at + 0.5), name, size=FONT_PX - 0.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(names), 1), 0)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set_xlabel(label(stacks.axis))
    return figure


def _stack(axes: Axes, parts: tuple[Part, ...], shares: tuple[float, ...], row: int) -> None:
    start = 0.0
    for part, share in zip(parts, shares, strict=True):
        if share <= 0:
            continue
        axes.barh(row + 0.5, share, left=start, height=0.72, color=INK["band"], linewidth=0)
        axes.barh(
            row + 0.5,
            share,
            left=start,
            height=0.72,
            color=INK[part.role],
            alpha=part.strength,
            edgecolor=INK["paper"],
            linewidth=1.2,
        )
        if share >= 0.09:
            ink = "paper" if part.strength > READABLE else "ink"
            axes.text(
                start + share / 2,
                row + 0.5,
                f"{100 * share:.0f}",
                color=INK[ink],
                size=FONT_PX - 1.5,
                ha="center",
                va="center_baseline",
            )
        start += share


def _write_legend(figure: Figure, parts: tuple[Part, ...], width: float) -> float:
    """Draw the legend and return where it ends."""
    left, top = 0.0, 10.0
    for part in parts:
        step = text_width([part.name], FONT_PX - 1) + 30
        if left and left + step > width:
            left, top = 0.0, top + 18
        axes = add_axes(figure, left, top - 6, 12.0, 12.0)
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.barh(0.5, 1, height=1, color=INK[part.role], alpha=part.strength, linewidth=0)
        write(figure, left + 18, top, part.name, "muted", size=FONT_PX - 1)
        left += step
    return top + 16
