"""Estimates with intervals under one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emosae.report.figures.canvas import FONT_PX, INK, WIDE, add_axes, label, open_figure, size_of, text_width, write
from emosae.report.figures.records import Estimate, Forest, ForestRow, MarkStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, HEADING, AXIS, GAP = 23.0, 27.0, 44.0, 10.0
MARK_PX = 7.0


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of a forest plot stand, in pixels."""

    top: float
    height: float
    left: float
    width: float
    columns: tuple[float, ...]
    row_tops: tuple[float, ...]
    heading_tops: tuple[tuple[float, str], ...]


def draw_forest(forest: Forest, width: float) -> Figure:
    """Rows in groups: label, estimate with interval, and the columns for which there is room."""
    place = _lay_out(forest, width)
    figure = open_figure(width, place.top + place.height + AXIS)
    axes = add_axes(figure, place.left, place.top, place.width, place.height)
    _dress_axes(axes, forest, place.height)
    draw_legend(figure, forest.legend, 0.0, 10.0)
    rows = [row for _, group in forest.groups for row in group]
    for row, top in zip(rows, place.row_tops, strict=True):
        _draw_row(axes, row, top - place.top)
        write(figure, 0.0, top, label(row.label, 40), size=FONT_PX - 0.5)
        for text, right in zip(row.columns, place.columns, strict=False):
            write(figure, right, top, text, "ink", size=FONT_PX - 1, ha="right")
    for top, heading in place.heading_tops:
        write(figure, 0.0, top, heading, "muted", size=FONT_PX - 1, weight="bold")
    for head, right in zip(forest.heads, place.columns, strict=False):
        write(figure, right, place.top - 8, head, "muted", size=FONT_PX - 1.5, ha="right")
    return figure


def stroke(style: MarkStyle) -> dict[str, Any]:
    """How a line through marks of a kind is drawn: dashed with open marks where the kind is hollow."""
    colour = INK[style.role]
    return {
        "color": colour,
        "linestyle": (0, (4, 2)) if style.hollow else "-",
        "marker": style.shape,
        "markerfacecolor": INK["paper"] if style.hollow else colour,
        "markeredgecolor": colour,
    }


def draw_legend(figure: Figure, entries: tuple[tuple[MarkStyle, str], ...], left: float, top: float) -> None:
    """Marks with their meaning in lines from the left; see `legend_height` for the room they take."""
    wide, start = size_of(figure)[0], left
    for style, meaning in entries:
        step = text_width([meaning], FONT_PX - 1) + 30
        if start > left and start + step > wide:
            start, top = left, top + 18
        axes = add_axes(figure, start, top - 7, 14.0, 14.0)
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        draw_mark(axes, style, Estimate(0.5), 0.5)
        write(figure, start + 18, top, meaning, "muted", size=FONT_PX - 1)
        start += step


def legend_height(entries: tuple[tuple[MarkStyle, str], ...], width: float) -> float:
    """Pixels that a legend takes at a width."""
    if not entries:
        return 0.0
    lines, start = 1, 0.0
    for _, meaning in entries:
        step = text_width([meaning], FONT_PX - 1) + 30
        if start and start + step > width:
            lines, start = lines + 1, 0.0
        start += step
    return 18.0 * lines + 6


def draw_mark(axes: Axes, style: MarkStyle, estimate: Estimate, y: float, size: float = MARK_PX) -> None:
    """A mark at its value, with a thin line for its interval."""
    colour = INK[style.role]
    if estimate.bounded:
        axes.plot([estimate.lo, estimate.hi], [y, y], color=colour, linewidth=1.0 if style.hollow else 1.8)
    if estimate.known:
        axes.plot(
            [estimate.value],
            [y],
            color=colour,
            marker=style.shape,
            markersize=size - 1 if style.hollow else size,
            markerfacecolor=INK["paper"] if style.hollow else colour,
            markeredgecolor=colour,
            markeredgewidth=1.2,
            clip_on=False,
            zorder=2.5 if style.hollow else 3,
        )


def _lay_out(forest: Forest, width: float) -> _Layout:
    heads = forest.heads if width >= WIDE else forest.heads[:1]
    rows = [row for _, group in forest.groups for row in group]
    names = [*(label(row.label, 40) for row in rows), *(heading for heading, _ in forest.groups)]
    left = min(text_width(names, FONT_PX - 0.5) + 14, width * (0.42 if width > 500 else 0.36))
    sizes = [
        text_width([head, *(row.columns[at] for row in rows if at < len(row.columns))], FONT_PX - 1) + 12
        for at, head in enumerate(heads)
    ]
    ends = tuple(width - sum(sizes[at + 1 :]) for at in range(len(sizes)))
    top = legend_height(forest.legend, width) + (20 if heads else 6)
    row_tops, heading_tops, down = [], [], top
    for at, (heading, group) in enumerate(forest.groups):
        down += GAP if at else 0
        if heading:
            heading_tops.append((down + HEADING / 2, heading))
            down += HEADING
        row_tops += [down + ROW * (place + 0.5) for place in range(len(group))]
        down += ROW * len(group)
    return _Layout(
        top=top,
        height=max(down - top, ROW),
        left=left,
        width=max(width - left - sum(sizes) - 12, 60.0),
        columns=ends,
        row_tops=tuple(row_tops),
        heading_tops=tuple(heading_tops),
    )


def _dress_axes(axes: Axes, forest: Forest, height: float) -> None:
    axes.set_xlim(*forest.limits)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label(forest.axis), labelpad=5)
    axes.locator_params(axis="x", nbins=6 if axes.get_window_extent().width > 250 else 3)
    if forest.percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%".replace("-", "−"))
    axes.grid(axis="x", color=INK["rule"], linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    if forest.band:
        axes.axvspan(*forest.band, color=INK["band"], linewidth=0, zorder=0.2)
    if forest.line is not None:
        axes.axvline(forest.line, color=INK["muted"], linewidth=1.1, linestyle=(0, (3, 2)), zorder=1)


def _draw_row(axes: Axes, row: ForestRow, y: float) -> None:
    """The main mark on the row's line; marks that have an interval of their own a little below it."""
    shifted = [estimate.bounded for _, estimate in row.marks[1:]]
    main = y - 3 if any(shifted) else y
    for at, (style, estimate) in enumerate(row.marks):
        draw_mark(axes, style, estimate, main if at == 0 else y + 5 if estimate.bounded else y)
