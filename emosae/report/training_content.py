"""What the page on SAEs says: its tables, its warnings, its figures, and the meaning of its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from emosae.features.evaluation import DENSITY_EDGES, RARE, SaeEvaluation
from emosae.report.figures import NARROW, WIDE, to_svg
from emosae.report.figures.curves import (
    Cloud,
    CloudPoint,
    Curve,
    CurvePanel,
    draw_cloud,
    draw_curves,
    name_series,
)
from emosae.report.script_page import Cell, Picture, Row, SortableTable, Swatch
from emosae.report.wording import join_words, say_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

History = Mapping[str, Sequence[Mapping[str, float]]]
"""Records of training by the name of the SAE, in the order of their steps; NaN where a value was not finite."""

CURVES = (
    ("fvu", "fvu of the batch", True),
    ("l0", "l0 of the batch", False),
    ("loss", "Loss", True),
    ("dead_features", "Dead features", False),
    ("tokens_per_second", "Tokens per second", False),
)
"""What is drawn over the steps: key of the record, title, and whether the scale is logarithmic."""

MEANINGS = (
    ("l0", "Features that fire on a token, on average."),
    (
        "fvu",
        "Fraction of variance unexplained: squared error of the reconstruction over squared distance from the mean "
        "residual. 0 is exact, 1 is no better than always answering with the mean; there is no upper end.",
    ),
    (
        "recovered",
        "Share of the loss recovered, (zeros − spliced) / (zeros − as it is): 1 if the model predicts as well from "
        "reconstructions as from its own residuals, 0 if as badly as from zeros. Even a poor SAE is near 1 where zeros "
        "cost much: look at spliced beside as it is.",
    ),
    (
        "nats as it is, spliced, zeros",
        "Next-token loss in nats per token: of the model itself, with residuals at the hook replaced by "
        "reconstructions, and with them replaced by zeros. Residuals of special tokens stay as they are in all three.",
    ),
    ("dead", "Features that fired on no token of the text; with little text merely rare ones are among them."),
    ("rare", "Features that fired, but on under 1 token in 10,000. None can on a text of fewer tokens."),
    ("norm ratio", "Length of a reconstruction over length of its residual, averaged over tokens; 1 is no shrinkage."),
    (
        "slope",
        "Least-squares coefficient of reconstructions on residuals, without an intercept; 1 is no shrinkage. Centred: "
        "both measured from their means, so that a large common offset does not hide it.",
    ),
)


def describe_text(evaluations: Sequence[SaeEvaluation]) -> str:
    """What was measured on what, in a sentence."""
    if not evaluations:
        return "No SAE was evaluated."
    tokens = sorted({evaluation.n_tokens for evaluation in evaluations})
    n_texts = max(evaluation.n_documents for evaluation in evaluations)
    size = f"{tokens[0]:,}" if len(tokens) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
    return f"{say_count(len(evaluations), 'SAE')} on {say_count(n_texts, 'text')} of {size} tokens in all."


def list_warnings(evaluations: Sequence[SaeEvaluation]) -> list[str]:
    """What would mislead a reader who looks at the numbers alone."""
    found = []
    if seen := [evaluation.sae for evaluation in evaluations if not evaluation.held_out]:
        found.append(f"Trained on the text that is measured here, which flatters them: {join_words(seen)}.")
    if short := [evaluation.sae for evaluation in evaluations if evaluation.n_tokens < 1 / RARE]:
        found.append(f"The text is too short for a feature that fires to count as rare: {join_words(short)}.")
    if len({(evaluation.n_tokens, evaluation.loss_clean) for evaluation in evaluations}) > 1:
        found.append("The SAEs were not all measured on the same text and model: compare them with care.")
    if free := [one.sae for one in evaluations if one.loss_zero <= one.loss_clean]:
        found.append(f"Zeros at the hook cost the model nothing, so no loss can be recovered: {join_words(free)}.")
    return found


def tabulate(evaluations: Sequence[SaeEvaluation], history: History, series: Mapping[str, int]) -> SortableTable:
    """A row per SAE with everything that is one number."""
    heads = ("features", "l0", "fvu", "recovered", "nats as it is", "spliced", "zeros", "dead", "rare")
    heads += ("norm ratio", "slope", "slope, centred", "tokens", "steps")
    rows = []
    for one in evaluations:
        last = history[one.sae][-1]["step"] if history.get(one.sae) else math.nan
        cells = (
            *(_count(one.d_sae), _number(one.l0), _number(one.fvu), _number(one.recovered)),
            *(_number(one.loss_clean), _number(one.loss_splice), _number(one.loss_zero)),
            *(_count(one.n_dead), _count(one.n_rare)),
            *(_number(one.norm_ratio), _number(one.slope), _number(one.slope_centred)),
            *(_count(one.n_tokens), _count(last)),
        )
        rows.append(Row(one.sae, (one.hook_name,), cells, Swatch(series[one.sae], one.sae)))
    return SortableTable("SAE", ("hook",), heads, tuple(rows))


def tabulate_emotions(evaluations: Sequence[SaeEvaluation]) -> SortableTable:
    """A row per emotion with the fvu of each SAE on its stories."""
    emotions = sorted({emotion for one in evaluations for emotion in one.fvu_by_emotion})
    rows = (
        Row(emotion, (), tuple(_number(one.fvu_by_emotion.get(emotion, math.nan)) for one in evaluations))
        for emotion in emotions
    )
    return SortableTable("emotion", (), tuple(one.sae for one in evaluations), tuple(rows))


def _number(value: float) -> Cell:
    """To three places; a dash where there is none."""
    return Cell(f"{value:,.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "–", value)


def _count(value: float | int) -> Cell:
    return Cell(f"{value:,.0f}" if math.isfinite(value) else "–", float(value))


def draw_pictures(
    evaluations: Sequence[SaeEvaluation], history: History, series: Mapping[str, int]
) -> tuple[Picture, ...]:
    """Figures for which there is something to show, in the page's order."""
    curves = make_curves(history, series)
    drawn = [
        (
            "fvu against l0",
            "Lower left is better: less is left unexplained, by fewer features. Numbers are those of the key; "
            "hollow marks are SAEs that were trained on this text.",
            partial(draw_cloud, make_cloud(evaluations, series)) if evaluations else None,
        ),
        (
            "Training",
            "Each value is of one batch, at its step. Losses are the trainers' own and contain their penalties: they "
            "compare steps, not architectures.",
            partial(draw_curves, curves) if curves else None,
        ),
        (
            "How often features fire",
            "Share of an SAE's features (up) by log10 of the share of tokens on which they fire (across), in quarters "
            "of a power of ten. Dead features are not shown. Left of the dashed line features are rare.",
            partial(draw_curves, (make_densities(evaluations, series),)) if evaluations else None,
        ),
    ]
    return tuple(_draw(title, caption, draw, len(series)) for title, caption, draw in drawn if draw is not None)


