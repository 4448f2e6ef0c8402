"""sae-lens' own path with an error term is the oracle of the closed form; the KL is that of the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted_sae
from spliced import HOOK, VARIANTS, run_sae_lens, save_sae, set_columns
from tiny_models import D_IN, save_tiny_model

from emosae.errors import UserError
from emosae.interventions import (
    Ablate,
    Cap,
    Clamp,
    Floor,
    Intervention,
    Scale,
    Steer,
    edit_fns,
    edit_resid,
    token_kl,
)
from emosae.lm import Prompt, open_lm
from emosae.sae import open_sae

pytestmark = pytest.mark.integration
RESID = 3 * torch.randn(40, D_IN, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("dtype", "noise"), [("float32", 5e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_operation_is_what_sae_lens_does_with_an_error_term(
    name: str, dtype: str, noise: float, tmp_path: Path
) -> None:
    sae, resid = open_sae(save_sae(name, tmp_path / "sae"), dtype=dtype), RESID.to(getattr(torch, dtype))
    fires = sae.encode(resid).gt(0).float().mean(0)
    j, k, m, *_, n = fires.argsort(descending=True).tolist()
    assert 0 < fires[j] < 1
    jointly = {j: 7.0, k: 0.0, m: 2.0, n: 1.0}  # n fires least often
    cases = [
        ([Clamp(j, 7.0)], lambda acts: set_columns(acts, {j: 7.0})),
        ([Ablate(j)], lambda acts: set_columns(acts, {j: 0.0})),
        ([Scale(j, -2.0)], lambda acts: set_columns(acts, {j: -2 * acts[:, j]})),
        ([Floor(j, 2.5)], lambda acts: set_columns(acts, {j: acts[:, j].clamp(min=2.5)})),
        ([Cap(j, 1.5)], lambda acts: set_columns(acts, {j: acts[:, j].clamp(max=1.5)})),
        ([Clamp(*one) for one in jointly.items()], lambda acts: set_columns(acts, jointly)),
        (
            [Scale(j, 3.0), Cap(j, 2.0), Floor(k, 1.0)],
            lambda acts: set_columns(acts, {j: (3 * acts[:, j]).clamp(max=2.0), k: acts[:, k].clamp(min=1.0)}),
        ),
    ]
    for ops, change in cases:
        found, expected = edit_resid(resid, sae, ops), run_sae_lens(sae, resid, change)
        torch.testing.assert_close(found, expected, rtol=0, atol=noise * expected.abs().max().item())
        assert not torch.allclose(found, resid, atol=1e-2)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka batchtopk"])
def test_batchtopk_is_opened_as_what_sae_lens_saves(name: str, tmp_path: Path) -> None:
    dictionary = open_sae(save_sae(name, tmp_path / "sae"))
    assert dictionary.architecture == "jumprelu"
    acts = dictionary.encode(RESID)
    assert acts[acts > 0].min() > 1.5


def test_the_kl_is_that_of_the_definition(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "qwen2"))
    texts = [lm.document("a cat sat on the mat"), lm.document("why!"), lm.document("it was quiet")]
    steer = Steer(planted_sae(D_IN, 4).direction(0), 3.0)
    edits = edit_fns([Intervention(HOOK, None, (steer,))])

    def push(_: Any, args: Any, output: Any) -> Any:
        return output + 3 * steer.direction

    total = 0.0
    for ids in texts:
        with torch.no_grad():
            p = lm.model(torch.tensor([ids])).logits[0].softmax(1)
            handle = lm.blocks[1].register_forward_hook(push)
            q = lm.model(torch.tensor([ids])).logits[0].softmax(1)
            handle.remove()
        total += float((p * (p / q).log()).sum())
    found = token_kl(lm, texts, edits)
    assert found == pytest.approx(total / sum(map(len, texts)), rel=1e-4)
    assert found > 0.01


def test_no_edit_no_kl_and_only_marked_text_is_generated(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "llama"))
    sae = planted_sae(D_IN, 4, hook_name=HOOK)
    ids = np.random.default_rng(0).integers(2, 300, 20).tolist()
    assert token_kl(lm, [ids], edit_fns([])) == 0
    edits = edit_fns([Intervention(HOOK, sae, (Clamp(0, 20.0),), "generated")])
    assert token_kl(lm, [ids], edits) == 0
    assert token_kl(lm, [Prompt((), ()).then(ids, ())], edits) > 0
    with pytest.raises(UserError, match="no text to measure"):
        token_kl(lm, [], edits)
