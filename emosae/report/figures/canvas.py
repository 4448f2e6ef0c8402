"""The look of the report's figures: a few named colours, one canvas, and SVG that takes its colours from the page.

A figure is drawn in the light colours. In its SVG every one of them becomes a CSS variable with that colour as the
fallback, so the same figure follows the page's light or dark theme, and still looks right on its own.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emosae.files import content_hash

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 760.0, 350.0
"""Widths of a figure in CSS pixels: beside the table of contents, and on a phone."""

INK = {
    "paper": "#fffefc",
    "ink": "#1d2127",
    "muted": "#646b76",
    "rule": "#d9d8d3",
    "band": "#efede8",
    "accent": "#22577a",
    "up": "#c2501a",
    "down": "#2b78b8",
    "other": "#7b7f88",
}
"""Colours by role, no two equal. `up` and `down` (orange, blue) tell apart under every common colour blindness;
wherever they carry a meaning, a label or a marker's shape says it too."""

FONT_PX = 12.0
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": FONT_PX,
    "text.color": INK["ink"],
    "axes.labelcolor": INK["muted"],
    "axes.edgecolor": INK["rule"],
    "axes.labelsize": FONT_PX - 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK["rule"],
    "ytick.color": INK["rule"],
    "xtick.labelcolor": INK["muted"],
    "ytick.labelcolor": INK["muted"],
    "xtick.labelsize": FONT_PX - 1,
    "ytick.labelsize": FONT_PX - 1,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.solid_capstyle": "round",
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib set up for the report, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def open_figure(width: float, height: float) -> Figure:
    """An empty figure of that many CSS pixels (one unit of the SVG is one of them)."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def size_of(figure: Figure) -> tuple[float, float]:
    """Width and height in pixels."""
    width, height = figure.get_size_inches() * 72
    return float(width), float(height)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the figure's left and top."""
    wide, high = size_of(figure)
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def write(figure: Figure, left: float, top: float, text: str, role: str = "ink", **kwargs: Any) -> None:
    """One line of text whose middle is `top` pixels down; `left` is its start, end or centre as `ha` says."""
    wide, high = size_of(figure)
    figure.text(left / wide, 1 - top / high, label(text), color=INK[role], va="center_baseline", **kwargs)


def text_width(lines: Sequence[str], size: float = FONT_PX) -> float:
    """Pixels that the longest of some lines takes, a little more in most fonts."""
    return max((len(label(line)) for line in lines), default=0) * size * 0.54


def label(text: object, limit: int = 60) -> str:
    """Anything as one short line that can stand in a figure: no control or direction characters."""
    visible = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element that can stand in a page beside others.

    Equal figures give equal text: ids are salted with `name`, and there is no date in it.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    prefix = f"f{content_hash(name)[:8]}"
    return re.sub(r"\s*(<[^>]+>)", lambda tag: _for_page(tag[1], prefix), svg).strip()


def _for_page(tag: str, prefix: str) -> str:
    """A tag without what only a file of its own needs; colours and fonts are left to the page."""
    tag = " ".join(tag.split())
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    tag = re.sub(r' id="([^"]*)"', rf' id="{prefix}-\1"', tag)
    tag = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r"font-family: [^;\"]*", "font-family: var(--figure-font, sans-serif)", tag)
    if tag.startswith("<svg"):
        tag = re.sub(r'((?:width|height)="[\d.]+)pt"', r'\1"', tag)
    for role, colour in INK.items():
        tag = tag.replace(colour, f"var(--{role}, {colour})")
    return tag