def _draw(title: str, caption: str, draw: Callable[[float], Figure], n_series: int) -> Picture:
    wide, narrow = (
        name_series(to_svg(draw(width), f"{title}-{kind}"), n_series)
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return Picture(title, caption, wide, narrow)


def make_cloud(evaluations: Sequence[SaeEvaluation], series: Mapping[str, int]) -> Cloud:
    """l0 across, fvu up, a shape for each hook."""
    points = (CloudPoint(series[one.sae], one.l0, one.fvu, one.hook_name, not one.held_out) for one in evaluations)
    return Cloud(tuple(points), "l0", "fvu")


def make_curves(history: History, series: Mapping[str, int]) -> tuple[CurvePanel, ...]:
    """A panel for each quantity that was recorded at all."""
    panels = []
    for key, title, is_log in CURVES:
        curves = tuple(
            Curve(series[name], tuple(record["step"] for record in records), tuple(record[key] for record in records))
            for name, records in history.items()
            if any(math.isfinite(record[key]) for record in records)
        )
        if curves:
            panels.append(CurvePanel(title, curves, "step", is_log))
    return tuple(panels)


def make_densities(evaluations: Sequence[SaeEvaluation], series: Mapping[str, int]) -> CurvePanel:
    """The density histograms, as shares so that SAEs of any width compare."""
    curves = (
        Curve(series[one.sae], DENSITY_EDGES, tuple(count / one.d_sae for count in one.density)) for one in evaluations
    )
    return CurvePanel("Share of features", tuple(curves), "log10 of firing rate", mark=math.log10(RARE))
