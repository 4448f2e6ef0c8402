"""The figures of the page on a ranking, as records and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from emosae.report.figures import NARROW, WIDE, Heat, MarkStyle, draw_heatmap, to_svg
from emosae.report.figures.plots import (
    Histogram,
    LayerLine,
    LayerPanel,
    Layers,
    Scatter,
    draw_histograms,
    draw_layers,
    draw_scatter,
)
from emosae.report.figures.strips import Strip, Strips, draw_strips
from emosae.report.ranking_data import RankingData, name_baseline, name_hooks, style_baseline
from emosae.report.records import Row, read_estimate, read_number, read_rows
from emosae.report.script_page import Picture
from emosae.report.sections.overlap import cluster_order
from emosae.report.wording import join_words, say_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST, NEXT = MarkStyle("o", "accent"), MarkStyle("o", "accent", hollow=True)
ON_TUNE, ON_CONFIRM = MarkStyle("o", "other", hollow=True), MarkStyle("o", "accent")
STRIP_FEATURES = 4
SCATTERED = 500
BINS = 20
METHODS = (("difference_of_means", "Difference-of-means vector"), ("sae_feature", "Best SAE feature"))


def draw_pictures(data: RankingData) -> tuple[Picture, ...]:
    """Figures for which there is something to show, in the page's order."""
    drawn: list[tuple[str, str, Callable[[float], Figure] | None]] = [
        ("Which feature answers to which emotion", _HEAT, _if_any(draw_heatmap, make_heat(data))),
        ("Features and baselines on unseen topics", _STRIPS, _if_any(draw_strips, make_strips(data))),
        ("What choosing flattered", say_shrinkage(data), _if_any(draw_scatter, make_scatter(data))),
        ("Are the p values right?", say_calibration(data), _if_any(draw_histograms, make_histograms(data))),
        ("At which layer", _LAYERS, _if_any(draw_layers, make_layers(data))),
        ("The vector of every emotion at every layer", _LAYER_HEAT, _if_any(draw_heatmap, make_layer_heat(data))),
    ]
    return tuple(_draw(title, caption, draw) for title, caption, draw in drawn if draw is not None)


_HEAT = (
    "A row is the best feature of an emotion, a column an emotion; the shade is the feature's AUROC for that "
    "emotion on discover and tune topics. Orange is below 0.5: the feature is weaker there. A frame marks the rival "
    "that is hardest to tell apart. Emotions stand in the order of a clustering of these rows."
)
_STRIPS = (
    "AUROC on confirm topics with 95% intervals: the feature that ranked first on discover (filled), the next three "
    "(hollow), and simpler methods on the same stories. The dashed line is chance."
)
_LAYERS = (
    "Strong lines are means over emotions, thin ones are single emotions on confirm. The ring marks the layer that "
    "was chosen on discover and tune. A feature is there only where an SAE reads."
)
_LAYER_HEAT = (
    "AUROC on confirm topics of each emotion's difference-of-means vector; a frame marks the layer that was chosen "
    "for the emotion on discover and tune."
)


def _if_any(draw: Callable[..., Figure], record: object) -> Callable[[float], Figure] | None:
    return partial(draw, record) if record else None


def _draw(title: str, caption: str, draw: Callable[[float], Figure]) -> Picture:
    wide, narrow = (to_svg(draw(width), f"{title}-{kind}") for kind, width in (("wide", WIDE), ("narrow", NARROW)))
    return Picture(title, caption, wide, narrow)


def make_heat(data: RankingData) -> Heat | None:
    """Best features by emotions, both in one order; nothing if there is no feature."""
    rows = [row for row in data.emotions if row["sae"] is not None]
    if not rows:
        return None
    names = [row["emotion"] for row in data.emotions]
    profiles = {(row["sae"], row["feature_idx"]): row for row in read_rows(data.ranking.profiles)}
    table = np.array([[read_number(profiles[r["sae"], r["feature_idx"]], name) for name in names] for r in rows])
    order = _order(table, [names.index(row["emotion"]) for row in rows])
    rows, table = [rows[at] for at in order], table[order]
    own = [row["emotion"] for row in rows]
    columns = [*own, *(name for name in names if name not in own)]
    table = table[:, [names.index(name) for name in columns]]
    return Heat(
        rows=tuple(f"{row['emotion']} #{row['feature_idx']}" for row in rows),
        columns=tuple(columns),
        shades=2 * table - 1,
        texts=_write_cells(table),
        outlined=frozenset((at, columns.index(row["rival"])) for at, row in enumerate(rows) if row["rival"] in columns),
        low="0.5 chance",
        high="1 always higher",
        outline="hardest rival",
    )


