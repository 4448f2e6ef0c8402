"""Single plots: one number against another, a histogram beside what chance gives, and lines over layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, text_width, write
from emosae.report.figures.forest import draw_legend, legend_height, stroke
from emosae.report.figures.records import MarkStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, TITLE, TICKS = 52.0, 14.0, 24.0, 44.0
FAINT = 0.3

Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Scatter:
    """Kinds of points, the least important first; the diagonal is drawn, and a `line` across either scale."""

    kinds: tuple[tuple[MarkStyle, str, Pairs], ...]
    x_axis: str
    y_axis: str
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    line: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars between edges, the steps of a comparison over them, and the level that chance gives."""

    title: str
    edges: tuple[float, ...]
    bars: tuple[float, ...]
    steps: tuple[float, ...]
    level: float
    x_axis: str


@dataclass(frozen=True, slots=True)
class LayerLine:
    """Values at layers that follow one another; NaN is a gap. `chosen` is the place that was chosen, if any."""

    values: tuple[float, ...]
    style: MarkStyle
    chosen: int | None = None


@dataclass(frozen=True, slots=True)
class LayerPanel:
    """One method: faint lines for its parts, and strong ones for what is said of the whole."""

    title: str
    faint: tuple[tuple[float, ...], ...]
    strong: tuple[LayerLine, ...]


@dataclass(frozen=True, slots=True)
class Layers:
    """Methods side by side over the same layers."""

    names: tuple[str, ...]
    panels: tuple[LayerPanel, ...]
    x_axis: str
    y_axis: str
    line: float
    legend: tuple[tuple[MarkStyle, str], ...] = ()


def draw_scatter(scatter: Scatter, width: float) -> Figure:
    """A square plot with its legend above."""
    legend = tuple((style, name) for style, name, _ in reversed(scatter.kinds))
    top, side = legend_height(legend, width) + 6, min(width - LEFT - RIGHT, 420.0)
    figure = open_figure(width, top + side + TICKS)
    draw_legend(figure, legend, 0.0, 10.0)
    axes = add_axes(figure, LEFT, top, side, side)
    axes.axline((scatter.line, scatter.line), slope=1, color=INK["muted"], linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    axes.axhline(scatter.line, color=INK["rule"], linewidth=1, zorder=1)
    axes.axvline(scatter.line, color=INK["rule"], linewidth=1, zorder=1)
    for at, (style, _, points) in enumerate(scatter.kinds):
        if points:
            _draw_points(axes, style, points, zorder=2 + at)
    axes.set_xlim(*scatter.x_limits)
    axes.set_ylim(*scatter.y_limits)
    axes.set_xlabel(label(scatter.x_axis), labelpad=4)
    axes.set_ylabel(label(scatter.y_axis), labelpad=6)
    return figure


def _draw_points(axes: Axes, style: MarkStyle, points: Pairs, zorder: int) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(
        x,
        y,
        linestyle="",
        marker=style.shape,
        markersize=4 if style.hollow else 5.5,
        markerfacecolor="none" if style.hollow else INK[style.role],
        markeredgecolor=INK[style.role] if style.hollow else INK["paper"],
        markeredgewidth=0.8,
        alpha=0.5 if style.hollow else 1,
        zorder=zorder,
        clip_on=False,
    )


def draw_histograms(histograms: Sequence[Histogram], width: float) -> Figure:
    """Histograms beside one another, or under one another on a phone."""
    across = max(1, min(len(histograms), 2 if width > 500 else 1))
    step = TITLE + 170.0 + TICKS
    figure = open_figure(width, step * max(1, math.ceil(len(histograms) / across)))
    wide = (width - (LEFT + RIGHT) * across) / across
    for at, one in enumerate(histograms):
        left, top = LEFT + (wide + LEFT + RIGHT) * (at % across), step * (at // across)
        write(figure, left, top + 10, label(one.title, int(wide / 6)), size=FONT_PX, weight="bold")
        axes = add_axes(figure, left, top + TITLE, wide, 170.0)
        axes.stairs(one.bars, one.edges, fill=True, color=INK["accent"], alpha=0.75, linewidth=0)
        if any(map(math.isfinite, one.steps)):
            axes.stairs(one.steps, one.edges, baseline=None, color=INK["up"], linewidth=1.4)
        axes.axhline(one.level, color=INK["ink"], linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xlim(one.edges[0], one.edges[-1])
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="y", nbins=4)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
        axes.set_xlabel(label(one.x_axis), labelpad=4)
    return figure


def draw_layers(layers: Layers, width: float) -> Figure:
    """A panel per method, on one scale; names of layers under each, turned where there are many."""
    across = max(1, min(len(layers.panels), 2 if width > 500 else 1))
    top = legend_height(layers.legend, width)
    wide = (width - (LEFT + RIGHT) * across) / across
    room = wide / max(len(layers.names), 1)
    is_level = room > text_width(layers.names, FONT_PX - 1)
    foot = 26.0 if is_level else text_width(layers.names, FONT_PX - 1) + 14
    step = TITLE + 210.0 + foot + 20
    figure = open_figure(width, top + step * max(1, math.ceil(len(layers.panels) / across)))
    draw_legend(figure, layers.legend, 0.0, 10.0)
    for at, panel in enumerate(layers.panels):
        left, high = LEFT + (wide + LEFT + RIGHT) * (at % across), top + step * (at // across)
        write(figure, left, high + 10, label(panel.title, int(wide / 6)), size=FONT_PX, weight="bold")
        axes = add_axes(figure, left, high + TITLE, wide, 210.0)
        _draw_lines(axes, panel, layers)
        axes.set_xticks(range(len(layers.names)), [label(name, 30) for name in layers.names])
        axes.tick_params(axis="x", rotation=0 if is_level else 90)
        axes.set_xlabel(label(layers.x_axis), labelpad=4)
        if at % across == 0:
            axes.set_ylabel(label(layers.y_axis), labelpad=6)
    return figure


def _draw_lines(axes: Axes, panel: LayerPanel, layers: Layers) -> None:
    axes.axhline(layers.line, color=INK["muted"], linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    places = range(len(layers.names))
    for values in panel.faint:
        axes.plot(places, values, color=INK["other"], linewidth=0.8, alpha=FAINT, marker=".", markersize=3, zorder=2)
    for line in panel.strong:
        axes.plot(places, line.values, linewidth=1.8, markersize=6, zorder=4, **stroke(line.style))
        if line.chosen is not None:
            ring = {"marker": "o", "markersize": 14, "markerfacecolor": "none", "markeredgecolor": INK["up"]}
            axes.plot([line.chosen], [line.values[line.chosen]], markeredgewidth=1.8, zorder=5, clip_on=False, **ring)
    known = [value for line in panel.strong for value in line.values if math.isfinite(value)]
    known += [value for values in panel.faint for value in values if math.isfinite(value)]
    axes.set_ylim(min([0.45, *known]) - 0.02, 1.02)
    axes.set_xlim(-0.4, len(layers.names) - 0.6)
    axes.grid(axis="y", color=INK["rule"], linewidth=0.6)
    axes.set_axisbelow(True)
