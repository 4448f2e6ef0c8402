"""The two-level search finds what torch.topk finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emosae.encoders import top_per_row
from emosae.training.top_values import keep_largest, kth_largest, mask_top, top_overall
from emosae.training.world import World


def matrix(n_rows: int, n_columns: int, seed: int, *, ties: bool) -> torch.Tensor:
    values = torch.randn(n_rows, n_columns, generator=torch.Generator().manual_seed(seed))
    return values.round() if ties else values


@given(st.integers(0, 10_000), st.sampled_from([32, 256, 1024, 1000]), st.integers(1, 12), st.booleans())
def test_the_largest_of_each_row_are_torchs(seed: int, n_columns: int, k: int, ties: bool) -> None:
    values = matrix(5, n_columns, seed, ties=ties)
    found, columns = top_per_row(values, k)
    assert torch.equal(found.sort().values, values.topk(k).values.sort().values)
    assert torch.equal(values.gather(1, columns), found)
    assert all(len(set(row)) == k for row in columns.tolist())


@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_the_largest_overall_are_torchs(seed: int, count: int, ties: bool) -> None:
    values = matrix(16, 256, seed, ties=ties)
    found, positions = top_overall(values, count)
    assert torch.equal(found.sort().values, values.flatten().topk(count).values.sort().values)
    assert torch.equal(values.flatten()[positions], found)
    assert len(set(positions.tolist())) == count


@given(st.integers(0, 10_000), st.integers(60, 4000), st.booleans(), st.booleans())
def test_a_guess_from_the_first_rows_changes_nothing(seed: int, count: int, ties: bool, misleading: bool) -> None:
    values = matrix(64, 64, seed, ties=ties)
    if misleading:
        values[:8] += 10
    found, positions = top_overall(values, count)
    assert torch.equal(found.sort().values, values.flatten().topk(count).values.sort().values)
    assert torch.equal(values.flatten()[positions], found)
    assert len(set(positions.tolist())) == count


def test_the_kth_largest_of_one_process_is_torchs() -> None:
    values = matrix(16, 256, 3, ties=False)
    for count in (1, 7, 4096):
        assert kth_largest(values, count, World()) == values.flatten().topk(count).values[-1]


@pytest.mark.parametrize("special", [torch.inf, -torch.inf])
def test_infinities_are_ranked_like_any_value(special: float) -> None:
    values = matrix(3, 1024, 0, ties=False)
    values[1, 40] = special
    assert torch.equal(top_per_row(values, 4)[0].sort().values, values.topk(4).values.sort().values)


@pytest.mark.parametrize("count", [3, 600])
def test_a_number_that_is_none_is_among_the_largest(count: int) -> None:
    values = matrix(64, 64, 0, ties=False)
    values[40, 3] = torch.nan
    assert top_overall(values, count)[0].isnan().sum() == 1


@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_each_group_keeps_its_first_largest(seed: int, k: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(0, 9, (60,), generator=generator).sort().values
    values = matrix(1, 60, seed, ties=ties)[0]
    kept = keep_largest(values, group, 10, k)
    for number in range(10):
        mine = values[group == number]
        expected = set(mine.argsort(descending=True, stable=True)[:k].tolist())
        assert set(kept[group == number].nonzero()[:, 0].tolist()) == expected


@given(st.integers(0, 10_000), st.integers(1, 32), st.booleans())
def test_a_mask_of_the_largest_has_as_many_and_no_larger_one_outside(seed: int, k: int, ties: bool) -> None:
    values = matrix(7, 32, seed, ties=ties)
    mask = mask_top(values, k)
    assert (mask.sum(dim=1) == k).all()
    kept, left = values.masked_fill(mask == 0, torch.inf), values.masked_fill(mask == 1, -torch.inf)
    assert (kept.amin(dim=1) >= left.amax(dim=1)).all()
