"""sae-lens' own way of changing features: encode, change activations, decode, add the error. For any architecture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tiny_models import D_IN
from torch import Tensor

from emosae.sae import SaeLensDictionary

D_SAE = 24
HOOK = "blocks.1.hook_resid_post"
VARIANTS: dict[str, dict[str, Any]] = {
    "standard": {},
    "jumprelu": {},
    "gated": {},
    "topk": {"k": 4},
    "topk rescaled": {"k": 4, "rescale_acts_by_decoder_norm": True},
    "batchtopk": {"k": 4},
    "matryoshka batchtopk": {"k": 4, "matryoshka_widths": [8, D_SAE]},
}


def _randomize(sae: Any) -> Any:
    generator = torch.Generator().manual_seed(7)
    for key, weight in sae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if key == "threshold" else noise
    return sae


def save_sae(name: str, path: Path) -> Path:
    """An SAE with random weights, as sae-lens saves it; batchtopk as its trainer saves it, which is as jumprelu."""
    from sae_lens import (
        SAE,
        BatchTopKTrainingSAE,
        BatchTopKTrainingSAEConfig,
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )

    kinds = {
        "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
        "matryoshka batchtopk": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
    }
    if name in kinds:
        training_sae, training_config = kinds[name]
        sae = _randomize(training_sae(training_config(d_in=D_IN, d_sae=D_SAE, **VARIANTS[name])))
        sae.topk_threshold.fill_(1.5)
        sae.cfg.metadata.hook_name = HOOK
        sae.save_inference_model(path)
    else:
        config = {"architecture": name.split()[0], "d_in": D_IN, "d_sae": D_SAE, "metadata": {"hook_name": HOOK}}
        _randomize(SAE.from_dict(config | VARIANTS[name])).save_model(path)
    return path


def run_sae_lens(dictionary: SaeLensDictionary, resid: Tensor, change: Any) -> Tensor:
    """Change activations at sae-lens' own hook, with its own error term."""
    theirs = dictionary.sae
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting use_error_term", DeprecationWarning)
        theirs.use_error_term = True
        return theirs.run_with_hooks(resid, fwd_hooks=[("hook_sae_acts_post", lambda acts, hook: change(acts))])


def set_columns(acts: Tensor, columns: Mapping[int, Tensor | float]) -> Tensor:
    acts = acts.clone()
    for feature_idx, values in columns.items():
        acts[:, feature_idx] = values
    return acts
