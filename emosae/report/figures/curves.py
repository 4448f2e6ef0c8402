"""Many SAEs in one plot: curves over steps, densities, and a cloud of points, each SAE in a colour of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PALETTE = ("#2f7fc6", "#d0561c", "#2b8a57", "#8f63c9", "#bf4a86", "#8a7718", "#158a93")
"""Legible on light and on dark paper."""
DASHES = ("", "5 2.5", "1.6 1.8")
"""How lines are told apart once the colours are used up."""
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
TITLE, PLOT, TICKS, GAP, LEFT = 24.0, 170.0, 44.0, 56.0, 52.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One SAE's line; NaN is a gap. With one y fewer than x, the y are heights of steps between the x."""

    series: int
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One plot of a quantity, from 0 up or on a logarithmic scale; `mark` is a reference line's x."""

    title: str
    curves: tuple[Curve, ...]
    x_axis: str
    log_y: bool = False
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class CloudPoint:
    """One SAE as a point: hollow if what it shows is not to be trusted as it stands."""

    series: int
    x: float
    y: float
    group: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Cloud:
    """SAEs as numbered points, a shape for each group; both scales begin at 0 unless x spans a factor of 20."""

    points: tuple[CloudPoint, ...]
    x_axis: str
    y_axis: str


def series_colour(series: int) -> str:
    """The colour of a series, no two alike even where the eye cannot tell them apart: the page finds them by it."""
    base = int(PALETTE[series % len(PALETTE)][1:], 16)
    return f"#{base ^ (series // len(PALETTE)):06x}"


def series_dash(series: int) -> str:
    """SVG's dash pattern of a series; empty for a solid line."""
    return DASHES[series // len(PALETTE) % len(DASHES)]


def name_series(svg: str, n_series: int) -> str:
    """The same SVG with every series' colour as a CSS variable, `--series-0` and so on, by which a page finds it."""
    names = {series_colour(series): f"--series-{series}" for series in range(n_series)}
    return re.sub(r"<[^>]+>", lambda tag: _name_colours(tag[0], names), svg)


def _name_colours(tag: str, names: dict[str, str]) -> str:
    return re.sub(r"#[0-9a-f]{6}\b", lambda hit: f"var({names[hit[0]]}, {hit[0]})" if hit[0] in names else hit[0], tag)


def draw_curves(panels: Sequence[CurvePanel], width: float) -> Figure:
    """Plots side by side: two in a row, or one on a phone."""
    across = max(1, min(len(panels), 2 if width > 500 else 1))
    step = TITLE + PLOT + TICKS
    figure = open_figure(width, step * max(1, math.ceil(len(panels) / across)))
    wide = (width - LEFT - 10 - GAP * (across - 1)) / across
    for at, panel in enumerate(panels):
        left, top = LEFT + (wide + GAP) * (at % across), step * (at // across)
        write(figure, left, top + 10, label(panel.title, int(wide / 6)), size=FONT_PX, weight="bold")
        axes = add_axes(figure, left, top + TITLE, wide, PLOT)
        _draw_panel(axes, panel)
        axes.set_xlabel(label(panel.x_axis), labelpad=4)
    return figure


def _draw_panel(axes: Axes, panel: CurvePanel) -> None:
    for curve in panel.curves:
        style = {"color": series_colour(curve.series), "linewidth": 1.5, "linestyle": _line_style(curve.series)}
        if len(curve.y) < len(curve.x):
            axes.stairs(curve.y, curve.x, baseline=None, **style)
        else:
            alone = "o" if sum(map(math.isfinite, curve.y)) == 1 else ""
            axes.plot(curve.x, curve.y, marker=alone, markersize=4, **style)
    if panel.mark is not None:
        axes.axvline(panel.mark, color=INK["muted"], linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    if panel.log_y and any(value > 0 for curve in panel.curves for value in curve.y):
        axes.set_yscale("log")
        _scale_log(axes.yaxis, *axes.get_ylim())
    else:
        axes.locator_params(axis="y", nbins=5)
        axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=5)
    _dress(axes)


def _scale_log(axis: Axis, low: float, high: float) -> None:
    """A logarithmic scale with at least two numbers on it, however little of it is seen."""
    from matplotlib.ticker import LogLocator, NullLocator

    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 0.7 else tuple(map(float, range(1, 10)))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())


def _tick(value: float, _: object = None) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _line_style(series: int) -> tuple[int, tuple[float, ...]] | str:
    dash = series_dash(series)
    return (0, tuple(float(part) / 1.5 for part in dash.split())) if dash else "-"


def _dress(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(_tick)
    axes.yaxis.set_major_formatter(_tick)
    axes.grid(axis="y", color=INK["rule"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", which="both", length=0)
    axes.margins(x=0.03)


def draw_cloud(cloud: Cloud, width: float) -> Figure:
    """Points with the number of their series beside them, and the shapes of the groups above."""
    groups = sorted({point.group for point in cloud.points})
    shapes = {group: SHAPES[at % len(SHAPES)] for at, group in enumerate(groups)}
    key = 18.0 * len(groups) if len(groups) > 1 else 0.0
    high = 300.0 if width > 500 else 250.0
    figure = open_figure(width, key + 12 + high + TICKS)
    for at, group in enumerate(groups if key else ()):
        mark = add_axes(figure, LEFT, 18.0 * at, 14.0, 18.0)
        mark.set_axis_off()
        mark.plot([0.5], [0.5], marker=shapes[group], markersize=6, color=INK["muted"])
        write(figure, LEFT + 20, 18.0 * at + 9, label(group), "muted", size=FONT_PX - 1)
    axes = add_axes(figure, LEFT, key + 12.0, width - LEFT - 24.0, float(high))
    for point in cloud.points:
        _draw_point(axes, point, shapes[point.group])
    _scale_cloud(axes, [point.x for point in cloud.points if point.x > 0])
    axes.set_xlabel(label(cloud.x_axis), labelpad=4)
    axes.set_ylabel(label(cloud.y_axis), labelpad=6)
    axes.locator_params(axis="y", nbins=5)
    _dress(axes)
    return figure


def _draw_point(axes: Axes, point: CloudPoint, shape: str) -> None:
    if not (math.isfinite(point.x) and math.isfinite(point.y)):
        return
    colour = series_colour(point.series)
    face = INK["paper"] if point.hollow else colour
    axes.plot([point.x], [point.y], marker=shape, markersize=8, markerfacecolor=face, markeredgecolor=colour, zorder=3)
    axes.annotate(
        str(point.series + 1),
        (point.x, point.y),
        xytext=(7, 4),
        textcoords="offset points",
        color=colour,
        size=FONT_PX - 1,
        weight="bold",
    )


def _scale_cloud(axes: Axes, x: Sequence[float]) -> None:
    axes.set_ylim(0, max(axes.get_ylim()[1] * 1.05, 1e-6))
    if x and max(x) > 20 * min(x):
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.3, max(x) * 1.3)
        _scale_log(axes.xaxis, *axes.get_xlim())
    else:
        axes.set_xlim(0, max(x, default=1) * 1.1)
