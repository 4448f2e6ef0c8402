"""Pages with tables that a click sorts: their records, and one self-contained file with its own script and no other."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from emosae import __version__
from emosae.report.figures.curves import series_colour, series_dash
from emosae.report.wording import clean_text


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows, the number it is sorted by (NaN comes last), its tone (`good`, `bad` or none), its title."""

    text: str
    value: float
    tone: str = ""
    title: str = ""

    @property
    def sort(self) -> str:
        """For the page's script; empty if there is no number."""
        return repr(self.value) if math.isfinite(self.value) else ""


@dataclass(frozen=True, slots=True)
class Swatch:
    """How a series looks, and its name."""

    series: int
    name: str

    @property
    def colour(self) -> str:
        """With the CSS variable by which the page finds the series."""
        return f"var(--series-{self.series}, {series_colour(self.series)})"

    @property
    def dash(self) -> str:
        """SVG's dash pattern."""
        return series_dash(self.series)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: its name (with the look of its series, if it has one), texts, and numbers."""

    name: str
    texts: tuple[str, ...]
    cells: tuple[Cell, ...]
    swatch: Swatch | None = None


@dataclass(frozen=True, slots=True)
class SortableTable:
    """A table that a click on a heading sorts: headings of the names, of texts, and of numbers."""

    head: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as SVG for a desk and a phone, with its words."""

    title: str
    caption: str
    wide: str
    narrow: str


def render_page(template: str, **values: Any) -> str:
    """A page from a template of this package: every text escaped and cleaned, nothing to fetch, one script allowed.

    Figures among the values are SVG of our own and come marked as such (see `mark_pictures`).
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) or not isinstance(value, str) else clean_text(value)

    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    script = _read("tables.js")
    return environment.get_template(template).render(
        style=Markup(f"{_read('report.css')}\n{_read('tables.css')}"),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        **values,
    )


def mark_pictures(pictures: tuple[Picture, ...]) -> list[tuple[Picture, Any, Any]]:
    """Each picture with its two drawings marked as markup."""
    from markupsafe import Markup

    return [(picture, Markup(picture.wide), Markup(picture.narrow)) for picture in pictures]


def _read(name: str) -> str:
    return (files("emosae.report") / "templates" / name).read_text(encoding="utf-8").strip()
