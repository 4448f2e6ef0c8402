"""The loop around sae-lens' trainers: our data, our seeds, our metrics, our checkpoints; its SAEs and its format.

Several SAEs are trained off one stream. A training that was stopped at any moment goes on from its last checkpoint to
the same bits, on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emosae.activations import ActivationStream, Cursor
from emosae.axes import Resid
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.store import Stage
from emosae.tracking import Tracker
from emosae.training.checkpoint import CheckpointPolicy, Checkpoints, Progress, clear_checkpoints
from emosae.training.finish import finish_sae
from emosae.training.scale import Scaling, measure_scale
from emosae.training.signals import StopRequest
from emosae.training.spec import SaeTrainSpec, build_trainer
from emosae.training.world import World

SPIKE = 20.0
"""A loss so many times its running mean is a spike."""
_MEMORY = 0.98
_SETTLED = 100

_METRICS = {
    "losses/overall_loss": "loss",
    "losses/mse_loss": "mse",
    "metrics/l0": "l0",
    "sparsity/dead_features": "dead_features",
    "details/current_learning_rate": "lr",
}
OpenTracker = Callable[[str], Tracker]


class TrainingDiverged(UserError):
    """The loss stopped being a number or leapt; the checkpoints from before are kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """The steps of one call of the loop that were done, and the seconds they took, for the rate."""

    steps: int
    seconds: float


def train_saes(
    stream: ActivationStream,
    held_out: Mapping[str, Resid],
    specs: Sequence[SaeTrainSpec],
    stage: Stage,
    *,
    open_tracker: OpenTracker | None = None,
    policy: CheckpointPolicy | None = None,
    world: World | None = None,
    progress: bool = False,
) -> dict[str, Path]:
    """Train SAEs off one stream and return their folders, `<stage>/<spec.name>`; each appears whole or not at all.

    A folder loads with sae-lens' `SAE.load_from_disk` and with `open_sae`. Decoder rows have norm 1, so activations
    are in residual units. Beside the weights, `emosae.json` records the spec and the quality on `held_out`. SAEs whose
    folders exist are not trained again; call again after a kill, and the others go on from the last checkpoint.

    SIGTERM, SIGUSR2 and Ctrl-C save at the next step and are then answered as before. A loss that is not a number, or
    leaps to 20 times its running mean, ends the training with `TrainingDiverged`, which names step, batch and last good
    checkpoint.

    Args:
        stream: Where batches come from; its batch size must be the specs'.
        held_out: Residuals by hook that are never trained on.
        specs: What to train; steps may differ.
        stage: Where folders and checkpoints go.
        open_tracker: Makes the place where one SAE's metrics go, by its name.
        policy: When to save a checkpoint; every five minutes if None.
        world: The processes that train together; as torch.distributed says if None.
        progress: Whether to show a bar.
    """
    world = world or World.current()
    _refuse_misfits(stream, specs)
    wanted = [spec for spec in specs if not stage.has(spec.name)]
    if wanted:
        group = _Group(stream, wanted, stage, policy or CheckpointPolicy(), world)
        group.train(open_tracker, progress=progress)
        for spec in wanted:
            finish_sae(group.trainers[spec.name], spec, stream, held_out[spec.hook_name], stage, world)
    if world.is_first:
        clear_checkpoints(stage)
    world.wait()
    return {spec.name: stage.file(spec.name) for spec in specs}


def _refuse_misfits(stream: ActivationStream, specs: Sequence[SaeTrainSpec]) -> None:
    names = [spec.name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"SAEs of the same name: {', '.join(twice)}")
    for spec in specs:
        if spec.hook_name not in stream.hook_names:
            raise UserError(f"SAE {spec.name}: no residuals of {spec.hook_name}; there are {list(stream.hook_names)}")
        if spec.batch_size != stream.batch_size:
            raise UserError(f"SAE {spec.name}: batch_size is {spec.batch_size}, the stream's {stream.batch_size}")
        if stream.n_rows < spec.batch_size:
            raise UserError(
                f"{stream.n_rows} tokens are too few for batches of {spec.batch_size}: "
                "read more text or lower batch_size"
            )


