"""The ledger and the report read the tables that the ranking and the atlas really write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from planted_stories import EMOTIONS, FIRST_NOISE, SHARED, plant_features, plant_stories

from emosae.atlas.concepts import build_concepts
from emosae.ledger import build_ledger
from emosae.report import ReportData, build_page
from emosae.selectivity import Selectivity, rank_features
from emosae.selectivity.baselines import measure_baselines


@pytest.fixture(scope="module", params=[True, False], ids=["topics", "no topics"])
def ranked(request: pytest.FixtureRequest) -> tuple[bool, Selectivity, pa.Table]:
    stories = plant_stories(has_topics=request.param)
    rng = np.random.default_rng(0)
    features = [plant_features(stories, rng, sae=name, n_noise=60, strength=4.0) for name in ("one", "two")]
    selectivity = rank_features(features, stories, rng=rng, permutations=31, top=3)
    return request.param, selectivity, measure_baselines(features[:1], stories)


def make_data(selectivity: Selectivity, baselines: pa.Table) -> ReportData:
    links = pa.table(
        {"sae_a": ["one"], "feature_a": [0], "sae_b": ["two"], "feature_b": [0], "relation": ["match"]}
        | {"activation_corr": [0.9]}
    )
    saes = [
        {"name": name, "hook_name": "blocks.0.hook_resid_post", "d_sae": 68, "architecture": "topk", "seed": 0}
        | {"origin": "trained", "fvu": 0.1, "l0": 12.0, "dead_fraction": 0.0}
        for name in ("one", "two")
    ]
    return ReportData(
        manifest={},
        saes=pa.Table.from_pylist(saes),
        candidates=selectivity.candidates,
        emotions=selectivity.summary,
        overlap=selectivity.overlap,
        baselines=baselines,
        ledger=build_ledger(selectivity.candidates, profiles=selectivity.profiles, links=links),
        links=links,
        concepts=build_concepts(links, selectivity.candidates, {"one": "blocks.0", "two": "blocks.0"}),
    )


def test_planted_features_are_specific_only_with_topics(ranked: tuple[bool, Selectivity, pa.Table]) -> None:
    has_topics, selectivity, baselines = ranked
    data = make_data(selectivity, baselines)
    verdicts = {(row["feature_idx"], row["emotion"]): row["verdict"] for row in data.ledger.to_pylist()}
    own = {verdicts[place, emotion] for place, emotion in enumerate(EMOTIONS) if emotion not in SHARED}
    assert own == ({"specific"} if has_topics else {"detected"})
    noise = [verdict for (feature_idx, _), verdict in verdicts.items() if feature_idx >= FIRST_NOISE]
    assert set(noise) <= {"none", "detected"}


def test_the_page_says_what_was_planted(ranked: tuple[bool, Selectivity, pa.Table]) -> None:
    has_topics, selectivity, baselines = ranked
    sections = {section.name: section for section in build_page(make_data(selectivity, baselines)).sections}
    if has_topics:
        assert sections["features"].finding.startswith("For 6 of 6 emotions")
    else:
        assert "too few topics" in sections["features"].finding
    assert "grieving with sad" in sections["overlap"].finding or "sad with grieving" in sections["overlap"].finding
    assert sections["features"].plates[0].table.rows[0][-1] != "not measured"


def test_a_ranking_that_found_nothing_is_reported(ranked: tuple[bool, Selectivity, pa.Table]) -> None:
    _, selectivity, baselines = ranked
    data = make_data(selectivity, baselines)
    nothing = replace(data, candidates=data.candidates.slice(0, 0), ledger=data.ledger.slice(0, 0))
    sections = {section.name: section for section in build_page(nothing).sections}
    assert sections["verdicts"].finding.startswith("The ledger is empty")
    assert "agreement" not in sections
