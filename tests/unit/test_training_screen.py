"""Screening in a coarser number format leaves nothing out that fp32 would keep."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from emosae.training import screen
from emosae.training.screen import Ranking, screen_batch, screen_tokens
from emosae.training.top_values import keep_largest
from emosae.training.world import World

FORMATS = [torch.bfloat16, torch.float32]
KINDS = ["plain", "ties", "near ties", "cancelling", "uneven rows", "large bias", "few positive"]


def planted(kind: str, seed: int, *, n_tokens: int = 7, d_in: int = 24, d_sae: int = 256) -> Ranking:
    """Activations that are hard to rank: near ties differ by less than bf16 tells apart and more than fp32 rounds.

    Those that cancel are small sums of large terms, so that bf16 is off by about as much as they differ. Integers have
    no rounding error in bf16 for a large bias to hide behind.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens, rows = (torch.randn(n, d_in, generator=generator) for n in (n_tokens, d_sae))
    bias = torch.randn(d_sae, generator=generator)
    if kind == "ties":
        tokens, rows, bias = tokens.round(), rows.round(), bias.round()
    elif kind == "near ties":
        rows = rows[:4].repeat(d_sae // 4, 1) + 3e-5 * rows
        bias = bias[:4].repeat(d_sae // 4)
    elif kind == "cancelling":
        tokens[:, :2] += 500
        rows[:, :2] = torch.tensor([1.0, -1.0]) + 0.01 * rows[:, :2]
    elif kind == "uneven rows":
        rows *= torch.logspace(-6, 6, d_sae)[torch.randperm(d_sae, generator=generator), None]
    elif kind == "large bias":
        tokens, rows, bias = tokens.round(), rows.round(), 1000 + bias
    elif kind == "few positive":
        bias = bias - 25
    return Ranking(tokens, rows, bias)


def everywhere(ranking: Ranking) -> tuple[Tensor, Tensor, Tensor]:
    token, feature = torch.ones(len(ranking.tokens), len(ranking.rows)).nonzero(as_tuple=True)
    return token, feature, ranking.at(token, feature)


def first_largest(values: Tensor, k: int) -> Tensor:
    """Mask of the k largest positive values of each row; of equal ones the first."""
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, order, True) & (values > 0)


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from([256, 100, 4]), st.integers(1, 40))
def test_each_token_keeps_what_a_look_at_everything_in_fp32_keeps(seed: int, kind: str, d_sae: int, k: int) -> None:
    ranking, k = planted(kind, seed, d_sae=d_sae), min(k, d_sae)
    expected = first_largest(everywhere(ranking)[2].view(7, d_sae), k)
    for dtype in FORMATS:
        token, feature = screen_tokens(ranking, k, dtype)
        values = ranking.at(token, feature)
        kept = keep_largest(values, token, 7, k) & (values > 0)
        assert torch.equal(token[kept] * d_sae + feature[kept], expected.flatten().nonzero()[:, 0])


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from([256, 100]), st.integers(1, 7 * 40))
def test_a_batch_keeps_what_a_look_at_everything_in_fp32_keeps(seed: int, kind: str, d_sae: int, count: int) -> None:
    ranking = planted(kind, seed, d_sae=d_sae)
    expected = first_largest(everywhere(ranking)[2][None], count)[0]
    for dtype in FORMATS:
        token, feature = screen_batch(ranking, count, dtype, World())
        values = ranking.at(token, feature)
        kept = keep_largest(values, torch.zeros_like(token), 1, count) & (values > 0)
        assert torch.equal(token[kept] * d_sae + feature[kept], expected.nonzero()[:, 0])


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from(FORMATS))
def test_no_activation_is_outside_its_bounds(seed: int, kind: str, dtype: torch.dtype) -> None:
    ranking = planted(kind, seed, d_in=200)
    bounds = screen._bound(ranking, dtype)
    exact = ranking.tokens.double() @ ranking.rows.double().T + ranking.bias.double()
    for values in (exact, everywhere(ranking)[2].view_as(exact).double()):
        rounding = 0.51 * torch.finfo(dtype).eps * bounds.above.double().abs()
        assert (values <= bounds.above.double() + rounding).all()
        assert (values >= bounds.above.double() - rounding - 2 * bounds.slack[:, None].double() * bounds.size).all()


@given(st.integers(0, 10_000))
def test_an_activation_is_the_same_to_the_bit_whichever_others_are_computed(seed: int) -> None:
    ranking = planted("plain", seed, d_in=500)
    token, feature, values = everywhere(ranking)
    some = torch.rand(len(token), generator=torch.Generator().manual_seed(seed)) < 0.1
    assert torch.equal(ranking.at(token[some], feature[some]), values[some])
    later = Ranking(ranking.tokens[6:].clone(), ranking.rows, ranking.bias)
    assert torch.equal(everywhere(later)[2], values[token == 6])


def test_only_crowded_tokens_are_looked_at_again_and_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2048, 24, generator=generator)
    rows[:1024] = rows[0] + 3e-4 * rows[:1024]
    tokens = torch.randn(6, 24, generator=generator)
    tokens[2], tokens[4] = 3 * rows[0], 2 * rows[0]
    ranking = Ranking(tokens, rows, torch.zeros(2048))
    seen, plain = [], screen._bound
    monkeypatch.setattr(
        screen, "_bound", lambda what, dtype: seen.append((dtype, len(what.tokens))) or plain(what, dtype)
    )
    token, feature = screen_tokens(ranking, 8, torch.bfloat16)
    (first, again) = seen
    assert first == (torch.bfloat16, 6)
    assert again[0] == torch.float32
    assert 2 <= again[1] < 6
    assert (torch.bincount(token, minlength=6) < 100).all()
    positions = token * 2048 + feature
    assert torch.equal(positions, positions.sort().values)
    assert set(first_largest(everywhere(ranking)[2].view(6, 2048), 8).flatten().nonzero()[:, 0].tolist()) <= set(
        positions.tolist()
    )
    seen.clear()
    screen_batch(Ranking(tokens[[2, 4]], rows, torch.zeros(2048)), 16, torch.bfloat16, World())
    assert [dtype for dtype, _ in seen] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize(("bf16_seconds", "expected"), [(0.001, torch.bfloat16), (0.009, torch.float32)])
def test_the_probe_takes_the_quicker_format_and_says_so_once(
    bf16_seconds: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        screen, "_time_product", lambda left, right: bf16_seconds if left.dtype == torch.bfloat16 else 0.01
    )
    screen.quickest_format.cache_clear()
    with caplog.at_level(logging.INFO, logger="emosae"):
        assert screen.quickest_format() == screen.quickest_format() == expected
    screen.quickest_format.cache_clear()
    (line,) = caplog.messages
    assert line.endswith(f"a product takes {1e3 * bf16_seconds:.2f} ms in bf16 and 10.00 ms in fp32")