class _Group:
    """SAEs that are trained together, and where they stand."""

    def __init__(
        self,
        stream: ActivationStream,
        specs: Sequence[SaeTrainSpec],
        stage: Stage,
        policy: CheckpointPolicy,
        world: World,
    ) -> None:
        self.stream, self.specs, self.world, self.policy = stream, specs, world, policy
        self.checkpoints = Checkpoints(stage, policy.keep)
        inputs = content_hash(stream.fingerprint(), world.size)
        hashes = {spec.name: content_hash(asdict(spec)) for spec in specs}
        hooks = sorted({spec.hook_name for spec in specs})
        scales: dict[str, Scaling] = {hook: measure_scale(stream, hook, world) for hook in hooks}
        self.trainers: dict[str, Any] = {
            spec.name: build_trainer(spec, scales[spec.hook_name], world) for spec in specs
        }
        loaded = self.checkpoints.load(inputs, hashes, self.trainers)
        self.progress = loaded or Progress(0, Cursor(), {}, inputs, hashes)

    def train(self, open_tracker: OpenTracker | None, *, progress: bool) -> None:
        """Every step that is left, then answer a signal that came meanwhile."""
        self.stream.seek(self.progress.cursor)
        first, last = self.progress.step, max(spec.steps for spec in self.specs)
        self.policy.start(first)
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest())
            trackers = {
                spec.name: stack.enter_context(open_tracker(spec.name))
                for spec in self.specs
                if open_tracker is not None and self.world.is_first
            }
            label = self.specs[0].name if len(self.specs) == 1 else f"{len(self.specs)} SAEs"
            bar = stack.enter_context(
                tqdm(total=last, initial=first, desc=label, unit="step", disable=not (progress and self.world.is_first))
            )
            start = time.monotonic()
            for step in range(first + 1, last + 1):
                shown = self._step(step, trackers, Part(step - first, time.monotonic() - start))
                bar.update()
                if shown:
                    bar.set_postfix_str(shown, refresh=False)
                if stopped := self.world.any(stop.received is not None):
                    self._save()
                    break
                if step < last and self.world.any(self.policy.is_due(step)):
                    self._save()
        if first < last and stopped:
            stop.deliver()
            raise KeyboardInterrupt(f"stopped at step {self.progress.step}; run again to go on")

    def _save(self) -> None:
        if self.world.is_first:
            self.checkpoints.save(self.progress, self.trainers)
        self.policy.start(self.progress.step)
        self.world.wait()

    def _step(self, step: int, trackers: Mapping[str, Tracker], part: Part) -> str:
        """One step of every SAE that has steps left; a line for the bar where metrics were due."""
        before = self.stream.cursor
        batch = self.stream.next_batch(self.world.rank, self.world.size)
        shown, typical = "", dict(self.progress.typical_loss)
        for spec in self.specs:
            if step > spec.steps:
                continue
            trainer = self.trainers[spec.name]
            output = trainer.step(batch[spec.hook_name])
            trainer.n_training_steps = step
            typical[spec.name] = self._watch_loss(spec, float(output.loss), step, before)
            if step % spec.log_every == 0 or step == spec.steps:
                metrics = _read_metrics(trainer, output)
                metrics["tokens_per_second"] = part.steps * spec.batch_size / max(part.seconds, 1e-9)
                shown = f"fvu={metrics['fvu']:.3f}, l0={metrics['l0']:.1f}, dead={metrics['dead_features']:.0f}"
                if spec.name in trackers:
                    trackers[spec.name].log(metrics, step)
        self.progress = replace(self.progress, step=step, cursor=self.stream.cursor, typical_loss=typical)
        return shown

    def _watch_loss(self, spec: SaeTrainSpec, loss: float, step: int, where: Cursor) -> float:
        """The running mean of the loss, this one included."""
        typical = self.progress.typical_loss.get(spec.name, loss)
        leapt = step > _SETTLED and loss > SPIKE * typical
        if not math.isfinite(loss) or leapt:
            saved = self.checkpoints.last_step()
            kept = f"the last checkpoint is of step {saved}" if saved else "there is no checkpoint yet"
            what = f"is {loss}" if not math.isfinite(loss) else f"leapt from {typical:.4g} to {loss:.4g}"
            raise TrainingDiverged(
                f"SAE {spec.name}: the loss {what} at step {step} "
                f"(batch from row {where.row} of epoch {where.epoch}); {kept}; lower lr"
            )
        return _MEMORY * typical + (1 - _MEMORY) * loss


def _read_metrics(trainer: Any, output: Any) -> dict[str, float]:
    """This batch's numbers under our names; fvu as in `SaeQuality`."""
    theirs = trainer.build_train_step_log_dict(output, trainer.n_training_samples)
    metrics = {ours: float(theirs[key]) for key, ours in _METRICS.items()}
    return metrics | {"fvu": 1 - float(theirs["metrics/explained_variance"])}
