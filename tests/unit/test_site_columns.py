"""Long columns survive the trip to the page, and the first view's file holds no more than it needs."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_site import EMOTIONS, planted_site

from emosae.site import SiteData
from emosae.site.chunks import FEATURES_IN_DETAILS, list_data_files, pack_words
from emosae.site.columns import PLAIN_ROWS, encode_column
from emosae.site.pack import pack_site
from emosae.site.planes import pack_planes


def decode(stored: Any) -> list[Any]:
    """What the page reads, written a second time."""
    if isinstance(stored, list):
        return stored
    if "words" in stored:
        return [None if place is None else stored["words"][int(place)] for place in decode(stored["at"])]
    values = np.frombuffer(base64.b64decode(stored["base64"]), dtype=f"<{stored['type']}").tolist()
    return [None if value != value or value == stored.get("null", value + 1) else value for value in values]


def repeat(values: list[Any]) -> list[Any]:
    return (values * (PLAIN_ROWS // len(values) + 1))[: PLAIN_ROWS + 1]


@given(
    st.lists(st.none() | st.integers(0, 2**31 - 1), min_size=1) | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1)
)
def test_whole_numbers_and_their_gaps_survive(values: list[int | None]) -> None:
    assert decode(encode_column(repeat(values))) == repeat(values)


@given(st.lists(st.none() | st.text(max_size=3) | st.just("none"), min_size=1))
def test_words_survive(values: list[str | None]) -> None:
    assert decode(encode_column(repeat(values))) == repeat(values)


@given(st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1))
def test_numbers_keep_six_digits(values: list[float | None]) -> None:
    read = decode(encode_column(repeat(values)))
    assert [value is None for value in read] == [value is None for value in repeat(values)]
    known = [(a, b) for a, b in zip(read, repeat(values), strict=True) if b is not None]
    assert all(a == pytest.approx(b, rel=1e-6, abs=1e-29) for a, b in known)


def test_a_p_value_too_small_for_single_precision_is_no_zero() -> None:
    assert decode(encode_column(repeat([1e-60, 0.5])))[0] == 1e-60


def test_short_columns_and_lists_stay_as_they_are() -> None:
    assert encode_column([1, None, "x"]) == [1, None, "x"]
    lists = repeat([[0.5], None])
    assert encode_column(lists) == lists


def test_tokens_are_stored_once_and_found_by_row() -> None:
    packed = pack_words([["a", "b"], [], ["b"]])
    assert packed == {"words": ["a", "b"], "at": [0, 1, 1], "ends": [2, 2, 3]}


def test_every_profile_and_rung_lies_in_the_details_of_its_feature() -> None:
    data = planted_site(examples=(), per_emotion=FEATURES_IN_DETAILS // 30)
    atlas, library = pack_site(data)
    files = dict(list_data_files(atlas, library))
    assert "profile" not in files["atlas"]["features"]
    assert "rungs" not in files["ledger"]
    for row, profile in enumerate(atlas["features"]["profile"]):
        part = files[f"details-{row // FEATURES_IN_DETAILS}"]
        assert part["features"]["profile"][row % FEATURES_IN_DETAILS] == profile
    for row, (feature, rungs) in enumerate(zip(atlas["ledger"]["feature"], atlas["ledger"]["rungs"], strict=True)):
        part = files[f"details-{feature // FEATURES_IN_DETAILS}"]["ledger"]
        assert part["rungs"][part["row"].index(row)] == rungs


# Planes


def rate(data: SiteData, **columns: list[float | None]) -> SiteData:
    emotions = data.emotions
    for name, values in columns.items():
        emotions = emotions.append_column(name, pa.array(values, pa.float64()))
    return planted_site(examples=(), emotions=emotions)


def test_a_feature_stands_by_the_emotion_that_it_alone_tells() -> None:
    n = len(EMOTIONS)
    valence = np.linspace(-1, 1, n)
    data = rate(planted_site(examples=()), valence=valence.tolist(), arousal=(-valence).tolist())
    profiles = [[0.9 if column == row else 0.5 for column in range(n)] for row in range(n)]
    [plane], columns = pack_planes(data, profiles)
    assert plane["key"] == "affect"
    assert np.allclose(columns["affect_x"], valence, atol=0.2)
    assert np.allclose(columns["affect_y"], -valence, atol=0.2)


def test_emotions_without_a_rating_draw_nothing_and_a_feature_of_them_alone_has_no_place() -> None:
    n = len(EMOTIONS)
    data = rate(planted_site(examples=()), valence=[None, *[1.0] * (n - 1)], arousal=[None, *[0.5] * (n - 1)])
    unrated, rated = [0.95, *[0.4] * (n - 1)], [0.95, *[0.6] * (n - 1)]
    [plane], columns = pack_planes(data, [unrated, rated, None])
    assert np.isnan(columns["affect_x"][0])
    assert columns["affect_x"][1] == pytest.approx(1.0, abs=0.01)
    assert np.isnan(columns["affect_x"][2])
    assert plane["emotion_x"][0] is None


def test_without_ratings_there_is_no_plane() -> None:
    data = planted_site(examples=())
    assert pack_planes(data, [None] * len(data.nodes)) == ([], {})
    few = rate(data, valence=[0.1, *[None] * (len(EMOTIONS) - 1)], arousal=[0.1, *[None] * (len(EMOTIONS) - 1)])
    assert pack_planes(few, [None] * len(data.nodes))[0] == []
