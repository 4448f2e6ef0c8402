"""Kills at random moments, from outside, of a training of every architecture: the same bits, and every metric once.

The trainings are forked from this process, which has sae-lens loaded and warm, so that a moment is as likely to lie in
a step, in a checkpoint, or in the saving of an SAE as each takes of the whole.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from planted import HOOK, planted_resid

from emosae.activations import MemoryStream
from emosae.store import Stage, content_hash
from emosae.tracking import Tracker
from emosae.training import ARCHITECTURES, CheckpointPolicy, SaeTrainSpec, train_saes

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")]

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
INTERRUPTED = 130
RESID = planted_resid(1500, 16, 24, l0=3.0)[0]
SPECS = [
    SaeTrainSpec(
        model_name="tiny",
        hook_name=HOOK,
        name=architecture,
        architecture=architecture,
        d_sae=64,
        k=3,
        steps=60,
        batch_size=128,
        dead_window=4,
        log_every=6,
        seed=number,
    )
    for number, architecture in enumerate(ARCHITECTURES)
]


def train(folder: Path) -> None:
    stage = Stage(folder)

    def open_tracker(name: str) -> Tracker:
        earlier = [line for line in stage.read_lines("metrics") if line["series"] == name]
        return Tracker(lambda line: stage.append_line("metrics", line), series=name, earlier=earlier)

    policy = CheckpointPolicy(every_steps=7, every_seconds=None)
    stream = MemoryStream({HOOK: RESID}, 128, seed=3)
    train_saes(stream, {HOOK: RESID[:100]}, SPECS, stage, policy=policy, open_tracker=open_tracker)


@dataclass(frozen=True)
class Training:
    """One in a process of its own."""

    process: int
    is_under_way: mmap.mmap

    @classmethod
    def start(cls, folder: Path) -> Training:
        flag = mmap.mmap(-1, 1)
        process = os.fork()
        if process:
            while not flag[0]:
                time.sleep(0.0005)
            return cls(process, flag)
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            flag[0] = 1
            train(folder)
            code = 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def end(self) -> int:
        """Its exit code, or the number of the signal that ended it, negated."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@dataclass(frozen=True)
class Whole:
    """A training that nobody disturbed."""

    weights: dict[str, str]
    seconds: float


def weights_in(folder: Path) -> dict[str, str]:
    return {spec.name: content_hash(folder / spec.name) for spec in SPECS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    torch.set_num_threads(1)  # a fork takes no threads with it
    train(tmp_path_factory.mktemp("warm"))
    folder = tmp_path_factory.mktemp("whole")
    start = time.monotonic()
    assert Training.start(folder).end() == 0
    return Whole(weights_in(folder), time.monotonic() - start)


def kill_once(folder: Path, number: signal.Signals, delay: float) -> str | None:
    """Where the training stood when it was killed; None if it was done before."""
    training = Training.start(folder)
    time.sleep(delay)
    os.kill(training.process, number)
    code = training.end()
    if code == 0:
        return None
    assert code in (-number, INTERRUPTED if number == signal.SIGINT else -number)
    if any((folder / spec.name).exists() for spec in SPECS):
        return "while SAEs were saved"
    return "after a checkpoint" if list(folder.glob("checkpoints/step-*.json")) else "before the first checkpoint"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_kill_at_a_random_moment_changes_no_bit(
    kills: int, number: signal.Signals, whole: Whole, tmp_path: Path
) -> None:
    rng, places = random.Random(int(number)), Counter[str]()
    for attempt in range(4 * kills):
        folder = tmp_path / str(attempt)
        place = kill_once(folder, number, rng.uniform(0, whole.seconds))
        if place is None:  # it was faster this time
            continue
        places[place] += 1
        assert Training.start(folder).end() == 0
        assert weights_in(folder) == whole.weights
        assert {path.name for path in folder.iterdir()} == {*whole.weights, "metrics.jsonl"}
        logged = Counter((line["series"], line["step"]) for line in Stage(folder).read_lines("metrics"))
        assert logged == {(spec.name, step): 1 for spec in SPECS for step in range(6, 61, 6)}
        if places.total() == kills:
            break
    print(f"{number.name}: {dict(places)}, of {whole.seconds:.1f} s each")
    assert places.total() == kills
