"""The page on SAEs: its numbers are those of the records, names stay text, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_tags import Tags

from emosae.errors import UserError
from emosae.features.evaluation import DENSITY_EDGES, SaeEvaluation
from emosae.report.figures import NARROW, WIDE, drawing_style, to_svg
from emosae.report.figures.canvas import INK
from emosae.report.figures.curves import (
    PALETTE,
    Cloud,
    CloudPoint,
    Curve,
    CurvePanel,
    draw_cloud,
    draw_curves,
    name_series,
    series_colour,
    series_dash,
)
from emosae.report.training_content import (
    list_warnings,
    make_cloud,
    make_curves,
    make_densities,
    tabulate,
    tabulate_emotions,
)
from emosae.report.training_page import read_history, write_training_page
from emosae.store import Stage

HOSTILE = '</script><img src=x onerror="alert(2)">{{ 7*7 }}\u202e evil \x00 "\' #2f7fc6 $\\frac{1}{0}$'
DARK_PAPER = "#14171b"
GOOD = SaeEvaluation(
    sae="good",
    hook_name="blocks.3.hook_resid_post",
    d_sae=768,
    held_out=True,
    n_documents=120,
    n_tokens=11_740,
    fvu=0.1625,
    l0=22.9316,
    density=(*[0] * 12, *range(20, 120, 10), 0, 113),
    n_dead=5,
    n_rare=7,
    norm_ratio=0.913,
    slope=0.853,
    slope_centred=0.841,
    n_predicted=11_740,
    loss_clean=0.537,
    loss_splice=0.666,
    loss_zero=11.243,
    fvu_by_emotion={"afraid": 0.1454, "calm": 0.2201},
)
POOR = replace(GOOD, sae="poor", fvu=0.4444, loss_splice=5.0, fvu_by_emotion={"afraid": 0.5, "proud": math.nan})


def record(series: str, step: int, **values: float | None) -> dict[str, Any]:
    plain = {"loss": 30.0, "fvu": 0.3, "l0": 20.0, "dead_features": 3.0, "tokens_per_second": 9000.0, "lr": 0.1}
    return {"series": series, "step": step} | plain | values


METRICS = [record("good", step, fvu=1 / step) for step in (50, 100, 150)]


def write(path: Path, evaluations: list[SaeEvaluation], metrics: list[dict[str, Any]]) -> str:
    page = write_training_page(Stage(path), evaluations, metrics)
    assert page == path / "index.html"
    assert [file.name for file in path.iterdir()] == ["index.html"]
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("plain"), [GOOD, POOR], METRICS)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    bad = replace(GOOD, sae=HOSTILE, hook_name=HOSTILE, held_out=False, fvu_by_emotion={HOSTILE: 0.5})
    other = f"{HOSTILE} without evaluation"
    return write(tmp_path_factory.mktemp("hostile"), [bad], [record(HOSTILE, 50), record(other, 50)])


def test_names_never_become_markup(hostile: str) -> None:
    tags = Tags(hostile)
    assert tags.tags.count("script") == 1
    assert not {"img", "iframe", "object", "link"} & set(tags.tags)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in hostile
    assert "\u202e" not in hostile
    assert "\x00" not in hostile


def test_nothing_is_fetched_and_only_the_pages_own_script_may_run(hostile: str) -> None:
    tags = Tags(hostile)
    links = [value for name, value in tags.attributes if name in ("href", "src", "xlink:href", "action", "srcset")]
    assert all(link.startswith("#") for link in links)
    assert {link[1:] for link in links} <= {value for name, value in tags.attributes if name == "id"}
    assert not re.search(r"url\((?!#)|@import", hostile)
    script = re.search(r"<script>(.*?)</script>", hostile, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in hostile
    assert not re.search(r"fetch|XMLHttp|import\(|eval|innerHTML", script[1])


def test_every_number_of_an_evaluation_is_on_the_page(plain: str) -> None:
    shown = {text.strip() for text in Tags(plain).texts}
    assert {"good", "poor", "blocks.3.hook_resid_post", "768", "22.932", "0.163", "0.988"} <= shown
    assert {"0.537", "0.666", "11.243", "5", "7", "0.913", "0.853", "0.841", "11,740", "150"} <= shown
    assert {"afraid", "calm", "proud", "0.145", "0.220"} <= shown
    assert {"0.444", "5.000", "0.583", "–"} <= shown
    assert "2 SAEs on 120 texts of 11,740 tokens in all." in shown


def test_tables_are_sorted_by_whole_numbers_not_by_what_is_shown() -> None:
    table = tabulate([GOOD, POOR], {}, {"good": 0, "poor": 1})
    assert {len(row.cells) for row in table.rows} == {len(table.numbers)}
    cells = {head: cell for head, cell in zip(table.numbers, table.rows[0].cells, strict=True)}
    assert (cells["l0"].text, cells["l0"].sort) == ("22.932", "22.9316")
    assert (cells["steps"].text, cells["steps"].sort) == ("–", "")
    by_emotion = tabulate_emotions([GOOD, POOR])
    assert [row.name for row in by_emotion.rows] == ["afraid", "calm", "proud"]
    assert [[cell.text for cell in row.cells] for row in by_emotion.rows] == [
        ["0.145", "0.500"],
        ["0.220", "–"],
        ["–", "–"],
    ]


def test_of_a_step_that_occurs_twice_the_last_counts() -> None:
    resumed = [record("a", step, fvu=float(step)) for step in (50, 100, 150)]
    resumed += [record("a", step, fvu=step + 0.5) for step in (100, 150, 200)]
    history = read_history([record("b", 50), *resumed, record("b", 100)])
    assert [(row["step"], row["fvu"]) for row in history["a"]] == [(50, 50), (100, 100.5), (150, 150.5), (200, 200.5)]
    assert [row["step"] for row in history["b"]] == [50, 100]


def test_a_restart_that_ends_earlier_leaves_nothing_of_the_first_run() -> None:
    again = [record("a", step) for step in (50, 100, 150, 200)] + [record("a", step, l0=9.0) for step in (50, 100)]
    assert [(row["step"], row["l0"]) for row in read_history(again)["a"]] == [(50, 9), (100, 9)]


def test_records_may_lack_values_and_come_in_any_order() -> None:
    odd: list[dict[str, Any]] = [record("a", 100, fvu=None), {"series": "a", "step": 50, "fvu": 1}, {"step": 3}]
    history = read_history(odd)
    assert [row["step"] for row in history["a"]] == [50, 100]
    assert math.isnan(history["a"][1]["fvu"])
    assert math.isnan(history["a"][0]["loss"])
    assert list(history) == ["a", ""]
    panels = make_curves(history, {"a": 0, "": 1})
    assert panels[0].title == "fvu of the batch"
    assert all(curve.series == 0 for panel in panels for curve in panel.curves)
    assert make_curves({}, {}) == ()


def test_figures_hold_the_numbers_of_the_records() -> None:
    series: Mapping[str, int] = {"good": 0, "poor": 1}
    seen = replace(POOR, held_out=False)
    assert make_cloud([GOOD, seen], series).points == (
        CloudPoint(0, GOOD.l0, GOOD.fvu, GOOD.hook_name),
        CloudPoint(1, POOR.l0, POOR.fvu, POOR.hook_name, hollow=True),
    )
    density = make_densities([GOOD], series).curves[0]
    assert density.x == DENSITY_EDGES
    np.testing.assert_allclose(density.y, np.array(GOOD.density) / GOOD.d_sae)
    fvu = make_curves(read_history(METRICS), series)[0].curves[0]
    assert (fvu.x, fvu.y) == ((50, 100, 150), (1 / 50, 1 / 100, 1 / 150))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_lines_and_points_stand_at_their_values(width: float) -> None:
    curve, steps = Curve(0, (1.0, 2.0, 3.0), (0.5, math.nan, 0.7)), Curve(8, (0.0, 1.0, 2.0), (3.0, 4.0))
    with drawing_style():
        panel = draw_curves([CurvePanel("a", (curve,), "step", True), CurvePanel("b", (steps,), "x", mark=1.0)], width)
        cloud = draw_cloud(
            Cloud((CloudPoint(4, 20.0, 0.25, "g"), CloudPoint(0, math.nan, 0.1, "g")), "l0", "fvu"), width
        )
    drawn = panel.axes[0].lines[0]
    np.testing.assert_array_equal(drawn.get_xydata(), np.column_stack([curve.x, curve.y]))
    np.testing.assert_array_equal(panel.axes[1].patches[0].get_data().values, steps.y)  # type: ignore[attr-defined]
    assert [tuple(map(tuple, line.get_xydata())) for line in cloud.axes[-1].lines] == [((20.0, 0.25),)]
    assert [text.get_text() for text in cloud.axes[-1].texts] == ["5"]


@pytest.mark.parametrize("values", [(1e-4, 1e3), (0.31, 0.29), (20.0, 61.0), (0.0, 0.0), (-1.0, 2.0), (math.nan, 5.0)])
def test_every_scale_has_at_least_two_numbers_on_it(values: tuple[float, float]) -> None:
    panel = CurvePanel("a", (Curve(0, (1.0, 2.0), values),), "step", log_y=True)
    with drawing_style():
        axes = draw_curves([panel], WIDE).axes[0]
        axes.figure.canvas.draw()  # type: ignore[union-attr]
    low, high = axes.get_ylim()
    assert sum(bool(low <= tick <= high) for tick in axes.get_yticks()) >= 2


def test_series_are_told_apart_and_legible_on_both_papers() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for colour in PALETTE:
        for paper in (INK["paper"], DARK_PAPER):
            low, high = sorted((luminance(colour), luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 3
    colours = [series_colour(series) for series in range(300)]
    assert len(set(colours) | set(INK.values())) == 300 + len(INK)
    looks = {(PALETTE[series % len(PALETTE)], series_dash(series)) for series in range(21)}
    assert len(looks) == 21


def test_the_page_finds_a_series_by_its_variable_and_leaves_texts_alone() -> None:
    curves = tuple(Curve(series, (1.0, 2.0), (0.1, 0.2 + series)) for series in range(9))
    with drawing_style():
        svg = name_series(to_svg(draw_curves([CurvePanel("#2f7fc6", curves, "x")], WIDE), "a"), 9)
    for series in range(9):
        assert svg.count(f"var(--series-{series}, {series_colour(series)})") == 1
    assert ">#2f7fc6<" in svg


def test_what_would_mislead_is_said() -> None:
    assert list_warnings([GOOD, POOR]) == []
    found = list_warnings([replace(GOOD, held_out=False), replace(POOR, n_tokens=9_999, loss_clean=12.0)])
    assert found == [
        "Trained on the text that is measured here, which flatters them: good.",
        "The text is too short for a feature that fires to count as rare: poor.",
        "The SAEs were not all measured on the same text and model: compare them with care.",
        "Zeros at the hook cost the model nothing, so no loss can be recovered: poor.",
    ]


def test_saes_without_a_training_and_trainings_without_an_sae_are_named(tmp_path: Path, plain: str) -> None:
    assert "Without records of their training: poor." in plain
    text = write(tmp_path, [], [record("lost", 50)])
    assert "No SAE was evaluated." in text
    assert "lost" in text
    assert "fvu against l0" not in text
    assert 'id="saes"' not in text


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    assert "<figure>" not in write(tmp_path, [], [])


def test_equal_records_give_equal_pages(tmp_path: Path, plain: str) -> None:
    assert write(tmp_path, [GOOD, POOR], METRICS) == plain


def test_two_saes_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"same name .*: good"):
        write_training_page(Stage(tmp_path), [GOOD, POOR, replace(POOR, sae="good")], [])
    assert not any(tmp_path.iterdir())
