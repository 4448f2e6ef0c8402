"""What single pages load is what the tables say, and a page without its table is an empty file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted_pages import ARMS, TALKS, TASKS
from planted_site import EMOTIONS, empty_site, planted_site
from scipy.sparse import csr_array

from emosae.features import StoryFeatures
from emosae.site import PageTables, SiteData, count_peaks, tabulate_talk_arms
from emosae.site.cells import spread_evenly, tidy_cell
from emosae.site.histograms import BINS
from emosae.site.pack_pages import list_page_files
from emosae.site.pack_rollouts import LONGEST, SHOWN_IMPOSSIBLE, list_rollout_files


def read_files(data: SiteData) -> dict[str, Any]:
    """Files by name, as JSON would hand them to the page."""
    return {name: json.loads(json.dumps(value, allow_nan=False)) for name, value in list_page_files(data)}


def story_features(peaks: list[list[float]]) -> StoryFeatures:
    """Stories x features of strongest activations; nothing else of the record matters here."""
    table = csr_array(np.array(peaks, dtype=np.float32))
    n = len(peaks)
    ids = tuple(f"story-{row}" for row in range(n))
    return StoryFeatures(
        "s", "h", ids, np.full(n, 9), table, table, table, pa.table({"feature_idx": [0]}), torch.zeros(n, 2)
    )


def test_a_histogram_counts_every_story_once() -> None:
    rng = np.random.default_rng(0)
    peaks = np.where(rng.random((60, 5)) < 0.5, rng.gamma(2, 2, (60, 5)), 0.0)
    emotion_of = {f"story-{row}": ("sad", "joyful", "neutral")[row % 3] for row in range(60)}
    found = count_peaks(story_features(peaks.tolist()), range(5), emotion_of)
    assert found.emotions == ("joyful", "neutral", "sad")
    assert found.counts.sum(axis=2).tolist() == [[20, 20, 20]] * 5
    silent = [[int((peaks[row::3, feature] == 0).sum()) for row in (1, 2, 0)] for feature in range(5)]
    assert found.counts[:, :, 0].tolist() == silent


def test_a_histograms_bins_are_numpys() -> None:
    rng = np.random.default_rng(1)
    peaks = rng.random((200, 1)) + 0.01
    found = count_peaks(story_features(peaks.tolist()), [0], {f"story-{row}": "sad" for row in range(200)})
    top = np.float32(peaks.max())
    expected, _ = np.histogram(peaks.astype(np.float32), bins=np.linspace(0, top, BINS + 1))
    assert found.counts[0, 0, 1:].tolist() == expected.tolist()
    assert found.top[0] == top


def test_a_feature_that_never_fires_has_no_bins() -> None:
    found = count_peaks(story_features([[0.0], [0.0]]), [0], {"story-0": "sad", "story-1": "sad"})
    assert found.top[0] == 0
    assert found.counts[0].tolist() == [[2] + [0] * BINS]


def test_the_histogram_of_a_feature_is_written_where_the_page_looks() -> None:
    data = planted_site(examples=())
    files = read_files(data)
    place = 17
    cells = files["evidence-0"]["histogram"][place]["cells"]
    told = np.zeros((len(EMOTIONS) + 1, BINS))
    for row, at, count in zip(*[iter(cells)] * 3, strict=True):
        told[row, at - 1] = count
    assert told.tolist() == data.pages.histograms[0].counts[place, :, 1:].tolist()
    assert files["evidence"]["histograms"]["saes"]["early"]["n_stories"] == [48] * (len(EMOTIONS) + 1)


def test_the_histograms_of_saes_that_read_other_stories_keep_their_own_emotions() -> None:
    data = planted_site(examples=())
    first, *others = data.pages.histograms
    strangers = replace(
        first, emotions=tuple(f"{name}!" for name in first.emotions), n_stories=(7,) * len(first.emotions)
    )
    data = replace(data, pages=replace(data.pages, histograms=[strangers, *others]))
    told = read_files(data)["evidence"]["histograms"]["saes"]
    assert told[first.sae] == {"emotions": list(strangers.emotions), "n_stories": list(strangers.n_stories)}
    assert told[others[0].sae]["emotions"] == list(first.emotions)


def test_tokens_come_strongest_first_at_both_ends() -> None:
    tokens = read_files(planted_site(examples=()))["evidence-0"]["tokens"][3]
    assert [logit for _, logit in tokens["promoted"]] == [8, 7, 6, 5, 4]
    assert [logit for _, logit in tokens["suppressed"]] == [-8, -7, -6, -5, -4]


def test_only_saes_with_an_id_lead_to_neuronpedia() -> None:
    links = read_files(planted_site(examples=()))["evidence"]["neuronpedia"]
    assert links == {"early": "https://www.neuronpedia.org/planted-8m/1-res"}


def test_every_arm_of_an_episode_is_in_its_file() -> None:
    files = read_files(planted_site(examples=()))
    index = files["rollouts"]
    assert index["arms"]["dial"] == [arm[1] for arm in ARMS]
    assert index["n"] == len(index["episodes"]["task"]) == 2 * len(TASKS)
    for number, grades in enumerate(index["episodes"]["grades"]):
        played = files[f"rollout-{number}"]["played"]
        assert [run["arm"] for run in played] == [0, 1, 2]
        assert [run["grades"][-1] for run in played] == grades == ["honest", "special_cases", "honest"]
    assert files["rollout-0"]["played"][0]["traces"]["calm"] == [0.5, 0.25, None]


def test_episodes_are_taken_evenly_and_their_number_is_capped() -> None:
    rows = planted_site(examples=()).pages.rollouts.to_pylist()
    many = [rows[0] | {"task_id": f"t{number:03d}"} for number in range(320)]
    index = dict(list_rollout_files(PageTables(rollouts=pa.Table.from_pylist(many))))["rollouts"]
    assert index["n"] == 320
    assert index["episodes"]["task"] == [f"t{number:03d}" for number in range(0, 320, 320 // SHOWN_IMPOSSIBLE)]


def test_long_texts_are_cut() -> None:
    row = planted_site(examples=()).pages.rollouts.to_pylist()[0] | {"texts": ["y" * 20_000]}
    files = dict(list_rollout_files(PageTables(rollouts=pa.Table.from_pylist([row]))))
    assert files["rollout-0"]["played"][0]["texts"] == ["y" * LONGEST + "…"]


def test_a_conversation_keeps_its_sentences_in_order() -> None:
    files = read_files(planted_site(examples=()))
    index = files["talks"]["talks"]
    place = index["conversation_id"].index(TALKS[1])
    talk = files["talk-0"][place]
    assert [sentence["part"] for sentence in talk["sentences"]] == ["user", "opening", "reply", "reply"]
    assert [sentence["acts"]["afraid"] for sentence in talk["sentences"]] == [0, 1.5, 3, 4.5]
    assert talk["reads"]["joyful"] == [3, 1]
    assert index["n_turned"][place] == 1


def test_arms_of_conversations_count_the_outcome_of_their_target() -> None:
    base = {"group": "expected", "condition": "up", "dial": "afraid", "role": "target", "turned": 0.4, "value": 0.3}
    ends = {"value_lo": 0.1, "value_hi": 0.5, "delta": -0.4, "delta_lo": -0.6, "delta_hi": -0.2, "p": 0.01, "n": 48}
    rows = [
        base | ends | {"target": target, "outcome": outcome}
        for target in ("afraid", "loving")
        for outcome in ("warned", "toned", "surprise")
    ]
    arms = tabulate_talk_arms(pa.Table.from_pylist([*rows, rows[0] | {"group": "foil"}]))
    assert {name: table["outcome"].to_pylist() for name, table in arms.items()} == {
        "conversation_afraid": ["warned"],
        "conversation_loving": ["toned"],
        "conversation_afraid_foil": ["warned"],
    }
    assert arms["conversation_afraid"]["rate"].to_pylist() == [0.3]


def test_a_run_without_these_tables_still_has_its_files() -> None:
    files = read_files(empty_site())
    assert {"evidence", "geometry", "rollouts", "talks"} == set(files)
    assert files["rollouts"]["n"] == 0
    assert files["talks"]["talks"]["conversation_id"] == files["geometry"]["leaves"] == []


@pytest.mark.parametrize(
    ("value", "cell"), [(float("nan"), None), (1.23456, 1.235), ([float("inf"), 2], [None, 2]), (True, True)]
)
def test_cells_are_json(value: Any, cell: Any) -> None:
    assert tidy_cell(value) == cell


def test_an_even_spread_begins_with_the_first() -> None:
    assert spread_evenly(range(10), 4) == [0, 2, 5, 7]
    assert spread_evenly([1, 2], 4) == [1, 2]
