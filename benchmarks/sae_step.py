"""One training step of an SAE: emosae's against sae-lens' own, and for topk against sparsify's where it is installed.

All take the same batches of sparse sums of planted rows. sae-lens' trainer begins from the same weights, and after
equal steps the losses are compared (`loss_rel_diff`). emosae screens the features of the topk families in the number
format that its probe chooses (`screen`), but for `topk_torch_vs_saelens` in fp32. standard and jumprelu are timed where
they spend a training: after their encoder biases are lowered until about one feature in a hundred fires. `--dead`
features count as dead, so that the auxiliary loss of the topk families is paid for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import measure

COMPARISONS = {
    "topk_torch": "topk",
    "topk_aux": "topk",
    "batchtopk": "batchtopk",
    "standard": "standard",
    "jumprelu": "jumprelu",
}
EQUAL_STEPS = 5

Side = Literal["emosae", "emosae in fp32", "sae-lens"]


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(__doc__, d_in=512, d_sae=8192, k=32, batch_size=4096, dead=512)
    comparisons, differences = [], {}
    for name, architecture in COMPARISONS.items():
        ours = "emosae in fp32" if name == "topk_torch" else "emosae"
        own, sae_lens = (partial(build, architecture, arguments, side) for side in (ours, "sae-lens"))
        differences[f"{name}_vs_saelens"] = compare_losses(own(), sae_lens(), arguments)
        contenders = {"emosae": stepper(own(), arguments), "sae-lens": stepper(sae_lens(), arguments)}
        comparisons.append(measure.run(f"{name}_vs_saelens", contenders, arguments.rounds))
    if (peer := sparsify(arguments)) is not None:
        contenders = {"emosae": stepper(build("topk", arguments, "emosae"), arguments), "sparsify": peer}
        comparisons.append(measure.run("topk_aux_vs_sparsify", contenders, arguments.rounds))
    measure.report("sae_step", comparisons, arguments)
    screen = str(build("topk", arguments, "emosae").screen).removeprefix("torch.")
    shown = {name: f"{value:.1e}" for name, value in differences.items()}
    print(f"  screened in {screen}; loss_rel_diff after equal steps:", shown)
    if arguments.json is not None:
        record = json.loads(arguments.json.read_text(encoding="utf-8"))
        record |= {"loss_rel_diff": differences, "screen": screen}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def batches(arguments: argparse.Namespace) -> Callable[[], Any]:
    """Endless batches, the same for every contender."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1024, arguments.d_in, generator=generator)

    def draw() -> Any:
        chosen = torch.rand(arguments.batch_size, 1024, generator=generator) < 0.02
        return chosen.float() @ rows

    made = [draw() for _ in range(EQUAL_STEPS)]
    calls = iter(range(1 << 60))
    return lambda: made[next(calls) % EQUAL_STEPS]


def build(architecture: str, arguments: argparse.Namespace, side: Side) -> Any:
    """A trainer with the same first weights for any side."""
    import torch
    from sae_lens.training.sae_trainer import SAETrainer

    from emosae.training import SaeTrainSpec, World
    from emosae.training.scale import Scaling
    from emosae.training.spec import build_trainer

    options: Any = {"architecture": architecture, "d_sae": arguments.d_sae, "k": arguments.k, "steps": 10_000}
    spec = SaeTrainSpec(model_name="x", hook_name="x", batch_size=arguments.batch_size, lr=1e-4, **options)
    trainer = build_trainer(spec, Scaling(torch.zeros(arguments.d_in), 0.2), World())
    if architecture in ("standard", "jumprelu"):
        hidden = batches(arguments)() * 0.2 @ trainer.sae.W_enc.detach()
        least = 0.5 if architecture == "jumprelu" else 0.0
        sample = hidden.flatten()[:: max(1, hidden.numel() // 1_000_000)]
        trainer.sae.b_enc.data -= sample.quantile(0.99) - least
    if side == "emosae in fp32":
        trainer.screen = torch.float32
    if side == "sae-lens":
        trainer.sae.W_enc.data = trainer.sae.W_enc.data.contiguous()
        theirs = SAETrainer(trainer.cfg, trainer.sae, iter(()))
        theirs.activation_scaler.scaling_factor = 0.2
        trainer = theirs
    trainer.n_forward_passes_since_fired[: arguments.dead] = 1e9
    return trainer


def stepper(trainer: Any, arguments: argparse.Namespace) -> Callable[[], object]:
    """One step; features marked dead stay so."""
    draw = batches(arguments)

    def step() -> object:
        trainer.n_forward_passes_since_fired[: arguments.dead] = 1e9
        return trainer.step(draw())

    return step


def compare_losses(ours: Any, theirs: Any, arguments: argparse.Namespace) -> float:
    """Largest relative difference of the losses over equal steps from equal weights."""
    draw, again = batches(arguments), batches(arguments)
    pairs = [(float(ours.step(draw()).loss), float(theirs.step(again()).loss)) for _ in range(EQUAL_STEPS)]
    return max(abs(mine - other) / abs(other) for mine, other in pairs)


def sparsify(arguments: argparse.Namespace) -> Callable[[], object] | None:
    """sparsify's forward and backward with its auxiliary loss, and the same Adam; None where it is not installed."""
    try:
        from sparsify import SparseCoder, SparseCoderConfig
    except ImportError:
        return None
    import torch

    coder = SparseCoder(arguments.d_in, SparseCoderConfig(num_latents=arguments.d_sae, k=arguments.k))
    optimizer = torch.optim.Adam(coder.parameters(), lr=1e-4, fused=True)
    dead = torch.zeros(arguments.d_sae, dtype=torch.bool)
    dead[: arguments.dead] = True
    draw = batches(arguments)

    def step() -> object:
        output = coder(draw() * 0.2, dead_mask=dead)
        (output.fvu + output.auxk_loss / 32).backward()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return output

    return step


if __name__ == "__main__":
    main()
