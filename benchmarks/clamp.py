"""Batched generation with one feature clamped: against the same generation unclamped, and sae-lens' spliced path.

The model is a Llama with random weights: 768 wide, 8 layers, 81 million parameters read per token, unless asked
otherwise; the SAEs have 16,384 features and random weights too. Every contender writes the same number of tokens in
every row with emosae's generator. The spliced path is sae-lens' SAE in the residual stream with its error term and a
hook that sets one activation. TopK is timed with a feature that is mostly off, and with one that is always on, which
has to be compared with every other unit.

The three write side by side, two tokens each in turn, so that whatever else the machine does meets all of them alike;
a figure is the median over the pairs of such bits, 48 at batch 1 and 24 at 32. About four minutes on a quiet machine;
`--quick` shows, with a small model, that it runs, and nothing else: the smaller the model, the more a clamp costs.

`ratios` holds two comparisons of each kind and batch: `KIND bN`, how many times longer the unclamped generation took
(0.97: clamping costs 3%), and `KIND bN: sae-lens spliced`, how many times longer the spliced one took. `costs` says
what clamping costs with its 95% interval, by the clock and in processor time, the goal, and whether it is met.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measure

BATCHES = (1, 32)
CONTEXT = 128
VALUE = 5.0


GOALS = {"standard": 0.03, "jumprelu": 0.03, "topk mostly off": 0.05, "topk always on": 0.25}
"""Most that clamping may cost, as a share of the unclamped time."""
BIT = 2
"""Tokens of each row that a contender writes before the next one's turn."""


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(
        __doc__,
        quick={"rounds": 1, "d_in": 256, "d_mlp": 512, "layers": 4, "d_vocab": 4_000, "d_sae": 4_096, "tokens": 10},
        rounds=3,
        d_in=768,
        layers=8,
        d_mlp=2048,
        d_vocab=32_000,
        d_sae=16_384,
        k=32,
        prompt=16,
        tokens=18,
        device_index=-1,
    )
    lm = build_model(arguments)
    comparisons = []
    for name, kind in (("standard",) * 2, ("jumprelu",) * 2, ("topk mostly off", "topk"), ("topk always on", "topk")):
        dictionary = build_sae(kind, lm, arguments)
        feature_idx = find_extremes(lm, dictionary, arguments)[name == "topk always on"] if kind == "topk" else 0
        for batch in BATCHES:
            contenders = build_contenders(lm, dictionary, feature_idx, batch, arguments)
            rounds = arguments.rounds * (2 if batch == 1 else 1)  # a small batch is written quickly
            comparisons.append(measure.run_in_turns(f"{name} b{batch}", contenders, rounds))
    costs = {comparison.name: say_cost(comparison) for comparison in comparisons}
    measure.report("clamp", comparisons, arguments, costs=costs)
    for name, cost in costs.items():
        said = {key: "{:+.1%} [{:+.1%}, {:+.1%}]".format(*cost[key]) for key in ("clock", "cpu")}
        print(f"  {name:20}  clamping costs {said['clock']}, goal {cost['goal']:.0%}: {cost['by clock']}")
        print(f"  {'':20}  in processor time {said['cpu']}: {cost['by cpu']}")


def say_cost(comparison: measure.Comparison) -> dict[str, Any]:
    """What clamping costs as a share of the unclamped time, with intervals, and what that says of the goal."""
    goal = GOALS[comparison.name.rsplit(" ", 1)[0]]
    cost = {}
    for key, rounds in (("clock", comparison.rounds), ("cpu", comparison.cpu_rounds)):
        cost[key] = [share - 1 for share in measure.compare_pairs(rounds["unclamped"], rounds["emosae clamped"])]
    verdicts = {f"by {key}": _judge(share, goal) for key, share in cost.items()}
    return {**cost, **verdicts, "goal": goal, "bits": len(comparison.rounds["unclamped"])}


def _judge(share: list[float], goal: float) -> str:
    _, lo, hi = share
    return "met" if hi <= goal else "missed" if lo > goal else "too noisy to say"


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
) -> Mapping[str, Callable[[], Iterator[object]]]:
    """The same generation three times over, bit by bit."""
    import numpy as np

    from emosae.interventions import Clamp, Intervention, edit_fns
    from emosae.prompts import Prompt
    from emosae.sampling import StopRule
    from emosae.writing import Request, Writer

    prompts, hook = draw_prompts(batch, arguments), dictionary.hook_name
    clamped = edit_fns([Intervention(hook, dictionary, (Clamp(feature_idx, VALUE),))])

    def opener(edits: Mapping[str, Any]) -> Callable[[], Iterator[object]]:
        def write() -> Iterator[object]:
            writer, stops = Writer(lm, edits), StopRule(lm, (), ())
            for row, ids in enumerate(prompts):
                uniforms = np.random.default_rng(row).random(arguments.tokens)
                writer.add(Request(row, Prompt(tuple(ids)), uniforms, stops))
            while not writer.is_idle:
                yield [one.generation.ids for _ in range(BIT) for one in writer.step()]

        return write

    ours, theirs = opener(clamped), opener({hook: splice(dictionary, feature_idx)})
    if [ids for bit in ours() for ids in bit] != [ids for bit in theirs() for ids in bit]:  # type: ignore[attr-defined]
        print(f"{dictionary.architecture} b{batch}: float noise turned a token in one of the two", file=sys.stderr)
    return {"emosae clamped": ours, "unclamped": opener({}), "sae-lens spliced": theirs}


if __name__ == "__main__":
    main()
