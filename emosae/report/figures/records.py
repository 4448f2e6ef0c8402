"""What the figures show, as plain records: the golden data behind each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval; NaN where it was not measured, NaN ends where it has no interval."""

    value: float
    lo: float = math.nan
    hi: float = math.nan

    @property
    def known(self) -> bool:
        """Whether the number was measured."""
        return math.isfinite(self.value)

    @property
    def bounded(self) -> bool:
        """Whether it has an interval."""
        return math.isfinite(self.lo) and math.isfinite(self.hi)


@dataclass(frozen=True, slots=True)
class MarkStyle:
    """How a kind of mark looks: matplotlib's marker, the role of its colour, filled or hollow."""

    shape: str = "o"
    role: str = "other"
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a forest plot: its marks (the first is the main one), and short texts in the columns beside."""

    label: str
    marks: tuple[tuple[MarkStyle, Estimate], ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forest:
    """Estimates under one another, in groups with a heading (may be empty).

    Attributes:
        groups: Heading and rows of each group.
        axis: What the numbers are.
        limits: Ends of the axis.
        heads: Headings of the columns beside; a phone shows the first one only.
        line: Where a reference line stands.
        band: A shaded range, such as the reference's interval.
        legend: Kinds of mark and their meaning; empty if the labels say it.
        percent: Whether ticks are percentages.
    """

    groups: tuple[tuple[str, tuple[ForestRow, ...]], ...]
    axis: str
    limits: tuple[float, float]
    heads: tuple[str, ...] = ()
    line: float | None = None
    band: tuple[float, float] | None = None
    legend: tuple[tuple[MarkStyle, str], ...] = ()
    percent: bool = False


@dataclass(frozen=True, slots=True)
class GridColumn:
    """One heading of a grid, and for every row of it its marks."""

    title: str
    marks: tuple[tuple[tuple[MarkStyle, Estimate], ...], ...]


@dataclass(frozen=True, slots=True)
class ForestGrid:
    """The same rows under several headings, all on one scale with a line at 0."""

    labels: tuple[str, ...]
    columns: tuple[GridColumn, ...]
    axis: str
    limits: tuple[float, float]
    legend: tuple[tuple[MarkStyle, str], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Heat:
    """A table of numbers as shades: full colour at 1, the other colour below 0, a dot where nothing was measured.

    Attributes:
        rows: Label of each row.
        columns: Label of each column.
        shades: Values in [-1, 1] by which cells are coloured.
        texts: What is written in the cells where there is room; empty for nothing.
        outlined: Cells that get a frame.
        low: What a shade of 0 means.
        high: What a full shade means.
        outline: What a frame means; empty if there is none.
        steps: Shades shown in the legend.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shades: Float[np.ndarray, "row column"]
    texts: tuple[tuple[str, ...], ...] = ()
    outlined: frozenset[tuple[int, int]] = frozenset()
    low: str = "0"
    high: str = "1"
    outline: str = ""
    steps: int = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One series: x and the estimates at it."""

    name: str
    x: tuple[float, ...]
    points: tuple[Estimate, ...]
    style: MarkStyle = MarkStyle()


@dataclass(frozen=True, slots=True)
class Panel:
    """One small plot with its title, its lines, and counts written under its axis."""

    title: str
    lines: tuple[Line, ...]
    counts: Mapping[float, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Panels:
    """Small plots of the same kind side by side.

    Attributes:
        panels: The plots.
        x_axis: What x is.
        y_axis: What y is.
        log_x: Whether x is on a logarithmic scale.
        count_name: What the counts under the axis count.
        legend: Kinds of mark and their meaning.
    """

    panels: tuple[Panel, ...]
    x_axis: str
    y_axis: str
    log_x: bool = False
    count_name: str = ""
    legend: tuple[tuple[MarkStyle, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of the rows of a comparison: its name, its values (NaN if unknown), and how they are written."""

    name: str
    values: tuple[float, ...]
    texts: tuple[str, ...]
    limit: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several quantities of the same few things, each on its own scale that begins at 0."""

    labels: tuple[str, ...]
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A category of a whole: name, role of its colour, and how strong the colour is."""

    name: str
    role: str
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Stacks:
    """Wholes cut into parts: for each row, the share of every category."""

    labels: tuple[str, ...]
    parts: tuple[Part, ...]
    shares: tuple[tuple[float, ...], ...]
    axis: str