def _order(table: Float[np.ndarray, "row emotion"], own: Sequence[int]) -> list[int]:
    """Rows with similar features side by side."""
    square = np.nan_to_num(table[:, own] - 0.5)
    length = np.linalg.norm(square, axis=1, keepdims=True)
    similar = square / np.where(length > 0, length, 1.0)
    return cluster_order(similar @ similar.T)


def _write_cells(table: Float[np.ndarray, "row column"]) -> tuple[tuple[str, ...], ...]:
    """Two digits without the leading 0; nothing near chance."""
    return tuple(
        tuple("" if not math.isfinite(v) or abs(v - 0.5) < 0.25 else _short(v) for v in row) for row in table.tolist()
    )


def _short(value: float) -> str:
    return say_number(value).removeprefix("0") if value < 0.995 else "1"


def make_strips(data: RankingData) -> Strips | None:
    """A strip per emotion: its first features, then the baselines at the hook of the first."""
    ranked, strips, present = data.rank_candidates(), [], set()
    for row in data.emotions:
        features = ranked.get(row["emotion"], [])[:STRIP_FEATURES]
        marks = [(NEXT if at else BEST, read_estimate(one, "auroc_confirm")) for at, one in enumerate(features)]
        baselines = data.find_baselines(row["emotion"], features[0]["hook_name"] if features else None)
        present |= set(baselines)
        marks += [(style_baseline(name), estimate) for name, estimate in sorted(baselines.items())]
        strips.append(Strip(row["emotion"], tuple(marks)))
    ends = [end for strip in strips for _, one in strip.marks for end in (one.value, one.lo) if math.isfinite(end)]
    if not ends:
        return None
    legend = [(BEST, "best feature"), (NEXT, "next features")] if ranked else []
    legend += [(style_baseline(name), name_baseline(name)) for name in sorted(present)]
    low = math.floor(20 * min(0.4, *ends)) / 20
    return Strips(tuple(strips), "AUROC on confirm topics", (low, 1.005), 0.5, tuple(legend))


def make_scatter(data: RankingData) -> Scatter | None:
    """Candidates by their AUROC on discover and on confirm; those of the lowest rank if there are too many."""
    rows = sorted(read_rows(data.ranking.candidates), key=lambda row: row["rank"])
    best = {(row["emotion"], row["sae"], row["feature_idx"]) for row in data.emotions}
    points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in rows:
        point = (read_number(row, "auroc"), read_number(row, "auroc_confirm"))
        if all(map(math.isfinite, point)):
            points[(row["emotion"], row["sae"], row["feature_idx"]) in best].append(point)
    if not any(points.values()):
        return None
    others = tuple(points[False][:SCATTERED])
    lows = [min(0.48, *values) - 0.02 for values in zip(*others, *points[True], strict=True)]
    kinds = (
        (MarkStyle("o", "other", hollow=True), "other candidates", others),
        (BEST, "best feature of an emotion", tuple(points[True])),
    )
    return Scatter(kinds, "AUROC on discover", "AUROC on confirm", (lows[0], 1.01), (lows[1], 1.01), 0.5)


def say_shrinkage(data: RankingData) -> str:
    """How far the best features fall from where they were chosen to where they are judged."""
    pairs = [(read_number(row, "auroc"), read_number(row, "auroc_confirm")) for row in data.emotions]
    known = np.array([pair for pair in pairs if all(map(math.isfinite, pair))]).reshape(-1, 2)
    opening = (
        "A point on the dashed line does as well on unseen topics as where it was chosen; below it, choosing flattered."
    )
    if not len(known):
        return opening
    before, after = (say_number(float(value), 3) for value in known.mean(axis=0))
    return f"{opening} The best features average {before} on discover and {after} on confirm."


def make_histograms(data: RankingData) -> tuple[Histogram, ...]:
    """All tests on discover with what exchanged labels give, and the candidates on confirm."""
    edges = tuple(round(at / BINS, 2) for at in range(BINS + 1))
    found = []
    rows = [row for row in read_rows(data.ranking.calibration) if row["nominal"] in edges]
    if rows and sum(row["n_tests"] for row in rows):
        bars, steps = (_spread_over(rows, column, edges[1:]) for column in ("found", "observed"))
        found.append(Histogram("Tests on discover", edges, bars, steps, 1 / BINS, "p"))
    p = [read_number(row, "p_confirm") for row in read_rows(data.ranking.candidates)]
    if known := [value for value in p if math.isfinite(value)]:
        shares = np.histogram(known, bins=np.array(edges))[0] / len(known)
        nothing = (math.nan,) * BINS
        found.append(Histogram("Candidates on confirm", edges, tuple(shares.tolist()), nothing, 1 / BINS, "p"))
    return tuple(found)


