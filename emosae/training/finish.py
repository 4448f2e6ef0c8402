"""From a trained state to the SAE that users get."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch

from emosae.activations import ActivationStream
from emosae.axes import Resid
from emosae.sae import RECORD_NAME, SaeLensDictionary, SaeQuality, evaluate_sae
from emosae.store import Stage
from emosae.training.spec import SaeTrainSpec, own_generator
from emosae.training.world import World

_THRESHOLD_BATCHES = 16


def finish_sae(
    trainer: Any, spec: SaeTrainSpec, stream: ActivationStream, held_out: Resid, stage: Stage, world: World
) -> None:
    """Settle, fold, measure and save one SAE; the first process writes."""
    if hasattr(trainer.sae, "topk_threshold"):
        _settle_threshold(trainer, spec, stream, world)
    if world.is_first:
        sae = _convert_for_use(trainer, spec)
        quality = evaluate_sae(SaeLensDictionary(sae, spec.name, spec.hook_name), held_out)
        _save_sae(sae, spec, quality, stage)


@torch.no_grad()
def _settle_threshold(trainer: Any, spec: SaeTrainSpec, stream: ActivationStream, world: World) -> None:
    """Set batchtopk's threshold from the final weights; sae-lens' running average lags, most of all in short runs."""
    sae, least, where = trainer.sae.eval(), [], stream.cursor
    for _ in range(_THRESHOLD_BATCHES):
        batch = stream.next_batch(world.rank, world.size)[spec.hook_name]
        acts = sae.encode(trainer.activation_scaler(batch.to(sae.device)))
        least.append(world.smallest(acts[acts > 0].min().double()))
    stream.seek(where)
    sae.topk_threshold.copy_(torch.stack(least).mean())


@torch.no_grad()
def _convert_for_use(trainer: Any, spec: SaeTrainSpec) -> Any:
    """Input scale and decoder norms folded into the weights, batchtopk turned to jumprelu."""
    from sae_lens import SAE

    training_sae = trainer.sae
    training_sae.W_enc.data = training_sae.W_enc.data.contiguous()
    training_sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
    if spec.architecture in ("standard", "jumprelu", "gated"):
        training_sae.fold_W_dec_norm()
    state = training_sae.state_dict()
    training_sae.process_state_dict_for_saving_inference(state)
    with own_generator(spec):
        sae = SAE.from_dict(training_sae.cfg.get_inference_sae_cfg_dict())
    sae.load_state_dict(state)
    return sae.eval().requires_grad_(False)


def _save_sae(sae: Any, spec: SaeTrainSpec, quality: SaeQuality, stage: Stage) -> None:
    sae.cfg.metadata.l0 = quality.l0
    record = {"format": 1, "spec": asdict(spec), "quality": asdict(quality)}
    with stage.write_folder(spec.name) as folder:
        sae.save_model(folder)
        (folder / RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
