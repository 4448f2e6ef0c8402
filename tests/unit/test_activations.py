"""Harvest keeps real tokens only, once, in order, however the reading was batched."""

from __future__ import annotations

import pytest
import torch
from planted import BOS, HOOK, planted_lm

from emosae.activations import find_real_tokens, harvest, read_tokens
from emosae.errors import UserError

WORDS = ("rain", "fell", "on", "the", "roof")
VECTORS = torch.randn(len(WORDS), 3, generator=torch.Generator().manual_seed(1))
TEXTS = ("rain", "the rain fell on the roof", "fell fell", "on the roof")


def test_harvest_keeps_the_tokens_of_every_text_in_order_and_no_bos() -> None:
    lm = planted_lm(VECTORS, WORDS)
    words = [word for text in TEXTS for word in text.split()]
    expected = torch.stack([VECTORS[WORDS.index(word)] for word in words])
    resid = harvest(lm, [lm.document(text) for text in TEXTS], [HOOK])[HOOK]
    torch.testing.assert_close(resid, expected, rtol=0, atol=0)


def test_harvest_reads_several_hooks_and_their_rows_belong_together() -> None:
    lm = planted_lm(VECTORS, WORDS)
    deeper = "blocks.1.hook_resid_post"
    resid = harvest(lm, [lm.document(text) for text in TEXTS], [HOOK, deeper])
    torch.testing.assert_close(resid[deeper], 2 * resid[HOOK], rtol=0, atol=0)


@pytest.mark.parametrize("batch_tokens", [1, 5, 9])
def test_how_texts_are_batched_changes_nothing(batch_tokens: int) -> None:
    lm = planted_lm(VECTORS, WORDS)
    documents = [lm.document(text) for text in TEXTS]
    whole, split = harvest(lm, documents, [HOOK]), harvest(lm, documents, [HOOK], batch_tokens=batch_tokens)
    assert torch.equal(whole[HOOK], split[HOOK])


def test_special_tokens_inside_a_text_are_left_out() -> None:
    lm = planted_lm(VECTORS, WORDS)
    document = [BOS, 1, BOS, 2]
    assert find_real_tokens(lm, document) == [1, 3]
    assert torch.equal(harvest(lm, [document], [HOOK])[HOOK], VECTORS[:2])


def test_skipped_tokens_are_counted_over_real_tokens() -> None:
    lm = planted_lm(VECTORS, WORDS)
    ((_, resid),) = read_tokens(lm, [[BOS, BOS, 1, 2, 3]], [HOOK], skip_tokens=1)
    assert torch.equal(resid[HOOK], VECTORS[1:3])


def test_texts_without_tokens_are_refused_by_index() -> None:
    lm = planted_lm(VECTORS, WORDS)
    with pytest.raises(UserError, match=r"documents without tokens after the first 0: \[1, 3\]"):
        harvest(lm, [[BOS, 1], [BOS], [BOS, 2], []], [HOOK])


def test_residuals_that_overflowed_are_refused() -> None:
    lm = planted_lm(torch.full((1, 2), torch.inf), ["rain"])
    with pytest.raises(UserError, match=f"{HOOK}: residuals of document 0 are not finite"):
        harvest(lm, [lm.document("rain")], [HOOK])
