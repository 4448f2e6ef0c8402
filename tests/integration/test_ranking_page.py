"""The page on a ranking: its numbers are those of the tables, names stay text, and a ranking of nothing is said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from html_tags import Tags
from planted_stories import EMOTIONS, plant_features, plant_stories

from emosae.report.figures import NARROW, WIDE, drawing_style
from emosae.report.figures.plots import draw_histograms, draw_layers, draw_scatter
from emosae.report.figures.strips import draw_strips
from emosae.report.ranking_content import list_warnings, say_findings, tabulate_layers, tabulate_verdicts
from emosae.report.ranking_controls import flag_confounds, tabulate_baselines, tabulate_confounds
from emosae.report.ranking_data import name_hooks
from emosae.report.ranking_page import RankingData, write_ranking_page
from emosae.report.ranking_pictures import (
    make_heat,
    make_histograms,
    make_layer_heat,
    make_layers,
    make_scatter,
    make_strips,
)
from emosae.selectivity import (
    compare_baselines,
    measure_baselines,
    rank_features,
    score_baselines,
    score_random_features,
    score_random_model,
    sweep_layers,
)
from emosae.store import Stage

HOSTILE = '</script><img src=x onerror="alert(2)">{{ 7*7 }}\u202e evil \x00 "\' $\\frac{1}{0}$'
HOOKS = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


def make_data(*, strength: float = 4.0, n_topics: int = 24, sae: str = "planted", model: str = "toy") -> RankingData:
    stories = plant_stories(n_topics=n_topics)
    rng = np.random.default_rng(0)
    resid_noise = 1.0 if strength else 50.0
    tables = [
        plant_features(stories, rng, sae=f"{sae}{at}", hook_name=hook, strength=strength, resid_noise=resid_noise)
        for at, hook in enumerate(HOOKS)
    ]
    firings = [
        {"sae": f"{sae}0", "feature_idx": at, "position_corr": 0.1, "top_token": f" the{at}", "top_token_share": 0.6}
        for at in range(3)
    ]
    ranking = rank_features(
        tables, stories, rng=rng, permutations=31, top=3, masked=tables, firings=pa.Table.from_pylist(firings)
    )
    scores = [
        *score_baselines(tables, stories),
        score_random_features(tables, stories, ranking.summary, rng),
        *score_random_model(tables, stories),
    ]
    return RankingData(
        model=model,
        synthetic=False,
        alpha=0.05,
        ranking=ranking,
        baselines=measure_baselines(tables, stories, scores),
        comparisons=compare_baselines(tables, stories, ranking.summary, scores),
        layers=sweep_layers(tables, {t.hook_name: t.resid_mean for t in tables}, stories, ranking.candidates),
        masked_share=0.234,
    )


@pytest.fixture(scope="module")
def data() -> RankingData:
    return make_data()


@pytest.fixture(scope="module")
def nothing(data: RankingData) -> RankingData:
    """No feature was fit to be a candidate for any emotion."""
    summary = data.ranking.summary
    for name in (
        "sae",
        "feature_idx",
        "auroc",
        "p_maxt",
        "q_bh",
        "rival",
        *(n for n in summary.column_names if "conf" in n),
    ):
        if name.startswith(("n_", "topics_")):
            continue
        place, kind = summary.column_names.index(name), summary.schema.field(name).type
        summary = summary.set_column(place, name, pa.nulls(summary.num_rows, kind))
    place = summary.column_names.index("n_discovered")
    summary = summary.set_column(place, "n_discovered", pa.array([0] * summary.num_rows))
    ranking = replace(data.ranking, candidates=data.ranking.candidates.slice(0, 0), summary=summary)
    return replace(data, ranking=ranking, comparisons=data.comparisons.slice(0, 0), layers=data.layers.slice(0, 0))


def write(path: Path, data: RankingData) -> str:
    page = write_ranking_page(Stage(path), data)
    assert page == path / "index.html"
    assert [file.name for file in path.iterdir()] == ["index.html"]
    return page.read_text(encoding="utf-8")


def rename(table: pa.Table, column: str, old: str, new: str) -> pa.Table:
    names = [new if value == old else value for value in table[column].to_pylist()]
    return table.set_column(table.column_names.index(column), column, pa.array(names, pa.string()))


def poison(data: RankingData) -> RankingData:
    """An emotion, an SAE and the model whose names are markup."""

    def both(table: pa.Table) -> pa.Table:
        for column, old in (("emotion", "sad"), ("rival", "sad"), ("sae", "planted0"), ("sae", "planted1")):
            if column in table.column_names:
                table = rename(table, column, old, HOSTILE + old)
        return table

    ranking = data.ranking
    profiles = both(
        ranking.profiles.rename_columns([HOSTILE + n if n == "sad" else n for n in ranking.profiles.column_names])
    )
    calm = replace(
        ranking,
        candidates=both(ranking.candidates),
        summary=both(ranking.summary),
        calibration=both(ranking.calibration),
        profiles=profiles,
        notes=(HOSTILE,),
    )
    return replace(
        data,
        model=HOSTILE,
        ranking=calm,
        baselines=both(data.baselines),
        comparisons=both(data.comparisons),
        layers=both(data.layers),
    )


def test_names_never_become_markup_and_nothing_is_fetched(data: RankingData, tmp_path: Path) -> None:
    text = write(tmp_path, poison(data))
    tags = Tags(text)
    assert tags.tags.count("script") == 1
    assert not {"img", "iframe", "object", "link"} & set(tags.tags)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    links = [value for name, value in tags.attributes if name in ("href", "src", "xlink:href", "action", "srcset")]
    assert {link[1:] for link in links} <= {value for name, value in tags.attributes if name == "id"}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)
    assert "{{ 7*7 }}" in text
    assert not {"\u202e", "\x00"} & set(text)
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]+'", text)


HEADS = {
    "words": "bag_of_words",
    "mean vector": "difference_of_means",
    "linear probe": "linear_probe",
    "8 features": "sparse_probe",
    "one dimension": "best_dimension",
    "one PC": "pca",
    "random features": "random_features",
    "random model": "random_model",
    "its vector": "random_model_vector",
}


def test_there_is_a_line_per_emotion_with_a_verdict_on_every_baseline(data: RankingData, tmp_path: Path) -> None:
    table = tabulate_baselines(data)
    assert table is not None
    assert set(table.numbers) == set(HEADS)
    counts, *lines = table.rows
    assert [row.name for row in lines] == list(EMOTIONS)
    compared = {(row["emotion"], row["baseline"]): row for row in data.comparisons.to_pylist()}
    for row in lines:
        for head, cell in zip(table.numbers, row.cells, strict=True):
            truth = compared[row.name, HEADS[head]]
            assert cell.value == truth["difference"]
            assert cell.text.split()[0] == truth["outcome"]
            assert f"{abs(truth['difference_hi']):.3f}]" in cell.title
            assert cell.tone == {"beats": "good", "loses": "bad", "ties": ""}[truth["outcome"]]
    for head, cell in zip(table.numbers, counts.cells, strict=True):
        told = [row["outcome"] for row in data.comparisons.to_pylist() if row["baseline"] == HEADS[head]]
        assert cell.text == f"{told.count('beats')} / {told.count('ties')} / {told.count('loses')}"
    tags = Tags(write(tmp_path, data))
    assert {cell.text for row in table.rows for cell in row.cells} <= {text.strip() for text in tags.texts}
    titles = {value for name, value in tags.attributes if name == "title"}
    assert {cell.title for row in lines for cell in row.cells} <= titles


def test_verdicts_that_matter_stand_out(data: RankingData) -> None:
    rows = [row for row in data.comparisons.to_pylist() if row["baseline"] == "bag_of_words"]
    outcomes = ["beats", "loses", "ties", None, "ties", "ties"]
    judged = [row | {"outcome": outcome} for row, outcome in zip(rows, outcomes, strict=True)]
    table = tabulate_baselines(replace(data, comparisons=pa.Table.from_pylist(judged, schema=data.comparisons.schema)))
    assert table is not None
    cells = [row.cells[0] for row in table.rows[1:]]
    assert [cell.tone for cell in cells] == ["good", "bad", "", "", "", ""]
    assert [cell.text.split()[0] for cell in cells[:3]] == ["beats", "loses", "ties"]
    assert table.rows[0].cells[0].text == "1 / 3 / 1"


def test_the_confound_sheet_is_that_of_each_emotions_best_feature(data: RankingData, tmp_path: Path) -> None:
    table = tabulate_confounds(data)
    assert table is not None
    held = {(row["emotion"], row["sae"], row["feature_idx"]): row for row in data.ranking.candidates.to_pylist()}
    for line, best in zip(table.rows, data.ranking.summary.to_pylist(), strict=True):
        row = held[best["emotion"], best["sae"], best["feature_idx"]]
        cells = dict(zip(table.numbers, line.cells, strict=True))
        assert cells["words masked"].value == row["lexical_drop"] == 0.0
        assert cells["same valence"].value == row["auroc_same_valence"]
        assert cells["length"].value == row["length_corr"]
        assert cells["same person"].text == "–"
        has_token = row["top_token"] is not None
        assert line.texts[2] == (f"“{row['top_token'].strip()}”" if has_token else "–")
        assert ("one token" in line.texts[1]) == has_token
    text = write(tmp_path, data)
    assert "Masking took 23% of the words of the confirm stories." in text
    assert any("Flag “one token”" in warning for warning in list_warnings(data))


def test_flags_are_raised_by_what_is_worrying_and_by_nothing_that_is_not_shown() -> None:
    fine = {
        "auroc_confirm": 0.9,
        "auroc_confirm_lo": 0.8,
        "lexical_drop": 0.1,
        "lexical_drop_lo": 0.05,
        "auroc_same_valence": 0.85,
        "auroc_same_perspective": 0.9,
        "length_corr": -0.2,
        "position_corr": 0.2,
        "top_token_share": 0.3,
    }
    assert flag_confounds(fine) == []
    assert flag_confounds({}) == []
    worse = {
        "words": {"lexical_drop": 0.3},
        "valence": {"auroc_same_valence": 0.6},
        "perspective": {"auroc_same_perspective": 0.65},
        "length": {"length_corr": -0.4},
        "position": {"position_corr": -0.7},
        "one token": {"top_token_share": 0.51},
    }
    for name, change in worse.items():
        assert flag_confounds(fine | change) == [name]
    assert flag_confounds(fine | {"lexical_drop": 0.3, "lexical_drop_lo": -0.1}) == []
    assert flag_confounds(fine | {"auroc_same_valence": 0.5, "auroc_confirm_lo": 0.45}) == []
    assert flag_confounds({"auroc_confirm": 0.9, "lexical_drop": 0.3}) == ["words"]


def test_findings_count_what_the_tables_say(data: RankingData) -> None:
    said = say_findings(data)
    beaten = [row["emotion"] for row in data.ranking.summary.to_pylist() if row["auroc_rival_confirm_lo"] > 0.5]
    assert len(beaten) >= 4
    assert said[0].startswith(f"For {len(beaten)} of 6 emotions one feature beats the hardest rival emotion")
    outcomes = [row["outcome"] for row in data.comparisons.to_pylist() if row["baseline"] == "bag_of_words"]
    counts = " / ".join(str(outcomes.count(word)) for word in ("beats", "ties", "loses"))
    assert f"words alone {counts}" in said[1]
    assert any("Words alone tell" in warning for warning in list_warnings(data))


def test_figures_hold_the_numbers_of_the_tables(data: RankingData) -> None:
    heat, strips, scatter = make_heat(data), make_strips(data), make_scatter(data)
    assert heat is not None
    assert strips is not None
    assert scatter is not None
    profiles = {(row["sae"], row["feature_idx"]): row for row in data.ranking.profiles.to_pylist()}
    best = {f"{row['emotion']} #{row['feature_idx']}": row for row in data.ranking.summary.to_pylist()}
    for at, name in enumerate(heat.rows):
        row = best[name]
        values = [profiles[row["sae"], row["feature_idx"]][emotion] for emotion in heat.columns]
        np.testing.assert_allclose((heat.shades[at] + 1) / 2, values, atol=1e-6)
        assert (at, heat.columns.index(row["rival"])) in heat.outlined
    assert [strip.title for strip in strips.strips] == list(EMOTIONS)
    assert [len(strip.marks) for strip in strips.strips] == [6] * 6, "four features, words, and the vector"
    for strip, row in zip(strips.strips, data.ranking.summary.to_pylist(), strict=True):
        first = strip.marks[0][1]
        assert (first.value, first.lo) == (row["auroc_confirm"], row["auroc_confirm_lo"])
    assert len(scatter.kinds[1][2]) == 6
    assert sum(len(points) for _, _, points in scatter.kinds) == data.ranking.candidates.num_rows


def test_the_null_histogram_is_flat_and_that_of_candidates_is_not(data: RankingData) -> None:
    tests, candidates = make_histograms(data)
    assert sum(tests.bars) == pytest.approx(1)
    assert sum(tests.steps) == pytest.approx(1)
    assert np.abs(np.array(tests.steps) - tests.level).mean() < 0.03
    assert candidates.bars[0] > 0.3


def test_the_layers_are_those_of_the_sweep(data: RankingData) -> None:
    layers, heat = make_layers(data), make_layer_heat(data)
    assert layers is not None
    assert heat is not None
    assert layers.names == ("0", "1")
    rows = {(r["method"], r["emotion"], r["hook_name"]): r for r in data.layers.to_pylist()}
    for panel, method in zip(layers.panels, ("difference_of_means", "sae_feature"), strict=True):
        means = [rows[method, None, hook] for hook in HOOKS]
        assert panel.strong[1].values == tuple(row["auroc_confirm"] for row in means)
        assert panel.strong[1].chosen == [row["chosen"] for row in means].index(True)
        assert len(panel.faint) == len(EMOTIONS)
    assert len(heat.outlined) == len(EMOTIONS)
    table = tabulate_layers(data)
    assert [row.name for row in table.rows] == ["mean over emotions", *EMOTIONS]
    assert {len(row.cells) for row in table.rows} == {len(table.numbers)} == {6}


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_figure_is_drawn_at_its_width(data: RankingData, width: float) -> None:
    layers, strips, scatter = make_layers(data), make_strips(data), make_scatter(data)
    assert layers is not None
    assert strips is not None
    assert scatter is not None
    with drawing_style():
        figures = [draw_layers(layers, width), draw_strips(strips, width), draw_scatter(scatter, width)]
        figures.append(draw_histograms(make_histograms(data), width))
    assert {figure.get_size_inches()[0] * 72 for figure in figures} == {width}
    first = figures[1].axes[4].lines
    assert strips.strips[0].marks[0][1].value in [line.get_xdata()[0] for line in first if len(line.get_xdata()) == 1]


def test_a_ranking_that_found_nothing_is_a_page_that_says_so(nothing: RankingData, tmp_path: Path) -> None:
    text = write(tmp_path, nothing)
    assert "No emotion has a feature that could be tested on unseen topics." in text
    assert "No feature was discovered at q below 0.05 for afraid, calm" in text
    assert "At which layer" not in text
    assert 'id="layers"' not in text
    assert "Which feature answers" not in text
    assert "Features and baselines" in text
    assert {cell.text for row in tabulate_verdicts(nothing).rows for cell in row.cells[:2]} == {"–"}


def test_noise_beats_nothing_and_few_topics_claim_nothing(tmp_path: Path) -> None:
    noise = make_data(strength=0.0)
    assert "one feature beats the hardest rival" in say_findings(noise)[0]
    assert say_findings(noise)[0].startswith(("For 0 of 6", "For 1 of 6"))
    few = make_data(n_topics=8)
    text = write(tmp_path, few)
    assert "8 topics, fewer than 12." in text
    assert "Too few topics for a verdict beyond “detected”: afraid, calm" in text
    assert not set(few.comparisons["outcome"].to_pylist()) - {None}


def test_hooks_are_named_by_their_block_if_that_tells_them_apart() -> None:
    assert list(name_hooks(HOOKS).values()) == ["0", "1"]
    mixed = [HOOKS[0], "blocks.1.hook_resid_pre", "odd"]
    assert list(name_hooks(mixed).values()) == ["0 post", "1 pre", "odd"]


def test_equal_rankings_give_equal_pages(data: RankingData, tmp_path: Path) -> None:
    assert write(tmp_path / "one", data) == write(tmp_path / "two", data)
