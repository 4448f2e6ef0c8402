"""Numbers are written so that they cannot be read as more than they are."""

from __future__ import annotations

import math

import pytest

from emosae.report.figures import Estimate
from emosae.report.wording import (
    join_words,
    say_count,
    say_estimate,
    say_number,
    say_p,
    say_points,
    say_rate,
    say_share,
    start_sentence,
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0%"), (0.001, "<1%"), (0.41, "41%"), (0.999, ">99%"), (1.0, "100%"), (math.nan, "not measured")],
)
def test_a_share_is_never_rounded_to_none_or_all(value: float, said: str) -> None:
    assert say_share(value) == said


def test_estimates_carry_their_interval_if_they_have_one() -> None:
    assert say_estimate(Estimate(0.982, 0.95, 0.991)) == "0.98 [0.95, 0.99]"
    assert say_estimate(Estimate(-0.5, -0.75, -0.25), 1) == "−0.5 [−0.8, −0.2]"
    assert say_estimate(Estimate(0.5)) == "0.50"
    assert say_estimate(Estimate(math.nan, 0.0, 1.0)) == "not measured"
    assert say_rate(Estimate(0.41, 0.344, 0.478)) == "41% [34, 48]"
    assert say_points(Estimate(0.444, 0.352, 0.52)) == "+44 [+35, +52]"
    assert say_points(Estimate(-0.001, -0.052, 0.004)) == "0 [−5, 0]"


def test_small_numbers() -> None:
    assert say_p(0.0) == "0.000"
    assert say_p(2e-7) == "2.0e-07"
    assert say_p(0.0314) == "0.031"
    assert say_number(-1.234) == "−1.23"


def test_lists_and_counts() -> None:
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert say_count(1, "SAE") == "1 SAE"
    assert say_count(1200, "story", "stories") == "1,200 stories"
    assert start_sentence("desperate up") == "Desperate up"
    assert start_sentence("") == ""
