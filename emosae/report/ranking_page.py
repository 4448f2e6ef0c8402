"""Which features tell which emotions apart, and how sure that is, on one self-contained page."""

from __future__ import annotations

from pathlib import Path

from emosae.report.figures import drawing_style
from emosae.report.ranking_content import (
    MEANINGS,
    describe_ranking,
    list_warnings,
    say_findings,
    say_masked,
    tabulate_layers,
    tabulate_verdicts,
)
from emosae.report.ranking_controls import tabulate_baselines, tabulate_confounds
from emosae.report.ranking_data import RankingData
from emosae.report.ranking_pictures import draw_pictures
from emosae.report.script_page import mark_pictures, render_page
from emosae.store import Stage

__all__ = ["RankingData", "write_ranking_page"]


def write_ranking_page(stage: Stage, data: RankingData) -> Path:
    """Write `index.html` and return its path: findings, a line per emotion, figures, and what the numbers mean."""
    with drawing_style():
        pictures = draw_pictures(data)
    text = render_page(
        "ranking.html.j2",
        badge="synthetic model" if data.synthetic else "",
        deck=describe_ranking(data),
        findings=say_findings(data),
        warnings=list_warnings(data),
        verdicts=tabulate_verdicts(data),
        baselines=tabulate_baselines(data),
        confounds=tabulate_confounds(data),
        masked=say_masked(data),
        layers=tabulate_layers(data),
        hooks=data.hooks,
        pictures=mark_pictures(pictures),
        meanings=MEANINGS,
    )
    return stage.write_text("index.html", text)
