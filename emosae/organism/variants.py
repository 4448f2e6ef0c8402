"""Variants of the organism: the shipped weights, trained on until they do what another truth plants."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from emosae.files import content_hash
from emosae.lm import open_lm
from emosae.organism.calibration import CalibrationRow, calibrate
from emosae.organism.evaluation import organism_path
from emosae.organism.recipe import Recipe, train_organism
from emosae.organism.truth import parse_truth, read_tables
from emosae.store import Stage

TOLERANCE = 0.1
"""By how much P(shortcut) of a variant may miss the planted one, in each of the JUDGED groups."""
JUDGED = ("margin at_most_minus_1", "margin zero", "margin at_least_2")
"""The fourth group, a margin of one, is 4% of decisions; the shipped organism misses it too."""
_BEGUN = "begun"
_CALIBRATION = "calibration"


def variant_recipe(seed: int = 0, steps: int = 160) -> Recipe:
    """Half the shipped rates, more tasks in the mix, and documents that the shipped organism has not read."""
    return Recipe(
        seed=100 + seed,
        steps=steps,
        documents_per_step=30,
        coding_share=0.6,
        muon_lr=0.01,
        adam_lr=2e-3,
        decay_from=0.3,
        checkpoint_every=20,
    )


def train_variant(variant: str, recipe: Recipe, stage: Stage, *, progress: bool = True) -> Path:
    """Train the shipped organism on the variant's text, go on after a kill, or do nothing if it was done before.

    Beside the model `calibration` says what P(shortcut) is and what it should be; see `read_calibration`.

    Returns:
        The directory of the model.
    """
    tables = read_tables(variant)
    weights = sorted(organism_path().glob("*.safetensors"))
    input_hash = content_hash(tables, asdict(recipe), *weights)
    model = stage.path / "model"
    if stage.is_done(input_hash):
        return model
    if not (stage.has(f"{_BEGUN}.json") and stage.read_json(_BEGUN)["input_hash"] == input_hash):
        stage.clear()
        stage.write_json(_BEGUN, {"input_hash": input_hash})
    start = time.monotonic()
    train_organism(recipe, tables, stage, start=organism_path(), progress=progress)
    rows = calibrate(open_lm(model), parse_truth(tables))
    stage.write_json(_CALIBRATION, [asdict(row) for row in rows])
    stage.finish(input_hash, time.monotonic() - start)
    return model


def read_calibration(stage: Stage) -> list[CalibrationRow]:
    """What a variant that was trained in `stage` does at its decisions, beside what was planted."""
    return [CalibrationRow(**row) for row in stage.read_json(_CALIBRATION)]


def find_missed(rows: list[CalibrationRow]) -> list[CalibrationRow]:
    """Groups in which the variant does not do what was planted."""
    return [row for row in rows if row.group in JUDGED and abs(row.model - row.truth) > TOLERANCE]
