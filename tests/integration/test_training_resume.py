"""A training that is stopped goes on to the same bits."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import HOOK, planted_resid

from emosae.activations import MemoryStream
from emosae.errors import UserError
from emosae.store import Stage, content_hash
from emosae.tracking import Tracker
from emosae.training import ARCHITECTURES, CheckpointPolicy, SaeTrainSpec, TrainingDiverged, finish, train_saes

pytestmark = pytest.mark.integration

DEEPER = "blocks.1.hook_resid_post"
RESID = {HOOK: planted_resid(1500, 16, 24, l0=3.0)[0], DEEPER: 3 * planted_resid(1500, 16, 24, l0=2.0)[0] + 1}
SPECS = [
    SaeTrainSpec(
        model_name="tiny",
        hook_name=(HOOK, DEEPER)[number % 2],
        name=f"{architecture}-{number}",
        architecture=architecture,
        d_sae=64,
        k=3,
        steps=(24, 18)[number % 2],
        batch_size=128,
        dead_window=4,
        seed=number,
    )
    for number, architecture in enumerate(ARCHITECTURES)
]


def train(folder: Path, *, stop: Any = None, **options: Any) -> dict[str, str]:
    """Train all of them; ``stop`` is called with each step before it is done."""
    stream = MemoryStream(RESID, 128, seed=3)
    if stop is not None:
        scale_batches = 2 * 2 * (1500 // 128)
        draw, steps = stream.next_batch, itertools.count(-scale_batches)

        def watched(*ranks: int) -> Any:
            stop(next(steps))
            return draw(*ranks)

        stream.next_batch = watched  # type: ignore[method-assign]
    held_out = {name: resid[:100] for name, resid in RESID.items()}
    paths = train_saes(stream, held_out, SPECS, Stage(folder), **options)
    return {name: content_hash(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return train(tmp_path_factory.mktemp("whole"))


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("killed_at", [1, 7, 13, 20])
def test_a_kill_at_any_step_changes_no_bit_of_any_architecture(
    killed_at: int, tmp_path: Path, whole: dict[str, str]
) -> None:
    def kill(step: int) -> None:
        if step == killed_at:
            raise Killed

    policy = CheckpointPolicy(every_steps=5, every_seconds=None)
    with pytest.raises(Killed):
        train(tmp_path, stop=kill, policy=policy)
    steps: list[int] = []
    assert train(tmp_path, stop=steps.append, policy=policy) == whole
    assert max(steps) == 24 - killed_at // 5 * 5 - 1 + 16 * len(
        [spec for spec in SPECS if "batchtopk" in spec.architecture]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(spec.name for spec in SPECS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_saves_at_the_step_and_is_answered_as_before(
    number: signal.Signals, tmp_path: Path, whole: dict[str, str]
) -> None:
    answered = []
    before = signal.signal(number, lambda *_: answered.append(number))
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped at step 10"):
            train(tmp_path, stop=lambda step: os.kill(os.getpid(), number) if step == 9 else None)
        assert answered == [number]
    finally:
        signal.signal(number, before)
    assert (tmp_path / "checkpoints" / "step-000000010.json").exists()
    assert train(tmp_path) == whole


def test_a_kill_while_the_finished_ones_are_saved_repeats_no_step(
    tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = finish._save_sae, []

    def killed_at_the_third(*args: Any) -> None:
        if len(saved) == 2:
            raise Killed
        saved.append(args)
        save(*args)

    policy = CheckpointPolicy(every_steps=5, every_seconds=None)
    monkeypatch.setattr(finish, "_save_sae", killed_at_the_third)
    with pytest.raises(Killed):
        train(tmp_path, policy=policy)
    monkeypatch.undo()
    steps: list[int] = []
    assert train(tmp_path, stop=steps.append, policy=policy) == whole
    assert max(steps) < 4 + 16 * len(SPECS)


def test_only_the_newest_checkpoints_are_kept_and_no_half_of_one(tmp_path: Path) -> None:
    Stage(tmp_path / "checkpoints").write_bytes(f"{SPECS[0].name}.000000003.safetensors", b"of a save that was killed")

    def kill(step: int) -> None:
        if step == 17:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, stop=kill, policy=CheckpointPolicy(every_steps=4, every_seconds=None, keep=2))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*.json"))
    assert kept == ["step-000000012.json", "step-000000016.json"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2 + 2 * len(SPECS)


def test_a_checkpoint_of_other_specs_is_not_gone_on_from(tmp_path: Path) -> None:
    def kill(step: int) -> None:
        if step == 6:
            raise Killed

    stream = MemoryStream(RESID, 128, seed=4)
    with pytest.raises(Killed):
        train(tmp_path, stop=kill, policy=CheckpointPolicy(every_steps=5, every_seconds=None))
    held_out = {name: resid[:100] for name, resid in RESID.items()}
    other = train_saes(stream, held_out, SPECS[:1], Stage(tmp_path))
    again = train_saes(MemoryStream(RESID, 128, seed=4), held_out, SPECS[:1], Stage(tmp_path / "alone"))
    assert content_hash(other[SPECS[0].name]) == content_hash(again[SPECS[0].name])


def test_checkpoints_go_though_the_kill_came_after_the_last_sae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(stage: Stage) -> None:
        raise Killed

    policy = CheckpointPolicy(every_steps=5, every_seconds=None)
    with monkeypatch.context() as patch:
        patch.setattr("emosae.training.loop.clear_checkpoints", kill)
        with pytest.raises(Killed):
            train(tmp_path, policy=policy)
    assert (tmp_path / "checkpoints").exists()
    train(tmp_path, policy=policy)
    assert not (tmp_path / "checkpoints").exists()


def test_a_torn_checkpoint_is_named(tmp_path: Path) -> None:
    def kill(step: int) -> None:
        if step == 6:
            raise Killed

    policy = CheckpointPolicy(every_steps=5, every_seconds=None)
    with pytest.raises(Killed):
        train(tmp_path, stop=kill, policy=policy)
    torn = tmp_path / "checkpoints" / f"{SPECS[0].name}.000000005.safetensors"
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(UserError, match=rf"{SPECS[0].name}\.000000005\.safetensors"):
        train(tmp_path, policy=policy)


def test_a_loss_that_leaps_names_step_batch_and_last_checkpoint(tmp_path: Path) -> None:
    resid = RESID[HOOK].clone()
    resid[7] = 1e6
    stream = MemoryStream({HOOK: resid}, 128, seed=0, rows=torch.arange(1400).numpy())
    plain = stream.next_batch
    calls: list[int] = []

    def late(*ranks: int) -> dict[str, torch.Tensor]:
        calls.append(1)
        batch = plain(*ranks)
        if len(calls) < 150:
            batch[HOOK] = batch[HOOK].clamp(max=10)
        return batch

    stream.next_batch = late  # type: ignore[method-assign]
    spec = SaeTrainSpec(model_name="tiny", hook_name=HOOK, d_sae=64, k=3, steps=200, batch_size=128, name="sae")
    policy = CheckpointPolicy(every_steps=50, every_seconds=None)
    with pytest.raises(
        TrainingDiverged,
        match=r"SAE sae: the loss leapt from \S+ to \S+ at step \d+ \(batch from row \d+ of epoch \d+\); "
        r"the last checkpoint is of step (100|150); lower lr",
    ):
        train_saes(stream, {HOOK: resid[:50]}, [spec], Stage(tmp_path), policy=policy)


def test_metrics_say_how_fast_it_goes(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    train(tmp_path, open_tracker=lambda name: Tracker(records.append, series=name))
    assert {record["series"] for record in records} == {spec.name for spec in SPECS}
    assert all(record["tokens_per_second"] > 0 for record in records if record["step"] > 1)
