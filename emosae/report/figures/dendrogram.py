"""A tree of merges, lying on its side: leaves under one another, distance to the right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emosae.report.figures.canvas import FONT_PX, INK, add_axes, label, open_figure, text_width, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, TOP, AXIS, RIGHT = 19.0, 6.0, 44.0, 16.0


@dataclass(frozen=True, slots=True)
class Merge:
    """Two groups that become one at a height; groups are leaves or earlier merges, counted on from the leaves."""

    left: int
    right: int
    height: float
    support: float


@dataclass(frozen=True, slots=True)
class Dendrogram:
    """Leaves, their merges (the lowest first), what the height is, and the support from which it is written."""

    leaves: tuple[str, ...]
    merges: tuple[Merge, ...]
    axis: str
    shown_support: float


def draw_dendrogram(tree: Dendrogram, width: float) -> Figure:
    """Leaves at the left in the order of the tree; a merge's support, in percent, stands at its line.

    The last merge holds all the leaves, whatever the support, so it is drawn plain.
    """
    order = order_leaves(tree)
    names = [label(tree.leaves[leaf], 28) for leaf in order]
    left = text_width(names, FONT_PX - 0.5) + 16
    high = ROW * max(len(names), 1)
    figure = open_figure(width, TOP + high + AXIS)
    axes = add_axes(figure, left, TOP, width - left - RIGHT, high)
    for place, name in enumerate(names):
        write(figure, left - 8, TOP + ROW * (place + 0.5), name, size=FONT_PX - 0.5, ha="right")
    axes.set_xlim(0, 1.06 * max((merge.height for merge in tree.merges), default=1.0))
    axes.set_ylim(len(names), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label(tree.axis), labelpad=4)
    _draw_merges(axes, tree, order)
    return figure


def order_leaves(tree: Dendrogram) -> list[int]:
    """Leaves from top to bottom, so that no two lines cross."""
    below: list[list[int]] = [[leaf] for leaf in range(len(tree.leaves))]
    for merge in tree.merges:
        below.append(below[merge.left] + below[merge.right])
    return below[-1] if tree.merges else list(range(len(tree.leaves)))


def _draw_merges(axes: Axes, tree: Dendrogram, order: list[int]) -> None:
    ends = [(0.0, order.index(leaf) + 0.5) for leaf in range(len(tree.leaves))]
    for number, merge in enumerate(tree.merges, start=1):
        (x_left, y_left), (x_right, y_right) = ends[merge.left], ends[merge.right]
        holds_all = number == len(tree.merges)
        is_firm = not holds_all and math.isfinite(merge.support) and merge.support >= tree.shown_support
        colour = INK["accent" if is_firm else "other"]
        x = [x_left, merge.height, merge.height, x_right]
        axes.plot(x, [y_left, y_left, y_right, y_right], color=colour, linewidth=1.8 if is_firm else 1.0)
        middle = (y_left + y_right) / 2
        if is_firm:
            text = f"{100 * merge.support:.0f}"
            axes.annotate(
                text, (merge.height, middle), (3, 2), textcoords="offset points", size=FONT_PX - 2.5, va="bottom"
            )
        ends.append((merge.height, middle))
