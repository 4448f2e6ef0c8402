"""A stream draws every row once an epoch, in an order that seed and cursor decide and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emosae.activations import Cursor, MemoryStream
from emosae.errors import UserError


def numbered(n_rows: int, batch_size: int, seed: int = 0, **options: object) -> MemoryStream:
    rows = torch.arange(float(n_rows))[:, None]
    return MemoryStream({"a": rows, "b": 2 * rows}, batch_size, seed, **options)  # type: ignore[arg-type]


def draw(stream: MemoryStream, n_batches: int) -> list[float]:
    return torch.cat([stream.next_batch()["a"] for _ in range(n_batches)])[:, 0].tolist()


def test_every_row_is_drawn_once_an_epoch_in_full_batches() -> None:
    stream = numbered(10, 4)
    drawn = draw(stream, 5)
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    assert stream.cursor == Cursor(2, 0)


def test_rows_of_several_hooks_belong_together() -> None:
    batch = numbered(10, 4).next_batch()
    assert torch.equal(batch["b"], 2 * batch["a"])


def test_a_batch_may_be_larger_than_the_epoch() -> None:
    assert sorted(Counter(draw(numbered(3, 7), 1)).values()) == [2, 2, 3]


def test_the_seed_decides_the_order_and_only_named_rows_are_drawn() -> None:
    rows = np.array([1, 5, 7])
    drawn = [draw(numbered(9, 3, seed, rows=rows), 4) for seed in (0, 0, 1)]
    assert set(drawn[0]) == {1, 5, 7}
    assert drawn[0] == drawn[1] != drawn[2]


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 8))
def test_going_back_to_a_cursor_gives_the_same_batches(n_rows: int, batch_size: int, skipped: int) -> None:
    stream = numbered(n_rows, batch_size)
    for _ in range(skipped):
        stream.next_batch()
    cursor = stream.cursor
    first = draw(stream, 3)
    other = numbered(n_rows, batch_size)
    other.seek(cursor)
    assert draw(other, 3) == first


@given(st.integers(1, 4))
def test_the_parts_of_all_ranks_are_the_batch(n_ranks: int) -> None:
    whole = numbered(20, 8).next_batch()["a"][:, 0].tolist()
    parts = [numbered(20, 8).next_batch(rank, n_ranks)["a"][:, 0].tolist() for rank in range(n_ranks)]
    assert sorted(value for part in parts for value in part) == sorted(whole)


def test_a_fingerprint_tells_rows_order_and_batches_apart() -> None:
    prints = {numbered(*args).fingerprint() for args in ((9, 3), (9, 4), (9, 3, 1), (8, 3))}
    assert len(prints) == 4
    assert numbered(9, 3).fingerprint() in prints


@pytest.mark.parametrize(
    ("resid", "complaint"),
    [
        ({"a": torch.empty(0, 2)}, "no residuals to draw from"),
        ({"a": torch.empty(3, 2), "b": torch.empty(4, 2)}, "different numbers of rows"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_at_once(resid: dict[str, torch.Tensor], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        MemoryStream(resid, 3, 0)
