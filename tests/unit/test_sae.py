"""What a dictionary must be, how its quality is measured, and what is refused before sae-lens is even imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import planted_resid, planted_sae

from emosae.errors import UserError
from emosae.sae import Dictionary, encode_blocks, evaluate_sae, open_sae


def test_the_planted_toy_is_a_dictionary_whose_directions_are_its_decoder() -> None:
    sae = planted_sae(5, 3, b_dec=torch.arange(5.0))
    assert isinstance(sae, Dictionary)
    for feature_idx in range(3):
        added = sae.decode(torch.eye(3)[[feature_idx]]) - sae.decode(torch.zeros(1, 3))
        torch.testing.assert_close(sae.direction(feature_idx), added[0])


@pytest.mark.parametrize("max_elements", [1, 10, 10_000])
def test_encoding_in_blocks_is_encoding(max_elements: int) -> None:
    sae, (resid, _) = planted_sae(6, 4), planted_resid(23, 6, 4)
    blocks = list(encode_blocks(sae, resid, max_elements=max_elements))
    assert [start for start, _ in blocks] == [sum(len(acts) for _, acts in blocks[:n]) for n in range(len(blocks))]
    assert all(len(acts) * sae.d_sae <= max(max_elements, sae.d_sae) for _, acts in blocks)
    torch.testing.assert_close(torch.cat([acts for _, acts in blocks]), sae.encode(resid))


def test_an_exact_dictionary_has_no_unexplained_variance() -> None:
    sae = planted_sae(6, 4, dtype=torch.float64)
    acts = torch.tensor([[1.0, 0, 0, 0], [2, 3, 0, 0], [0, 0, 0.5, 0]], dtype=torch.float64)
    quality = evaluate_sae(sae, sae.decode(acts))
    assert quality.fvu == pytest.approx(0, abs=1e-20)
    norms = acts.norm(dim=1)
    assert quality.mean_resid_norm == pytest.approx(norms.mean().item())
    assert quality.n_tokens == 3


def test_fvu_is_one_for_the_mean_and_four_for_its_mirror_image() -> None:
    resid = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    sae = replace(planted_sae(3, 2, b_dec=resid.mean(0)), W_dec=torch.zeros(2, 3))
    assert evaluate_sae(sae, resid).fvu == pytest.approx(1, abs=1e-6)
    mirror = replace(sae, W_enc=torch.cat([torch.eye(3), -torch.eye(3)], 1), b_enc=torch.zeros(6))
    mirror = replace(mirror, W_dec=-mirror.W_enc.T.contiguous())
    assert evaluate_sae(mirror, resid).fvu == pytest.approx(4, abs=1e-5)


def test_l0_and_dead_features_count_firing() -> None:
    sae = planted_sae(4, 4)
    acts = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0]])
    quality = evaluate_sae(replace(sae, threshold=0.01), sae.decode(acts))
    assert (quality.l0, quality.dead_fraction) == (1.5, 0.5)


def test_the_size_of_blocks_does_not_move_quality() -> None:
    sae, (resid, _) = planted_sae(6, 9), planted_resid(40, 6, 9)
    whole, split = evaluate_sae(sae, resid), evaluate_sae(sae, resid, max_elements=9)
    assert split.fvu == pytest.approx(whole.fvu, rel=1e-6)
    assert (split.l0, split.dead_fraction, split.n_tokens) == (whole.l0, whole.dead_fraction, whole.n_tokens)


def test_no_residuals_no_quality() -> None:
    with pytest.raises(UserError, match="SAE planted: no residuals"):
        evaluate_sae(planted_sae(3, 2), torch.empty(0, 3))


def test_what_is_no_sae_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cfg.json and no sae_weights.safetensors"):
        open_sae(tmp_path)
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(UserError, match=r"it has no sae_weights.safetensors"):
        open_sae(tmp_path)
    with pytest.raises(UserError, match="nowhere is neither a directory nor a published release:id"):
        open_sae("nowhere")
