"""sae-lens' own path with an error term is the oracle of the closed form; the KL is that of the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted_sae
from tiny_models import D_IN, save_tiny_model
from torch import Tensor

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
from emosae.sae import SaeLensDictionary, open_sae

pytestmark = pytest.mark.integration
D_SAE = 24
HOOK = "blocks.1.hook_resid_post"
RESID = 3 * torch.randn(40, D_IN, generator=torch.Generator().manual_seed(1))
VARIANTS: dict[str, dict[str, Any]] = {
    "standard": {},
    "jumprelu": {},
    "gated": {},
    "topk": {"k": 4},
    "topk rescaled": {"k": 4, "rescale_acts_by_decoder_norm": True},
    "batchtopk": {"k": 4},
}


def randomize(sae: Any) -> Any:
    generator = torch.Generator().manual_seed(7)
    for key, weight in sae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if key == "threshold" else noise
    return sae


def save_sae(name: str, path: Path) -> Path:
    """An SAE with random weights, as sae-lens saves it; batchtopk as its trainer saves it, which is as jumprelu."""
    from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    if name == "batchtopk":
        sae = randomize(BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, k=4)))
        sae.topk_threshold.fill_(1.5)
        sae.cfg.metadata.hook_name = HOOK
        sae.save_inference_model(path)
    else:
        config = {"architecture": name.split()[0], "d_in": D_IN, "d_sae": D_SAE, "metadata": {"hook_name": HOOK}}
        randomize(SAE.from_dict(config | VARIANTS[name])).save_model(path)
    return path


@pytest.mark.filterwarnings("ignore:Setting use_error_term")
def run_sae_lens(dictionary: SaeLensDictionary, resid: Tensor, change: Any) -> Tensor:
    """Change activations at sae-lens' own hook, with its own error term."""
    theirs = dictionary.sae
    theirs.use_error_term = True
    with torch.no_grad():
        return theirs.run_with_hooks(resid, fwd_hooks=[("hook_sae_acts_post", lambda acts, hook: change(acts))])


def set_columns(acts: Tensor, columns: dict[int, Tensor | float]) -> Tensor:
    acts = acts.clone()
    for feature_idx, values in columns.items():
        acts[:, feature_idx] = values
    return acts


@pytest.mark.parametrize(("dtype", "noise"), [("float32", 5e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_operation_is_what_sae_lens_does_with_an_error_term(
    name: str, dtype: str, noise: float, tmp_path: Path
) -> None:
    sae, resid = open_sae(save_sae(name, tmp_path / "sae"), dtype=dtype), RESID.to(getattr(torch, dtype))
    fires = sae.encode(resid).gt(0).float().mean(0)
    j, k = fires.argsort(descending=True)[:2].tolist()
    assert 0 < fires[j] < 1
    cases = [
        ([Clamp(j, 7.0)], lambda acts: set_columns(acts, {j: 7.0})),
        ([Ablate(j)], lambda acts: set_columns(acts, {j: 0.0})),
        ([Scale(j, -2.0)], lambda acts: set_columns(acts, {j: -2 * acts[:, j]})),
        ([Floor(j, 2.5)], lambda acts: set_columns(acts, {j: acts[:, j].clamp(min=2.5)})),
        ([Cap(j, 1.5)], lambda acts: set_columns(acts, {j: acts[:, j].clamp(max=1.5)})),
        ([Clamp(j, 7.0), Ablate(k)], lambda acts: set_columns(acts, {j: 7.0, k: 0.0})),
    ]
    for ops, change in cases:
        found, expected = edit_resid(resid, sae, ops), run_sae_lens(sae, resid, change)
        torch.testing.assert_close(found, expected, rtol=0, atol=noise * expected.abs().max().item())
        assert not torch.allclose(found, resid, atol=1e-2)


def test_batchtopk_is_opened_as_what_sae_lens_saves(tmp_path: Path) -> None:
    dictionary = open_sae(save_sae("batchtopk", tmp_path / "sae"))
    assert dictionary.architecture == "jumprelu"
    acts = dictionary.encode(RESID)
    assert acts[acts > 0].min() > 1.5


def test_the_kl_is_that_of_the_definition(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "qwen2"))
    texts = [lm.document("a cat sat on the mat"), lm.document("why!"), lm.document("it was quiet")]
    steer = Steer(planted_sae(D_IN, 4).direction(0), 3.0)
    edits = edit_fns([Intervention(HOOK, None, (steer,))])
    total = 0.0
    for ids in texts:
        with torch.no_grad():
            p = lm.model(torch.tensor([ids])).logits[0].softmax(1)
            handle = lm.blocks[1].register_forward_hook(lambda _, args, output: output + 3 * steer.direction)
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
