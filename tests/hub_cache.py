"""A Hugging Face cache such as a machine without a network has: releases in their own layouts, with tiny weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

D_IN, D_SAE = 12, 20
_COMMIT = "0" * 40


def random_weights() -> dict[str, Tensor]:
    """Encoder, decoder, biases and thresholds under sae-lens' names."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,), "b_dec": (D_IN,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return weights | {"threshold": torch.rand(D_SAE, generator=generator)}


def _put(
    cache: Path, repository: str, files: Mapping[str, Mapping[str, Any] | dict[str, Tensor]], *missing: str
) -> None:
    """Files of one repository; a mapping of tensors becomes safetensors. `missing` is known not to exist."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs/main").write_text(_COMMIT)
    for name, content in files.items():
        path = home / "snapshots" / _COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".json"):
            path.write_text(json.dumps(content))
        else:
            save_file({key: value.contiguous() for key, value in content.items()}, path)
    for name in missing:
        path = home / ".no_exist" / _COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def put_gpt2_small_res_jb(cache: Path) -> tuple[str, str]:
    """`cfg.json` and `sae_weights.safetensors` in a folder that is called after its hook."""
    hook = "blocks.8.hook_resid_pre"
    config = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "model_name": "gpt2-small", "hook_point": hook}
    weights = {name: weight for name, weight in random_weights().items() if name != "threshold"}
    files = {f"{hook}/cfg.json": config, f"{hook}/sae_weights.safetensors": weights}
    _put(cache, "jbloom/GPT2-Small-SAEs-Reformatted", files, f"{hook}/sparsity.safetensors")
    return f"gpt2-small-res-jb:{hook}", hook


def put_gemma_scope_2(cache: Path) -> tuple[str, str]:
    """`config.json` and `params.safetensors`, weights in lower case."""
    sae_id = "layer_17_width_16k_l0_medium"
    config = {"architecture": "jump_relu", "model_name": "gemma-v3-4b-it", "hf_hook_point_in": "model.layers.17.output"}
    params = {name.lower(): weight for name, weight in random_weights().items()}
    folder = f"resid_post/{sae_id}"
    _put(
        cache,
        "google/gemma-scope-2-4b-it",
        {f"{folder}/config.json": config, f"{folder}/params.safetensors": params},
    )
    return f"gemma-scope-2-4b-it-res:{sae_id}", "blocks.17.hook_resid_post"


def put_llama_scope(cache: Path, mean_norm: float) -> tuple[str, str]:
    """`hyperparams.json` and `checkpoints/final.safetensors`, transposed; input scaled to norm sqrt(d_in)."""
    folder, hook = "Llama3_1-8B-Base-L0R-8x", "blocks.0.hook_resid_post"
    weights = random_weights()
    hyperparams = {
        "d_model": D_IN,
        "d_sae": D_SAE,
        "hook_point_in": hook,
        "jump_relu_threshold": 2 * mean_norm / D_IN**0.5,  # 2 in scaled units
        "dataset_average_activation_norm": {"in": mean_norm},
    }
    tensors = {
        "encoder.weight": weights["W_enc"].T,
        "decoder.weight": weights["W_dec"].T,
        "encoder.bias": weights["b_enc"],
        "decoder.bias": weights["b_dec"],
    }
    files = {f"{folder}/hyperparams.json": hyperparams, f"{folder}/checkpoints/final.safetensors": tensors}
    _put(cache, "fnlp/Llama3_1-8B-Base-LXR-8x", files)
    return "llama_scope_lxr_8x:l0r_8x", hook
