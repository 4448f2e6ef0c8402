"""What the page on a ranking says of the search: what would have been found, and what a second SAE holds too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from html_tags import Tags
from planted_stories import plant_features, plant_stories

from emosae.report.ranking_content import list_warnings, tabulate_verdicts
from emosae.report.ranking_page import RankingData, write_ranking_page
from emosae.report.ranking_search import make_search_columns, say_limits, say_replication, show_partners
from emosae.selectivity import rank_features
from emosae.selectivity.comparison import COLUMNS as COMPARED
from emosae.selectivity.detection import COLUMNS as DETECTED
from emosae.selectivity.replication import COLUMNS as REPLICATED
from emosae.store import Stage

NAMES = ("afraid", "calm", "grieving", "joyful", "proud", "sad")


def tabulate_limits(*limits: float | None, n_spikes: int = 10) -> pa.Table:
    named = zip(NAMES, (*limits, *[None] * len(NAMES)), strict=False)
    rows = [{"emotion": name, "n_spikes": n_spikes, "detection_limit_auroc": limit} for name, limit in named]
    return pa.Table.from_pylist(rows, schema=DETECTED)


def summarise(**discovered: int) -> pa.Table:
    return pa.table({"emotion": list(discovered), "n_discovered": list(discovered.values())})


def partner(**known: object) -> dict[str, object]:
    found = {"matched_feature_idx": 12, "matched_auroc_confirm": 0.912, "matched_confirmed": True}
    ends = {"matched_auroc_confirm_lo": 0.85, "matched_auroc_confirm_hi": 0.953}
    return {"sae": "one", "feature_idx": 3, "emotion": "calm", "matched_sae": "two", **found, **ends, **known}


LOST = {"matched_feature_idx": None, "matched_auroc_confirm": None, "matched_confirmed": False}


def test_every_emotion_without_a_find_reads_what_would_have_been_seen() -> None:
    said = say_limits(summarise(afraid=0, calm=3, grieving=0), tabulate_limits(0.7349, 0.7, None))
    assert said == [
        "afraid: nothing found; would have seen AUROC >= 0.73",
        "grieving: nothing found; nor was any spike, up to the length of the residual itself",
    ]


def test_a_limit_that_was_not_measured_is_not_claimed() -> None:
    assert say_limits(summarise(afraid=0), None) == []
    unasked = tabulate_limits(None, n_spikes=0)
    assert say_limits(summarise(afraid=0), unasked) == [
        "afraid: nothing found; what would have been found was not measured"
    ]


@pytest.mark.parametrize(
    ("rows", "text", "tone"),
    [
        ([partner()], "two #12 confirmed 0.91 [0.85, 0.95]", "good"),
        ([partner(matched_confirmed=False)], "two #12 not confirmed 0.91 [0.85, 0.95]", "bad"),
        (
            [partner(matched_confirmed=None, matched_auroc_confirm_lo=None, matched_auroc_confirm_hi=None)],
            "two #12 no interval 0.91",
            "",
        ),
        ([partner(**LOST)], "no match", "bad"),
        ([partner(), partner(**LOST), partner()], "confirmed in 2 of 3", ""),
        ([], "–", ""),
    ],
)
def test_a_partner_is_named_and_judged(rows: Sequence[dict], text: str, tone: str) -> None:
    cell = show_partners(rows)
    assert (cell.text, cell.tone) == (text, tone)


@pytest.fixture(scope="module")
def data() -> RankingData:
    stories = plant_stories(copies=1)
    rng = np.random.default_rng(0)
    table = plant_features(stories, rng, sae="one", strength=4.0, n_noise=10)
    ranking = rank_features([table], stories, rng=rng, permutations=15, top=2)
    best = {row["emotion"]: row for row in ranking.summary.to_pylist()}
    known = [partner(**{name: best["calm"][name] for name in ("sae", "feature_idx", "emotion")})]
    known.append(partner(**{name: best["proud"][name] for name in ("sae", "feature_idx", "emotion")}) | LOST)
    nothing = pa.schema([("emotion", pa.string()), ("baseline", pa.string()), ("hook_name", pa.string())])
    layers = pa.schema([*nothing, ("method", pa.string()), ("depth", pa.int64()), ("chosen", pa.bool_())])
    return RankingData(
        model="toy",
        synthetic=False,
        alpha=0.05,
        ranking=ranking,
        baselines=nothing.empty_table(),
        comparisons=COMPARED.empty_table(),
        layers=layers.empty_table(),
        detection=tabulate_limits(0.71, 0.72),
        replication=pa.Table.from_pylist(known, schema=REPLICATED),
    )


def test_the_table_of_emotions_has_both_columns(data: RankingData) -> None:
    table = tabulate_verdicts(data)
    lines = {row.name: dict(zip(table.numbers, row.cells, strict=True)) for row in table.rows}
    assert lines["afraid"]["would have seen AUROC"].text == ">= 0.71"
    assert lines["afraid"]["would have seen AUROC"].value == 0.71
    assert math.isnan(lines["sad"]["would have seen AUROC"].value)
    assert lines["calm"]["in another SAE"].text.startswith("two #12 confirmed")
    assert lines["proud"]["in another SAE"].text == "no match"
    assert lines["afraid"]["in another SAE"].text == "–"


def test_there_is_no_column_for_what_was_not_done(data: RankingData) -> None:
    assert make_search_columns(replace(data, detection=None, replication=REPLICATED.empty_table())) == {}
    assert say_replication(replace(data, replication=None)) == []


def test_discovered_candidates_are_counted_with_their_partners(data: RankingData) -> None:
    (said,) = say_replication(data)
    assert said.startswith("1 of 2 discovered features have a partner in another SAE")
    assert "1 of these partners is confirmed" in said


def test_the_page_says_it_all_as_text(data: RankingData, tmp_path: Path) -> None:
    summary = data.ranking.summary
    place = summary.column_names.index("n_discovered")
    summary = summary.set_column(place, "n_discovered", pa.array([0] * summary.num_rows))
    blind = replace(data, ranking=replace(data.ranking, summary=summary))
    assert any("afraid: nothing found; would have seen AUROC >= 0.71" in line for line in list_warnings(blind))
    shown = {text.strip() for text in Tags(write_ranking_page(Stage(tmp_path), blind).read_text("utf-8")).texts}
    assert {"nothing found", ">= 0.71", "would have seen AUROC", "in another SAE", "no match"} <= shown