def _spread_over(rows: Sequence[Row], column: str, levels: Sequence[float]) -> tuple[float, ...]:
    """Share of tests between each level and the one before, all SAEs together."""
    tests = sum(row["n_tests"] for row in rows if row["nominal"] == levels[0])
    below = [
        sum(read_number(row, column) * row["n_tests"] for row in rows if row["nominal"] == level and row["n_tests"])
        for level in levels
    ]
    return tuple((np.diff(below, prepend=0.0) / tests).tolist())


def say_calibration(data: RankingData) -> str:
    """What the histograms show, with the small levels that decide."""
    rows = [row for row in read_rows(data.ranking.calibration) if row["nominal"] < 0.06 and row["n_tests"]]
    told = []
    for level in sorted({row["nominal"] for row in rows}, reverse=True):
        at = [row for row in rows if row["nominal"] == level]
        share = sum(row["observed"] * row["n_tests"] for row in at) / sum(row["n_tests"] for row in at)
        told.append(f"{100 * share:.2g}% at {level:g}")
    calibrated = f" Share of tests under exchanged labels that fall below a level: {join_words(told)}." if told else ""
    return (
        "Share of p values in bins of 0.05. The dashed line is what they would be if no feature told any emotion; "
        "the orange line is the same tests with labels exchanged within topics, and should lie on it. Tests are "
        f"one-sided: features that are silent for an emotion gather near 1.{calibrated}"
    )


def make_layers(data: RankingData) -> Layers | None:
    """A panel per method; nothing where only one layer was read."""
    hooks = data.hooks
    if len(hooks) < 2:
        return None
    panels = [panel for method, title in METHODS if (panel := _make_panel(data, method, title, hooks)) is not None]
    legend = ((ON_CONFIRM, "mean on confirm"), (ON_TUNE, "mean on tune"), (MarkStyle("o", "up", hollow=True), "chosen"))
    names = name_hooks(hooks)
    return Layers(tuple(names[hook] for hook in hooks), tuple(panels), "layer", "AUROC", 0.5, legend)


def _make_panel(data: RankingData, method: str, title: str, hooks: Sequence[str]) -> LayerPanel | None:
    rows = [row for row in read_rows(data.layers) if row["method"] == method]
    if not rows:
        return None
    means = [row for row in rows if row["emotion"] is None]
    chosen = next((hooks.index(row["hook_name"]) for row in means if row["chosen"]), None)
    emotions = sorted({row["emotion"] for row in rows} - {None})
    faint = [_over_hooks([row for row in rows if row["emotion"] == one], "auroc_confirm", hooks) for one in emotions]
    strong = (
        LayerLine(_over_hooks(means, "auroc_tune", hooks), ON_TUNE),
        LayerLine(_over_hooks(means, "auroc_confirm", hooks), ON_CONFIRM, chosen),
    )
    return LayerPanel(title, tuple(faint), strong)


def _over_hooks(rows: Sequence[Row], column: str, hooks: Sequence[str]) -> tuple[float, ...]:
    values = {row["hook_name"]: read_number(row, column) for row in rows}
    return tuple(values.get(hook, math.nan) for hook in hooks)


def make_layer_heat(data: RankingData) -> Heat | None:
    """Emotions by layers; nothing where only one layer was read."""
    hooks, names = data.hooks, name_hooks(data.hooks)
    rows = [row for row in read_rows(data.layers) if row["method"] == "difference_of_means" and row["emotion"]]
    emotions = sorted({row["emotion"] for row in rows})
    if len(hooks) < 2 or not emotions:
        return None
    own = [[row for row in rows if row["emotion"] == emotion] for emotion in emotions]
    table = np.array([_over_hooks(one, "auroc_confirm", hooks) for one in own])
    chosen = {(emotions.index(row["emotion"]), hooks.index(row["hook_name"])) for row in rows if row["chosen"]}
    return Heat(
        rows=tuple(emotions),
        columns=tuple(f"layer {names[hook]}" if names[hook].isdigit() else names[hook] for hook in hooks),
        shades=2 * table - 1,
        texts=tuple(tuple(say_number(v) if math.isfinite(v) else "" for v in row) for row in table.tolist()),
        outlined=frozenset(chosen),
        low="0.5 chance",
        high="1 always higher",
        outline="chosen on discover and tune",
    )
