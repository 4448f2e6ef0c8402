"""How much of what a dial does passes through the part of it inside the emotion subspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from emosae.pipeline.dial_stage import Dials
from emosae.pipeline.inputs import Inputs
from emosae.scenarios import Protocol, run_episodes
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.part_arms import build_part_arms, gather_arms, tabulate_part_arms, tabulate_parts
from emosae.scenarios.subspace import (
    Subspace,
    added_by,
    draw_matched_subspace,
    draw_subspace,
    draw_varying_subspace,
    find_emotion_subspace,
)
from emosae.selectivity import emotion_vectors

if TYPE_CHECKING:
    from emosae.scenarios.sandbox import ProgramRunner
    from emosae.store import Stage

VARYING, MATCHED = "varying subspace", "matched subspace"
CHOOSING = ("discover", "tune")


def run_parts(
    inputs: Inputs, dials: Dials, protocol: Protocol, sandbox: ProgramRunner, stage: Stage, rollouts: pa.Table
) -> None:
    """Write `subspace` and `subspace_arms`: the targets' dials inside and outside the emotion subspace of their hook.

    Arms with nothing done and with the whole dial turned up are those of the experiment, of which the first
    `subspace_episodes` are taken. Nothing is done where no target has a dial.
    """
    section = inputs.cfg.scenarios
    n_episodes = min(section.subspace_episodes, section.episodes)
    terms, arms = [], []
    for features in dials.sets(inputs, section.targets) if n_episodes else ():
        emotion = _find_subspace(inputs, features)
        if emotion.rank == 0:
            continue
        controls, dose = _draw_controls(inputs, features, emotion), dials.doses[features.name]
        conditions = build_part_arms(features, emotion, controls, dose, n_episodes)
        played = [
            run_episodes(inputs.lm, condition, protocol, sandbox, stage.substage("subspace"))
            for condition in tqdm(conditions, desc=f"parts of {features.name}", unit="arm")
        ]
        together = gather_arms(rollouts, pa.concat_tables(played), features, dose)
        terms.append(tabulate_parts(together, features, emotion))
        arms.append(tabulate_part_arms(together, features, emotion, controls, dose))
    if terms:
        stage.write_table("subspace", pa.concat_tables(terms))
        stage.write_table("subspace_arms", pa.concat_tables(arms))


def _find_subspace(inputs: Inputs, features: FeatureSet) -> Subspace:
    """What the emotion vectors of discover and tune stories span where the dial writes."""
    resid = inputs.resid_means[features.dictionary.hook_name]
    return find_emotion_subspace(emotion_vectors(resid, inputs.stories, splits=CHOOSING))


def _draw_controls(inputs: Inputs, features: FeatureSet, emotion: Subspace) -> dict[str, Subspace]:
    """Random subspaces of the same rank; one where discover and tune stories vary, one that holds as much of the dial.

    The last two only beside random ones.
    """
    rng = np.random.default_rng([inputs.cfg.seed, 17])
    rank, n_drawn = emotion.rank, inputs.cfg.scenarios.subspace_random
    drawn = {f"random subspace {n}": draw_subspace(rank, features.dictionary.d_in, rng) for n in range(n_drawn)}
    if not n_drawn:
        return drawn
    rows = [row for row, story in enumerate(inputs.stories) if story.split in CHOOSING]
    if len(rows) > rank:
        resid = inputs.resid_means[features.dictionary.hook_name][rows]
        drawn[VARYING] = draw_varying_subspace(resid, rank, rng)
    whole = added_by(features, 1.0)
    drawn[MATCHED] = draw_matched_subspace(whole, emotion.energy(whole), rank, rng)
    return drawn
