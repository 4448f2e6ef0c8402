"""A page as one self-contained HTML file and as Markdown, from the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from emosae import __version__
from emosae.report.citing import drop_citations, link_citations
from emosae.report.content import Page, Plate
from emosae.report.figures import NARROW, WIDE, drawing_style, to_svg
from emosae.report.wording import clean_text


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as SVG, for a desk and for a phone."""

    wide: str
    narrow: str


def draw_plates(page: Page) -> dict[str, Drawing]:
    """Every figure of the page, by its name."""
    with drawing_style():
        return {plate.name: _draw(plate) for section in page.sections for plate in section.plates}


def _draw(plate: Plate) -> Drawing:
    wide, narrow = (
        to_svg(plate.draw(width), f"{plate.name}-{kind}") for kind, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return Drawing(wide, narrow)


def render_html(page: Page, drawings: dict[str, Drawing]) -> str:
    """One file that needs no other: no script, no network, everything that a model wrote escaped."""
    from markupsafe import Markup

    templates = files("emosae.report") / "templates"
    environment = open_templates(autoescape=True)
    environment.filters["cited"] = lambda text: Markup(link_citations(text))
    marked = {name: Drawing(Markup(drawing.wide), Markup(drawing.narrow)) for name, drawing in drawings.items()}
    return environment.from_string((templates / "report.html.j2").read_text(encoding="utf-8")).render(
        page=page,
        drawings=marked,
        style=Markup((templates / "report.css").read_text(encoding="utf-8").strip()),
        version=__version__,
    )


def render_markdown(page: Page) -> str:
    """The same page as CommonMark with tables for figures; text of the model cannot become markup."""
    environment = open_templates(autoescape=False)
    environment.filters |= {"flat": escape_markdown, "cell": escape_cell, "fence": fence_text}
    template = (files("emosae.report") / "templates" / "report.md.j2").read_text(encoding="utf-8")
    text = environment.from_string(template).render(page=page, version=__version__)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def open_templates(*, autoescape: bool) -> Any:
    """Templates in which all text is cleaned, and escaped if wanted; a name that is not given is an error."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: Any) -> Any:
    """Text without characters that a browser or a terminal would obey; markup of our own passes."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) or not isinstance(value, str) else clean_text(drop_citations(value))


def escape_markdown(text: str) -> str:
    """Text as one line of Markdown that shows as it is."""
    line = " ".join(clean_text(drop_citations(text)).split())
    return re.sub(r"([\\`*_{}\[\]<>|#~$&!])", r"\\\1", line)


def escape_cell(text: str) -> str:
    """Text for a cell of a table."""
    return escape_markdown(text) or " "


def fence_text(text: str) -> str:
    """A code block that its content cannot close."""
    text = clean_text(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
