"""How SAEs were trained and how good they are, one or a whole sweep of them, on one self-contained page."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from emosae import __version__
from emosae.errors import UserError
from emosae.features.evaluation import SaeEvaluation
from emosae.report.figures import drawing_style
from emosae.report.training_content import (
    CURVES,
    MEANINGS,
    History,
    Swatch,
    describe_text,
    draw_pictures,
    list_warnings,
    tabulate,
    tabulate_emotions,
)
from emosae.report.wording import clean_text
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
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) or not isinstance(value, str) else clean_text(value)

    folder = files("emosae.report") / "templates"
    names = ("report.css", "training.css", "training.js", "training.html.j2")
    style, own_style, script, page = ((folder / name).read_text(encoding="utf-8").strip() for name in names)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=finalize
    )
    with drawing_style():
        pictures = draw_pictures(evaluations, history, series)
    return environment.from_string(page).render(
        style=Markup(f"{style}\n{own_style}"),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        deck=describe_text(evaluations),
        warnings=list_warnings(evaluations),
        swatches=[Swatch(at, name) for name, at in series.items()],
        saes=tabulate(evaluations, history, series),
        emotions=tabulate_emotions(evaluations),
        pictures=[(picture, Markup(picture.wide), Markup(picture.narrow)) for picture in pictures],
        meanings=MEANINGS,
        untrained=[evaluation.sae for evaluation in evaluations if evaluation.sae not in history],
    )
