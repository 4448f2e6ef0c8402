"""The loop around sae-lens' `SAETrainer`: our data, our seed, our metrics; its SAEs and its saved format.

Restarting from nothing with the same seed gives the same weights, so a killed training is simply run again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from emosae.activations import shuffled_stream
from emosae.axes import Resid
from emosae.errors import UserError
from emosae.sae import RECORD_NAME, SaeLensDictionary, SaeQuality, evaluate_sae
from emosae.store import Stage
from emosae.tracking import Tracker
from emosae.training.spec import SaeTrainSpec, build_training_sae

_HELD_OUT = 8192
_THRESHOLD_BATCHES = 16
_METRICS = {
    "losses/overall_loss": "loss",
    "losses/mse_loss": "mse",
    "metrics/l0": "l0",
    "sparsity/dead_features": "dead_features",
    "details/current_learning_rate": "lr",
}


class TrainingDiverged(UserError):
    """The loss stopped being a number; nothing was saved."""


@dataclass(frozen=True, eq=False, slots=True)
class _Scaling:
    """The residuals' centre, and the factor that brings their distance from it to sqrt(d_in) on average."""

    mean: Float[Tensor, " d_in"]
    factor: float


def train_sae(
    resid: Resid, spec: SaeTrainSpec, stage: Stage, tracker: Tracker | None = None, *, progress: bool = False
) -> Path:
    """Train one SAE and return its folder, `<stage>/<spec.name>`, which appears whole or not at all.

    The folder loads with sae-lens' `SAE.load_from_disk` and with `open_sae`. Decoder rows have norm 1, so activations
    are in residual units. Beside the weights, `emosae.json` records the spec and fvu, l0 and dead features on a
    twentieth of the tokens (at most 8,192) that was never trained on.

    Refused: too few tokens for a batch, residuals that are not finite or do not vary. A loss that is not a number
    ends the training with `TrainingDiverged`, which names the step.
    """
    rng = np.random.default_rng(spec.seed)
    held_out, rows = _split_rows(len(resid), spec, rng)
    trainer = _build_trainer(spec, _measure_scale(resid))
    batches = shuffled_stream(resid, spec.batch_size, rng, rows=rows)
    _run_steps(trainer, batches, spec, tracker, progress)
    if spec.architecture == "batchtopk":
        _settle_threshold(trainer, batches)
    sae = _convert_for_use(trainer, spec)
    dictionary = SaeLensDictionary(sae, spec.name, spec.hook_name)
    quality = evaluate_sae(dictionary, resid[torch.from_numpy(held_out)])
    return _save_sae(sae, spec, quality, stage)


def _split_rows(
    n_tokens: int, spec: SaeTrainSpec, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " held"], Int[np.ndarray, " row"]]:
    order = rng.permutation(n_tokens)
    n_held = min(_HELD_OUT, max(1, n_tokens // 20))
    if n_tokens - n_held < spec.batch_size:
        raise UserError(
            f"{n_tokens} tokens are too few for batches of {spec.batch_size}: read more text or lower batch_size"
        )
    return np.sort(order[:n_held]), np.sort(order[n_held:])


def _measure_scale(resid: Resid, block: int = 65536) -> _Scaling:
    mean = torch.zeros(resid.shape[1], dtype=torch.float64)
    for start in range(0, len(resid), block):
        mean += resid[start : start + block].double().sum(0).cpu()
    mean /= len(resid)
    distance = 0.0
    for start in range(0, len(resid), block):
        distance += (resid[start : start + block].double().cpu() - mean).norm(dim=1).sum().item()
    if not math.isfinite(distance):
        raise UserError("the residuals hold values that are not finite; read the model in float32")
    if distance == 0:
        raise UserError("the residuals are all the same; there is nothing to learn")
    return _Scaling(mean.float(), math.sqrt(resid.shape[1]) * len(resid) / distance)


@contextmanager
def _own_generator(spec: SaeTrainSpec) -> Iterator[None]:
    """Seed torch's global generator, from which sae-lens draws first weights, and put it back afterwards."""
    is_cpu = torch.device(spec.device).type == "cpu"
    with torch.random.fork_rng(devices=[] if is_cpu else [torch.device(spec.device)]):
        torch.manual_seed(spec.seed)
        yield


def _build_trainer(spec: SaeTrainSpec, scaling: _Scaling) -> Any:
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    with _own_generator(spec):
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
    trainer = SAETrainer(config, sae, iter(()))
    trainer.activation_scaler.scaling_factor = scaling.factor
    return trainer


def _run_steps(
    trainer: Any, batches: Iterator[Tensor], spec: SaeTrainSpec, tracker: Tracker | None, progress: bool
) -> None:
    bar = tqdm(islice(batches, spec.steps), desc=spec.name, total=spec.steps, unit="step", disable=not progress)
    for step, batch in enumerate(bar, start=1):
        output = trainer.step(batch)
        trainer.n_training_steps = step
        if not math.isfinite(output.loss.item()):
            raise TrainingDiverged(f"SAE {spec.name}: the loss is {output.loss.item()} at step {step}; lower lr")
        if step % spec.log_every == 0 or step == spec.steps:
            metrics = _read_metrics(trainer, output)
            bar.set_postfix(fvu=f"{metrics['fvu']:.3f}", l0=f"{metrics['l0']:.1f}", refresh=False)
            if tracker is not None:
                tracker.log(metrics, step)


def _read_metrics(trainer: Any, output: Any) -> dict[str, float]:
    """This batch's numbers under our names; fvu as in `SaeQuality`."""
    theirs = trainer.build_train_step_log_dict(output, trainer.n_training_samples)
    metrics = {ours: float(theirs[key]) for key, ours in _METRICS.items()}
    return metrics | {"fvu": 1 - float(theirs["metrics/explained_variance"])}


@torch.no_grad()
def _settle_threshold(trainer: Any, batches: Iterator[Tensor]) -> None:
    """Set batchtopk's threshold from the final weights; sae-lens' running average lags, most of all in short runs."""
    sae = trainer.sae.eval()
    least = []
    for batch in islice(batches, _THRESHOLD_BATCHES):
        acts = sae.encode(trainer.activation_scaler(batch.to(sae.device)))
        least.append(acts[acts > 0].min().double())
    sae.topk_threshold.copy_(torch.stack(least).mean())


@torch.no_grad()
def _convert_for_use(trainer: Any, spec: SaeTrainSpec) -> Any:
    """The SAE that users get: input scale and decoder norms folded into the weights, batchtopk turned to jumprelu."""
    from sae_lens import SAE

    training_sae = trainer.sae
    training_sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
    if spec.architecture in ("standard", "jumprelu"):
        training_sae.fold_W_dec_norm()
    state = training_sae.state_dict()
    training_sae.process_state_dict_for_saving_inference(state)
    with _own_generator(spec):
        sae = SAE.from_dict(training_sae.cfg.get_inference_sae_cfg_dict())
    sae.load_state_dict(state)
    return sae.eval().requires_grad_(False)


def _save_sae(sae: Any, spec: SaeTrainSpec, quality: SaeQuality, stage: Stage) -> Path:
    sae.cfg.metadata.l0 = quality.l0
    record = {"format": 1, "spec": asdict(spec), "quality": asdict(quality)}
    with stage.write_folder(spec.name) as folder:
        sae.save_model(folder)
        (folder / RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return stage.file(spec.name)
