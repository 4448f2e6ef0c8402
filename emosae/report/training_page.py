"""How SAEs were trained and how good they are, one or a whole sweep of them, on one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emosae.errors import UserError
from emosae.features.evaluation import SaeEvaluation
from emosae.report.figures import drawing_style
from emosae.report.script_page import Swatch, mark_pictures, render_page
from emosae.report.training_content import (
    CURVES,
    MEANINGS,
    History,
    describe_text,
    draw_pictures,
    list_warnings,
    tabulate,
    tabulate_emotions,
)
from emosae.store import Stage


def write_training_page(
    stage: Stage, evaluations: Sequence[SaeEvaluation], metrics: Iterable[Mapping[str, Any]]
) -> Path:
    """Write `index.html` and return its path: tables, curves, and what the numbers mean, with nothing to fetch.

    Args:
        stage: Where the page goes.
        evaluations: SAEs to show, of one run or of many; refused if two have the same name.
        metrics: Records of `metrics.jsonl` in the order in which they were written (series, step, loss, fvu, l0,
            dead_features, tokens_per_second; see `read_history`). An SAE without any has no curve.
    """
    names = [evaluation.sae for evaluation in evaluations]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"SAEs of the same name cannot be told apart on a page: {', '.join(twice)}")
    history = read_history(metrics)
    series = {name: at for at, name in enumerate([*names, *(name for name in history if name not in names)])}
    return stage.write_text("index.html", _render(evaluations, history, series))


def read_history(metrics: Iterable[Mapping[str, Any]]) -> History:
    """Training records by series, in the order of their steps.

    A step that occurs again was done again after a resume or a restart: the last record counts, and what had been
    written for later steps is dropped.
    """
    found: dict[str, dict[int, dict[str, float]]] = {}
    for record in metrics:
        steps, step = found.setdefault(str(record.get("series", "")), {}), int(record["step"])
        if step in steps:
            for later in [one for one in steps if one >= step]:
                del steps[later]
        values = {key: _number(record.get(key)) for key, _, _ in CURVES}
        steps[step] = values | {"step": float(step)}
    return {name: [steps[step] for step in sorted(steps)] for name, steps in found.items()}


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _render(evaluations: Sequence[SaeEvaluation], history: History, series: Mapping[str, int]) -> str:
    with drawing_style():
        pictures = draw_pictures(evaluations, history, series)
    return render_page(
        "training.html.j2",
        deck=describe_text(evaluations),
        warnings=list_warnings(evaluations),
        swatches=[Swatch(at, name) for name, at in series.items()],
        saes=tabulate(evaluations, history, series),
        emotions=tabulate_emotions(evaluations),
        pictures=mark_pictures(pictures),
        meanings=MEANINGS,
        untrained=[evaluation.sae for evaluation in evaluations if evaluation.sae not in history],
    )
