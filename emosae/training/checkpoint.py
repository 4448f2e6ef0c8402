"""What a training needs to go on from a step as if it had never stopped: tensors and JSON, never pickles.

A checkpoint is one safetensors file per SAE and a JSON file that is written last and names them, so a kill leaves
either the whole of it or none. Older ones are deleted once a newer one is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from emosae.activations import Cursor
from emosae.errors import UserError
from emosae.store import Stage

_COUNTS = ("n_training_samples", "n_training_steps", "n_frac_active_samples")
_BUFFERS = ("act_freq_scores", "n_forward_passes_since_fired")


@dataclass(slots=True)
class CheckpointPolicy:
    """When to save.

    Attributes:
        every_steps: Steps between checkpoints; None for no such limit.
        every_seconds: Seconds between checkpoints; None for no such limit.
        keep: How many are kept.
    """

    every_steps: int | None = None
    every_seconds: float | None = 300.0
    keep: int = 2
    _last: tuple[int, float] = field(default=(0, 0.0), repr=False)

    def start(self, step: int) -> None:
        """Count from here."""
        self._last = (step, time.monotonic())

    def is_due(self, step: int) -> bool:
        """Whether enough steps or seconds have gone by since the last one."""
        last_step, last_time = self._last
        by_step = self.every_steps is not None and step - last_step >= self.every_steps
        return by_step or (self.every_seconds is not None and time.monotonic() - last_time >= self.every_seconds)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group of SAEs has come.

    Attributes:
        step: Steps that every trainer has done.
        cursor: Where the stream stands.
        typical_loss: A running mean of each SAE's loss, which tells a spike.
        inputs: What the training was begun from: a hash of the stream and the number of processes.
        specs: A hash of each SAE's spec.
    """

    step: int
    cursor: Cursor
    typical_loss: Mapping[str, float]
    inputs: str
    specs: Mapping[str, str]


