"""What is to be trained, and the same thing in sae-lens' words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from emosae.errors import UserError
from emosae.training.scale import Scaling
from emosae.training.world import World

Architecture = Literal["batchtopk", "topk", "jumprelu", "standard", "gated", "matryoshka_batchtopk"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaeTrainSpec:
    """One SAE to train. Residuals are centred and scaled to norm sqrt(d_in) meanwhile, so defaults fit any model.

    Attributes:
        model_name: The model that was read; saved as metadata.
        hook_name: Where it was read; saved as metadata.
        name: Name of the SAE and of its folder; made from hook, architecture and seed if empty.
        architecture: batchtopk and matryoshka_batchtopk (saved as jumprelu, as sae-lens does), topk, jumprelu,
            standard (ReLU with L1) or gated.
        d_sae: Number of features.
        k: Features that may fire on a token: exactly (topk), on average (the batchtopks), or as the target of a
            quadratic penalty (jumprelu). Unused by standard and gated.
        l1_coefficient: Weight of the L1 penalty of standard and gated. Unused by the others.
        matryoshka_widths: Widths of the nested dictionaries of matryoshka_batchtopk, the last of them d_sae; an
            eighth, a quarter, a half and the whole if empty.
        steps: Optimiser steps.
        batch_size: Tokens in a step.
        lr: Adam's learning rate after a warm-up over the first twentieth and before a linear decay over the last fifth.
        seed: Decides the initial weights. With the stream's order it decides every bit of the result.
        dead_window: Steps without firing after which the topk families try to revive a feature.
        log_every: Steps between two lines of metrics.
        device: Where to train.
    """

    model_name: str
    hook_name: str
    name: str = ""
    architecture: Architecture = "batchtopk"
    d_sae: int = 512
    k: int = 12
    l1_coefficient: float = 2.0
    matryoshka_widths: tuple[int, ...] = ()
    steps: int = 900
    batch_size: int = 2048
    lr: float = 3e-3
    seed: int = 0
    dead_window: int = 100
    log_every: int = 50
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Name the SAE and refuse what cannot be trained."""
        if self.architecture not in ARCHITECTURES:
            raise UserError(f"architecture {self.architecture}: choose {', '.join(ARCHITECTURES)}")
        for key in ("d_sae", "k", "steps", "batch_size", "lr", "dead_window", "log_every"):
            if not getattr(self, key) > 0:
                raise UserError(f"{key} is {getattr(self, key)}: it must be above 0")
        if self.k > self.d_sae:
            raise UserError(f"k is {self.k}: an SAE of {self.d_sae} features cannot fire that many")
        self._settle_widths()
        if not self.name:
            object.__setattr__(self, "name", f"{self.hook_name}.{self.architecture}.seed{self.seed}")

    def _settle_widths(self) -> None:
        if self.architecture == "matryoshka_batchtopk" and not self.matryoshka_widths:
            widths = sorted({max(1, self.d_sae // 2**power) for power in range(4)})
            object.__setattr__(self, "matryoshka_widths", tuple(widths))
        widths = list(self.matryoshka_widths)
        if widths and (sorted(set(widths)) != widths or widths[-1] != self.d_sae):
            raise UserError(f"matryoshka_widths {widths}: they must rise and end with d_sae, {self.d_sae}")


def build_training_sae(spec: SaeTrainSpec, d_in: int) -> Any:
    """sae-lens' training SAE for a spec; its first weights come from torch's global generator."""
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(
        model_name=spec.model_name,
        hook_name=spec.hook_name,
        prepend_bos=True,
        seed=spec.seed,
    )
    common = {
        "d_in": d_in,
        "d_sae": spec.d_sae,
        "device": spec.device,
        "normalize_activations": "expected_average_only_in",
        "metadata": metadata,
    }
    return _BUILDERS[spec.architecture](spec, common)


def _batchtopk(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(k=float(spec.k), **common))


def _topk(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig

    return TopKTrainingSAE(TopKTrainingSAEConfig(k=spec.k, **common))


def _jumprelu(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    """Threshold and bandwidth as wide as activations: sae-lens' small defaults leave l0 far above k in short runs."""
    from sae_lens import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig

    return JumpReLUTrainingSAE(
        JumpReLUTrainingSAEConfig(
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=float(spec.k),
            l0_warm_up_steps=spec.steps // 2,
            jumprelu_init_threshold=1.0,
            jumprelu_bandwidth=1.0,
            jumprelu_ste_to_input=True,
            decoder_init_norm=1.0,
            **common,
        )
    )


def _standard(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig

    return StandardTrainingSAE(
        StandardTrainingSAEConfig(l1_coefficient=spec.l1_coefficient, l1_warm_up_steps=spec.steps // 5, **common)
    )


def _gated(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    from sae_lens import GatedTrainingSAE, GatedTrainingSAEConfig

    return GatedTrainingSAE(
        GatedTrainingSAEConfig(l1_coefficient=spec.l1_coefficient, l1_warm_up_steps=spec.steps // 5, **common)
    )


def _matryoshka(spec: SaeTrainSpec, common: dict[str, Any]) -> Any:
    from sae_lens import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig

    widths = list(spec.matryoshka_widths)
    return MatryoshkaBatchTopKTrainingSAE(
        MatryoshkaBatchTopKTrainingSAEConfig(k=float(spec.k), matryoshka_widths=widths, **common)
    )


_BUILDERS: dict[str, Callable[[SaeTrainSpec, dict[str, Any]], Any]] = {
    "batchtopk": _batchtopk,
    "topk": _topk,
    "jumprelu": _jumprelu,
    "standard": _standard,
    "gated": _gated,
    "matryoshka_batchtopk": _matryoshka,
}


@contextmanager
def own_generator(spec: SaeTrainSpec) -> Iterator[None]:
    """Seed torch's global generator, from which sae-lens draws first weights, and put it back afterwards."""
    is_cpu = torch.device(spec.device).type == "cpu"
    with torch.random.fork_rng(devices=[] if is_cpu else [torch.device(spec.device)]):
        torch.manual_seed(spec.seed)
        yield


def build_trainer(spec: SaeTrainSpec, scaling: Scaling, world: World) -> Any:
    """sae-lens' trainer for a spec, its SAE drawn from the seed and centred on the residuals."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    from emosae.training.trainer import Trainer

    with own_generator(spec):
        sae = build_training_sae(spec, len(scaling.mean))
    sae.b_dec.data = (scaling.mean * scaling.factor).to(sae.b_dec)
    config = SAETrainerConfig(
        total_training_samples=spec.steps * spec.batch_size,
        train_batch_size_samples=spec.batch_size,
        device=spec.device,
        lr=spec.lr,
        lr_end=spec.lr,
        lr_warm_up_steps=spec.steps // 20,
        lr_decay_steps=spec.steps // 5,
        dead_feature_window=spec.dead_window,
        feature_sampling_window=spec.steps + 1,
        autocast=False,
        logger=LoggingConfig(log_to_wandb=False),
    )
    trainer = Trainer(config, sae, iter(()), world=world)
    trainer.activation_scaler.scaling_factor = scaling.factor
    return trainer
