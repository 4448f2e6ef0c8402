"""Tokens are drawn by inverting a distribution, and rows that ended leave their batch without disorder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import planted_lm

from emosae.errors import UserError
from emosae.sampling import StopRule, choose_tokens
from emosae.writing import close_gaps

ALMOST_ONE = np.nextafter(1.0, 0.0)


def draw(logits: list[float], uniform: float, temperature: float = 1.0) -> int:
    found = choose_tokens(torch.tensor([logits]), torch.tensor([uniform], dtype=torch.float64), temperature)
    return int(found[0])


@given(
    d_vocab=st.integers(1, 70),
    seed=st.integers(0, 1000),
    uniform=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_a_draw_inverts_the_distribution(d_vocab: int, seed: int, uniform: float, temperature: float) -> None:
    logits = 4 * np.random.default_rng(seed).standard_normal(d_vocab)
    weights = np.exp((logits - logits.max()) / temperature)
    cumulative = weights.cumsum() / weights.sum()
    token = draw(logits.tolist(), uniform, temperature)
    assert (cumulative[token - 1] if token else 0.0) - 1e-6 <= uniform <= cumulative[token] + 1e-6


@given(seed=st.integers(0, 1000), uniform=st.sampled_from([0.0, 0.5, float(ALMOST_ONE)]), d_vocab=st.integers(2, 70))
def test_what_has_no_probability_is_never_drawn(seed: int, uniform: float, d_vocab: int) -> None:
    rng = np.random.default_rng(seed)
    logits = np.where(rng.random(d_vocab) < 0.5, -np.inf, rng.standard_normal(d_vocab))
    logits[rng.integers(d_vocab)] = 0.0
    assert np.isfinite(logits[draw(logits.tolist(), uniform)])


def test_equal_logits_share_the_unit_interval_in_the_order_of_ids() -> None:
    assert [draw([0.0] * 10, (token + 0.5) / 10) for token in range(10)] == list(range(10))


def test_temperature_zero_is_the_largest_logit() -> None:
    assert draw([0.0, 3.0, 2.9], 0.01, 0.0) == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers_are_refused(bad: float, temperature: float) -> None:
    with pytest.raises(UserError, match="logits are not finite"):
        draw([0.0, bad, 1.0], 0.5, temperature)


def test_shares_of_the_unit_interval_are_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5])
    uniforms = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    tokens = choose_tokens(logits.expand(len(uniforms), -1), uniforms, 1.0)
    shares = tokens.bincount(minlength=5) / len(uniforms)
    torch.testing.assert_close(shares, logits.softmax(0), atol=2e-4, rtol=0)


class Bytes:
    """A tokenizer whose tokens are bytes."""

    chat_template = None

    def decode(self, ids: list[int], **_: object) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


LM = replace(planted_lm(torch.zeros(1, 2), ["word"]), tokenizer=Bytes())


@pytest.mark.parametrize(
    ("text", "stop_text", "ended"),
    [
        ("the end", ["end"], True),
        ("the end.", ["end"], True),
        ("the en", ["end"], False),
        ("dodo", ["end", "odo"], True),
        ("fin \u2205", ["\u2205"], True),
        ("a b ", ["b "], True),
    ],
)
def test_a_stop_text_ends_a_row_with_the_token_that_completes_it(text: str, stop_text: list[str], ended: bool) -> None:
    rule, ids = StopRule(LM, {0}, stop_text), list(text.encode())
    ends = [rule.ends(ids[: n + 1]) for n in range(len(ids))]
    assert any(ends) == ended
    first = min(len(text[: text.find(stop)] + stop) for stop in stop_text if stop in text) if ended else 0
    assert not ended or len(bytes(ids[: ends.index(True) + 1]).decode()) == first
    assert rule.cut(ids) == (text[: min(text.find(stop) for stop in stop_text if stop in text)] if ended else text)


def test_a_stop_id_ends_a_row_and_is_no_text() -> None:
    rule = StopRule(LM, {0, 3}, ())
    assert [rule.ends(ids) for ids in ([3, 65], [65, 3], [66, 0])] == [False, True, True]
    assert (rule.cut([65, 66, 3]), rule.cut([65, 66])) == ("AB", "AB")


@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_gaps_are_closed_by_moving_few_rows_from_behind(is_open: list[bool]) -> None:
    kept = close_gaps(torch.tensor(is_open)).tolist()
    assert sorted(kept) == [row for row, stays in enumerate(is_open) if stays]
    assert all(row == place or row >= len(kept) for place, row in enumerate(kept))