def pack_trainer(trainer: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and plain values of a trainer's state."""
    tensors = {f"sae.{name}": value for name, value in trainer.sae.state_dict().items()}
    tensors |= {f"trainer.{name}": getattr(trainer, name) for name in _BUFFERS}
    packed = trainer.optimizer.state_dict()
    for index, state in packed["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    plain = {
        "counts": {name: getattr(trainer, name) for name in _COUNTS},
        "optimizer": [{name: v for name, v in group.items() if name != "params"} for group in packed["param_groups"]],
        "lr": _plain(trainer.lr_scheduler.state_dict()),
        "coefficients": {name: one.state_dict() for name, one in trainer.coefficient_schedulers.items()},
        "scale": trainer.activation_scaler.scaling_factor,
    }
    return tensors, plain


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without the references that torch keeps in it."""
    kept = {name: value for name, value in state.items() if not name.startswith("_wrapped") and name != "optimizer"}
    if "_schedulers" in kept:
        kept["_schedulers"] = [_plain(one) for one in kept["_schedulers"]]
    return kept


def unpack_trainer(trainer: Any, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Put a trainer that was built from the same spec into a saved state."""
    with torch.no_grad():
        for name, value in trainer.sae.state_dict().items():
            value.copy_(tensors[f"sae.{name}"])
    for name in _BUFFERS:
        setattr(trainer, name, tensors[f"trainer.{name}"].to(trainer.cfg.device))
    for name in _COUNTS:
        setattr(trainer, name, plain["counts"][name])
    trainer.optimizer.load_state_dict(_optimizer_state(trainer, tensors, plain["optimizer"]))
    trainer.lr_scheduler.load_state_dict(dict(plain["lr"]))
    for name, state in plain["coefficients"].items():
        trainer.coefficient_schedulers[name].load_state_dict(dict(state))
    trainer.activation_scaler.scaling_factor = plain["scale"]


def _optimizer_state(trainer: Any, tensors: Mapping[str, Tensor], groups: Sequence[Mapping[str, Any]]) -> Any:
    """Adam's state, laid out in memory as the parameters are, since fused steps need that."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        head, *rest = name.split(".")
        if head == "optimizer":
            like = parameters[int(rest[0])]
            if value.shape == like.shape:
                value = torch.empty_like(like, memory_format=torch.preserve_format).copy_(value)
            state.setdefault(int(rest[0]), {})[rest[1]] = value
    fresh = trainer.optimizer.state_dict()["param_groups"]
    merged = [{**own, **saved, "params": own["params"]} for own, saved in zip(fresh, groups, strict=True)]
    for group in merged:
        group["betas"] = tuple(group["betas"])
    return {"state": state, "param_groups": merged}


class Checkpoints:
    """The checkpoints of a group of SAEs, in `checkpoints/` of their stage."""

    def __init__(self, stage: Stage, keep: int) -> None:
        self._stage, self._keep = stage.substage("checkpoints"), keep

    def save(self, progress: Progress, trainers: Mapping[str, Any]) -> None:
        """Save a checkpoint whole, then delete those that are too old.

        Raises:
            UserError: The disk is full or may not be written; the file is named, and earlier checkpoints stay.
        """
        self._drop_leftovers()
        try:
            for name, trainer in trainers.items():
                tensors, plain = pack_trainer(trainer)
                self._stage.write_tensors(_file(name, progress.step), tensors, {"state": json.dumps(plain)})
            self._stage.write_json(f"step-{progress.step:09d}", asdict(progress))
        except UserError:
            with suppress(OSError):
                self._drop_leftovers()
            raise
        for old in self._steps()[: -self._keep]:
            self._delete(old)

    def _drop_leftovers(self) -> None:
        """Delete the files of a save that a kill or a full disk cut short: those that no record names."""
        if not self._stage.path.is_dir():
            return
        named = {f"step-{step:09d}.json" for step in self._steps()}
        for step in self._steps():
            named |= {f"{_file(name, step)}.safetensors" for name in self._stage.read_json(f"step-{step:09d}")["specs"]}
        for path in self._stage.path.iterdir():
            if path.name not in named:
                path.unlink()

    def load(self, inputs: str, specs: Mapping[str, str], trainers: Mapping[str, Any]) -> Progress | None:
        """Put trainers into the newest state that was saved from the same inputs and specs; None if there is none.

        Raises:
            UserError: A checkpoint that cannot be read; it is named.
        """
        for step in reversed(self._steps()):
            record = self._stage.read_json(f"step-{step:09d}")
            if record["inputs"] != inputs or not specs.items() <= record["specs"].items():
                continue
            for name, trainer in trainers.items():
                file = _file(name, step)
                state = json.loads(self._stage.read_tensor_metadata(file)["state"])
                try:
                    unpack_trainer(trainer, self._stage.read_tensors(file), state)
                except (KeyError, RuntimeError) as broken:
                    path = self._stage.file(file, ".safetensors")
                    raise UserError(f"{path}: is no state of this training ({broken}); delete it") from broken
            return Progress(step, Cursor(**record["cursor"]), record["typical_loss"], inputs, specs)
        return None

    def last_step(self) -> int | None:
        """The newest whole checkpoint's step."""
        steps = self._steps()
        return steps[-1] if steps else None

    def _steps(self) -> list[int]:
        if not self._stage.path.is_dir():
            return []
        return sorted(int(path.stem.removeprefix("step-")) for path in self._stage.path.glob("step-*.json"))

    def _delete(self, step: int) -> None:
        record = self._stage.read_json(f"step-{step:09d}")
        self._stage.file(f"step-{step:09d}.json").unlink()
        for name in record["specs"]:
            self._stage.file(_file(name, step), ".safetensors").unlink(missing_ok=True)


def clear_checkpoints(stage: Stage) -> None:
    """Delete the checkpoints of a stage whose SAEs are all there.

    Whoever finds nothing left to train calls it too, since a kill may have come after the last SAE was saved.
    """
    stage.substage("checkpoints").clear()


def _file(name: str, step: int) -> str:
    return f"{name}.{step:09d}"
