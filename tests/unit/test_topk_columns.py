"""A few activations of a TopK encoder are those that a full encoding has, ties and noise included."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emosae import topk_columns
from emosae.topk_columns import encode_few


class TopKEncoder(nn.Module):
    """What `encode_few` reads of a sae-lens SAE; the activation is its definition: the k largest, where positive."""

    def __init__(self, d_in: int, d_sae: int, k: int, *, is_rescaled: bool = False, dtype: Any = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.W_enc, self.W_dec = (
            torch.randn(*s, generator=generator).to(dtype) for s in ((d_in, d_sae), (d_sae, d_in))
        )
        self.b_enc = torch.randn(d_sae, generator=generator).to(dtype)
        self.cfg = SimpleNamespace(k=k, rescale_acts_by_decoder_norm=is_rescaled)
        self.n_ranked = 0

    def activation_fn(self, hidden_pre: Tensor) -> Tensor:
        self.n_ranked += len(hidden_pre)
        top = hidden_pre.topk(self.cfg.k, dim=1)
        return torch.zeros_like(hidden_pre).scatter(1, top.indices, top.values.relu())

    def encode(self, sae_in: Tensor) -> Tensor:
        norms = self.W_dec.norm(dim=1) if self.cfg.rescale_acts_by_decoder_norm else 1.0
        return self.activation_fn((sae_in @ self.W_enc + self.b_enc) * norms)


SAE_IN = torch.randn(200, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("is_rescaled", [False, True])
@pytest.mark.parametrize("k", [1, 5, 300])
def test_a_few_columns_are_those_of_a_full_encoding(is_rescaled: bool, k: int) -> None:
    sae = TopKEncoder(12, 1700, k, is_rescaled=is_rescaled)
    full = sae.encode(SAE_IN)
    chosen = torch.cat([full.gt(0).sum(dim=0).topk(3).indices, torch.tensor([0, 1699])])
    sae.n_ranked = 0
    found = encode_few(sae, SAE_IN, chosen)
    torch.testing.assert_close(found, full[:, chosen])
    assert torch.equal(found > 0, full[:, chosen] > 0)
    assert (found > 0).any()
    assert sae.n_ranked < 20


def test_units_of_equal_strength_fire_as_the_full_encoding_has_it() -> None:
    sae = TopKEncoder(12, 600, 4)
    sae.W_enc[:, 550:] = sae.W_enc[:, 7:8]  # 51 units that are one
    sae.b_enc[550:] = sae.b_enc[7]
    full = sae.encode(SAE_IN)
    chosen = torch.tensor([7, 560, 599])
    assert torch.equal(encode_few(sae, SAE_IN, chosen) > 0, full[:, chosen] > 0)


def test_a_unit_that_is_off_costs_few_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = TopKEncoder(12, 4096, 4)
    computed: list[int] = []
    plain = topk_columns._pre_acts

    def count(sae: Any, sae_in: Tensor, columns: Any) -> Tensor:
        found = plain(sae, sae_in, columns)
        computed.append(found.numel())
        return found

    monkeypatch.setattr(topk_columns, "_pre_acts", count)
    sae.b_enc[5] = -100.0
    assert not encode_few(sae, SAE_IN, torch.tensor([5])).any()
    assert sum(computed) == len(SAE_IN)
    computed.clear()
    encode_few(sae, SAE_IN, torch.tensor([6]))
    assert sum(computed) < 0.2 * 4096 * len(SAE_IN)


def test_weights_that_change_are_seen() -> None:
    sae = TopKEncoder(12, 600, 4, is_rescaled=True)
    encode_few(sae, SAE_IN, torch.tensor([3]))
    sae.W_dec[3] *= 50
    found = encode_few(sae, SAE_IN, torch.tensor([3]))
    torch.testing.assert_close(found, sae.encode(SAE_IN)[:, [3]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_number_formats_agree_too(dtype: torch.dtype) -> None:
    sae, sae_in = TopKEncoder(12, 600, 4, dtype=dtype), SAE_IN.to(dtype)
    chosen = sae.encode(sae_in).gt(0).sum(dim=0).topk(9).indices
    for columns in (chosen[:2], chosen):
        torch.testing.assert_close(encode_few(sae, sae_in, columns), sae.encode(sae_in)[:, columns])
