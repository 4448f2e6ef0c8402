"""Batched generation with one feature clamped: against the same generation unclamped, and sae-lens' spliced path.

The model is a Llama with random weights (42 million parameters beside its embeddings, unless asked otherwise), the SAEs
have random weights too. Every contender writes the same number of tokens in every row with emosae's generator. The
spliced path is sae-lens' SAE in the residual stream with its error term and a hook that sets one activation. TopK is
timed with a feature that is mostly off, and with one that is always on, which has to be compared with every other unit.

`ratios` holds two comparisons of each kind and batch: `KIND bN`, how many times longer the unclamped generation took
(0.97: clamping costs 3%), and `KIND bN: sae-lens spliced`, how many times longer the spliced one took.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measure

BATCHES = (1, 32)
CONTEXT = 128
VALUE = 5.0


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(
        __doc__,
        d_in=512,
        layers=8,
        d_mlp=1408,
        d_vocab=32_000,
        d_sae=16_384,
        k=32,
        prompt=16,
        tokens=32,
        device_index=-1,
    )
    lm = build_model(arguments)
    saes = {kind: build_sae(kind, lm, arguments) for kind in ("standard", "jumprelu", "topk")}
    cases = [("standard", "standard", 0), ("jumprelu", "jumprelu", 0)]
    mostly_off, always_on = find_extremes(lm, saes["topk"], arguments)
    cases += [("topk mostly off", "topk", mostly_off), ("topk always on", "topk", always_on)]
    comparisons = []
    for batch in BATCHES:
        for name, kind, feature_idx in cases:
            contenders = build_contenders(lm, saes[kind], feature_idx, batch, arguments)
            comparisons.append(measure.run(f"{name} b{batch}", contenders, arguments.rounds))
    measure.report("clamp", comparisons, arguments)
    for comparison in comparisons:
        cost = {name: statistics.median(times) for name, times in comparison.cpu_rounds.items()}
        plain, n_tokens = cost["unclamped"], int(comparison.name.rsplit("b", 1)[1]) * arguments.tokens
        rate = n_tokens / comparison.seconds["emosae clamped"]
        shares = ", ".join(f"{name} {seconds / plain:.3f}" for name, seconds in cost.items())
        print(f"  {comparison.name:20}  {rate:8.1f} tokens/s clamped; processor time over unclamped: {shares}")


def build_model(arguments: argparse.Namespace) -> Any:
    """The Llama, as emosae opens models."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from emosae.lm import LanguageModel

    device = "cpu" if arguments.device_index < 0 else f"cuda:{arguments.device_index}"
    config = LlamaConfig(
        vocab_size=arguments.d_vocab,
        hidden_size=arguments.d_in,
        intermediate_size=arguments.d_mlp,
        num_hidden_layers=arguments.layers,
        num_attention_heads=8,
        max_position_embeddings=CONTEXT,
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    model.to(device).eval().requires_grad_(False)
    n_parameters = sum(weight.numel() for weight in model.parameters()) - model.get_input_embeddings().weight.numel()
    print(f"model: {n_parameters / 1e6:.1f} million parameters read per token, on {device}", file=sys.stderr)
    tokenizer = SimpleNamespace(decode=lambda ids, **_: "", chat_template=None)
    nothing: frozenset[int] = frozenset()
    return LanguageModel(
        name="random llama",
        revision="local",
        weight_hash="random",
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype="float32",
        d_in=arguments.d_in,
        n_layers=arguments.layers,
        context=CONTEXT,
        special_ids=nothing,
        stop_ids=nothing,
        blocks=tuple(model.model.layers),
    )


def build_sae(kind: str, lm: Any, arguments: argparse.Namespace) -> Any:
    """An SAE of random weights as emosae opens it from disk, at the middle of the model."""
    import tempfile

    import torch
    from sae_lens import SAE

    from emosae.sae import open_sae

    hook_name = f"blocks.{arguments.layers // 2}.hook_resid_post"
    shape = {"d_in": arguments.d_in, "d_sae": arguments.d_sae, "metadata": {"hook_name": hook_name}}
    sae = SAE.from_dict({"architecture": kind, **shape, **({"k": arguments.k} if kind == "topk" else {})})
    generator = torch.Generator().manual_seed(1)
    for name, weight in sae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if name == "threshold" else noise / arguments.d_in**0.5
    with tempfile.TemporaryDirectory() as folder:
        sae.save_model(Path(folder) / "sae")
        return open_sae(Path(folder) / "sae", device=lm.device)


def find_extremes(lm: Any, dictionary: Any, arguments: argparse.Namespace) -> tuple[int, int]:
    """A TopK feature that fires on under one token in twenty, and one whose bias is raised until it always fires."""
    import torch

    from emosae.lm import read_resid

    pages = read_resid(lm, draw_prompts(8, arguments), [dictionary.hook_name])
    fires = torch.cat([dictionary.encode(resid[dictionary.hook_name]) > 0 for _, resid in pages])
    rates = fires.float().mean(dim=0)
    rare = int(((rates > 0) & (rates < 0.05)).nonzero()[0, 0])
    always = (rare + 1) % arguments.d_sae
    dictionary.sae.b_enc.data[always] = 100.0
    return rare, always


def draw_prompts(batch: int, arguments: argparse.Namespace) -> list[list[int]]:
    """Random ids, the same for every contender."""
    import numpy as np

    return np.random.default_rng(2).integers(0, arguments.d_vocab, (batch, arguments.prompt)).tolist()


def splice(dictionary: Any, feature_idx: int) -> Callable[[Any, Any], Any]:
    """The SAE in the model's stream as sae-lens puts it there, its error term added, with a hook that clamps."""
    import copy

    sae = copy.deepcopy(dictionary.sae)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sae.use_error_term = True

    def clamp(acts: Any, hook: Any) -> Any:
        acts[..., feature_idx] = VALUE
        return acts

    sae.add_hook("hook_sae_acts_post", clamp)
    return lambda resid, _: sae(resid)


def build_contenders(
    lm: Any, dictionary: Any, feature_idx: int, batch: int, arguments: argparse.Namespace
) -> Mapping[str, Callable[[], object]]:
    """The same generation three times over."""
    import numpy as np

    from emosae.generation import generate
    from emosae.interventions import Clamp, Intervention, edit_fns

    prompts, hook = draw_prompts(batch, arguments), dictionary.hook_name
    clamped = edit_fns([Intervention(hook, dictionary, (Clamp(feature_idx, VALUE),))])

    def writer(edits: Mapping[str, Any]) -> Callable[[], object]:
        def write() -> object:
            rngs = [np.random.default_rng(row) for row in range(batch)]
            return generate(lm, prompts, max_new_tokens=arguments.tokens, rngs=rngs, edits=edits)

        return write

    spliced = {hook: splice(dictionary, feature_idx)}
    ours, theirs = writer(clamped), writer(spliced)
    if [row.ids for row in ours()] != [row.ids for row in theirs()]:  # type: ignore[attr-defined]
        print(f"{dictionary.architecture} b{batch}: float noise turned a token in one of the two", file=sys.stderr)
    return {"emosae clamped": ours, "unclamped": writer({}), "sae-lens spliced": theirs}


if __name__ == "__main__":
    main()
