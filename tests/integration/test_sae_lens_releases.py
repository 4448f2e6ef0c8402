"""Published SAEs by release and id, from a cache of the hub, as on a machine without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_cache import D_IN, D_SAE, put_gemma_scope_2, put_gpt2_small_res_jb, put_llama_scope, random_weights

from emosae.errors import UserError
from emosae.sae import open_sae

pytestmark = pytest.mark.integration

RESID = 3 * torch.randn(31, D_IN, generator=torch.Generator().manual_seed(4))
W = random_weights()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in the place of the machine's, and no way to reach anything."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was asked for")

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert constants.HF_HUB_OFFLINE
    return tmp_path


@pytest.mark.parametrize("put", [put_gpt2_small_res_jb, put_gemma_scope_2])
def test_a_release_is_opened_from_the_cache(put: Callable[[Path], tuple[str, str]], cache: Path) -> None:
    source, hook = put(cache)
    sae = open_sae(source)
    assert (sae.name, sae.hook_name, sae.d_in, sae.d_sae) == (source, hook, D_IN, D_SAE)
    assert sae.recorded["l0"] > 0
    is_gemma = "gemma" in source
    hidden_pre = (RESID if is_gemma else RESID - W["b_dec"]) @ W["W_enc"] + W["b_enc"]
    acts = torch.relu(hidden_pre) * (hidden_pre > W["threshold"] if is_gemma else 1)
    assert 0 < (acts > 0).float().mean() < 1
    torch.testing.assert_close(sae.encode(RESID), acts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(acts), acts @ W["W_dec"] + W["b_dec"], rtol=1e-5, atol=1e-5)


def test_the_input_scale_of_llama_scope_is_folded(cache: Path) -> None:
    from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor

    factor = get_norm_scaling_factor("llama_scope_lxr_8x", "l0r_8x")
    assert factor is not None
    source, hook = put_llama_scope(cache, mean_norm=D_IN**0.5 / factor)
    sae = open_sae(source)
    assert (sae.hook_name, sae.recorded) == (hook, {"l0": 50.0})
    W_enc, W_dec, b_enc, b_dec = (W[name].bfloat16().float() for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    hidden_pre = RESID @ W_enc + b_enc
    acts = sae.encode(RESID / factor)
    is_clear = (hidden_pre - 2).abs() > 0.2  # of the threshold, in bfloat16
    assert 0 < (acts > 0).float().mean() < 1
    expected = hidden_pre * (hidden_pre > 2)
    torch.testing.assert_close(acts[is_clear], expected[is_clear], rtol=2e-2, atol=2e-1)
    torch.testing.assert_close(sae.decode(acts), (acts @ W_dec + b_dec) / factor, rtol=2e-2, atol=2e-2)


def test_what_the_cache_lacks_is_refused_by_name(cache: Path) -> None:
    put_gpt2_small_res_jb(cache)
    with pytest.raises(UserError, match=r"SAE gpt2-small-res-jb:blocks\.7\.hook_resid_pre cannot be loaded"):
        open_sae("gpt2-small-res-jb:blocks.7.hook_resid_pre")
