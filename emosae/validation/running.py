"""Run conditions in batches; what was finished is kept and not done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emosae.files import content_hash
from emosae.store import Stage
from emosae.validation.experiments import EXPERIMENTS, Counts
from emosae.validation.plan import Condition

BATCH = 25
"""Simulations that a kill can lose at most."""
JOURNAL = "simulations"


def run_conditions(
    conditions: Sequence[Condition], seed: int, stage: Stage, *, progress: bool = True
) -> dict[str, list[Counts]]:
    """The counts of every simulation by condition.

    A simulation owns its randomness (seed, world and its number), so batches and their order change nothing. Those in
    the journal count if they were made by this code; more may be asked for later.
    """
    kept = _read_journal(stage)
    found: dict[str, list[Counts]] = {}
    with tqdm(total=sum(one.simulations for one in conditions), unit="simulation", disable=not progress) as bar:
        for condition in conditions:
            bar.set_description(condition.name[:24])
            recipe = name_recipe(condition, seed)
            counts = kept.setdefault(recipe, [])
            bar.update(min(len(counts), condition.simulations))
            while len(counts) < condition.simulations:
                batch = _run_batch(condition, seed, len(counts))
                stage.append_line(JOURNAL, {"recipe": recipe, "first": len(counts), "counts": batch})
                counts.extend(batch)
                bar.update(len(batch))
            found[condition.name] = counts[: condition.simulations]
    return found


def name_recipe(condition: Condition, seed: int) -> str:
    """What decides the outcome of a condition's simulations: world, seed, and the code that is run."""
    return content_hash(condition.kind, asdict(condition.world), seed, _hash_code())


@cache
def _hash_code() -> str:
    package = Path(str(files("emosae")))
    own = [package / "validation" / name for name in ("experiments.py", "worlds.py")]
    return content_hash(*sorted((package / "selectivity").glob("*.py")), *own)


def _run_batch(condition: Condition, seed: int, first: int) -> list[Counts]:
    size = min(BATCH, condition.simulations - first)
    stream = _stream_of(condition)
    rngs = (np.random.default_rng([seed, stream, number]) for number in range(first, first + size))
    return [EXPERIMENTS[condition.kind](condition.world, rng) for rng in rngs]


def _stream_of(condition: Condition) -> int:
    """The same for the same world, whatever the code."""
    return int(content_hash(condition.kind, asdict(condition.world))[:8], 16)


def _read_journal(stage: Stage) -> dict[str, list[Counts]]:
    kept: dict[str, list[Counts]] = {}
    for line in stage.read_lines(JOURNAL):
        counts = kept.setdefault(line["recipe"], [])
        if line["first"] == len(counts):
            counts.extend(_as_counts(one) for one in line["counts"])
    return kept


def _as_counts(record: Mapping[str, Sequence[float]]) -> Counts:
    return {name: (part, whole) for name, (part, whole) in record.items()}
