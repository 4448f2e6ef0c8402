"""The report: every finding of a run as one self-contained HTML page and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emosae.report.content import Page
from emosae.report.page import draw_plates, render_html, render_markdown
from emosae.report.records import PlantedTruth, ReportData
from emosae.report.row_pages import write_row_pages
from emosae.report.sections import SECTIONS
from emosae.store import Stage

CAUTIONS = (
    "Functional emotion features are patterns in a network's activity that go with emotional text. They are not "
    "evidence of feelings or experience.",
    "The model is not the character it writes. “Cheating” here names what a program does when it runs, not an intent.",
)
SYNTHETIC = (
    "The model is synthetic: a small transformer trained on generated text in which these emotions, and their effect "
    "on its programs, were planted. It serves to check the instrument; its numbers say nothing about other models."
)

__all__ = ["PlantedTruth", "ReportData", "build_page", "write_report"]


def write_report(data: ReportData, stage: Stage) -> Path:
    """Write `index.html` with the pages of rows that it links to, and `report.md`; return the page's path."""
    page = build_page(data)
    stage.write_text("report.md", render_markdown(page))
    html = render_html(page, draw_plates(page))
    write_row_pages(html, data, stage)
    return stage.write_text("index.html", html)


def build_page(data: ReportData) -> Page:
    """Say what the run found; a part that did not run gives a sentence."""
    is_synthetic = data.truth is not None
    sections = tuple(section for write in SECTIONS if (section := write(data)) is not None)
    return Page(
        title=f"Emotion features in {_name_model(data.manifest, is_synthetic=is_synthetic)}",
        deck=(
            "Which SAE features stand for which emotions, how they relate, and which of them change what the model "
            "does, with the evidence for each answer."
        ),
        badge="synthetic model" if is_synthetic else "",
        cautions=(SYNTHETIC, *CAUTIONS) if is_synthetic else CAUTIONS,
        notes=data.notes,
        sections=sections,
    )


def _name_model(manifest: Mapping[str, Any], *, is_synthetic: bool) -> str:
    """The model's own name, without the folder or account that it lies in."""
    model = manifest.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    if name:
        return str(name).rstrip("/").rsplit("/", 1)[-1]
    return "the embedded organism" if is_synthetic else "a language model"
