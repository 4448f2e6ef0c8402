"""Loops with failures and without: what features do over attempts, and how much of the cheating passes through them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from emosae.organism.coding_grammar import PASSED
from emosae.pipeline.dial_stage import Dials, find_selective
from emosae.pipeline.inputs import Inputs
from emosae.scenarios import Protocol
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.loops import Begun, Hold, LoopWords, begin_loops, play_loops
from emosae.scenarios.mediation import tabulate_mediation
from emosae.scenarios.trajectory import draw_counterparts, measure_firing, tabulate_trajectory

if TYPE_CHECKING:
    from emosae.scenarios.sandbox import ProgramRunner
    from emosae.store import Stage

ORGANISM_WORDS = LoopWords(again="", passed=PASSED)
HELD_DECOYS, HELD_RANDOM = 1, 1


def run_loops(inputs: Inputs, dials: Dials, protocol: Protocol, sandbox: ProgramRunner, stage: Stage) -> None:
    """Write `trajectory` and `mediation`, with the `loops` and `closings` that they come from.

    Traced are the dials of targets, opponents and decoys. Held are those of the targets, the first decoy's, and the
    first set that matches the first target's. Nothing is done where no target or opponent has a dial.
    """
    section = inputs.cfg.scenarios
    causal = dials.sets(inputs, (*section.targets, *section.opponents))
    n_episodes = min(section.mediation_episodes, section.episodes)
    if not causal or not n_episodes:
        return
    words = ORGANISM_WORDS if inputs.is_organism else LoopWords()
    begun = begin_loops(inputs.lm, replace(protocol, n_episodes=n_episodes), sandbox, words)
    decoys = dials.sets(inputs, section.decoys)
    matched = _draw_matched(inputs, [*causal, *decoys], begun[0])
    targets = [features for features in causal if features.name in section.targets]
    holds = [Hold(features, "target") for features in targets]
    holds += [Hold(features, "decoy") for features in decoys[:HELD_DECOYS]]
    holds += [Hold(features, "control") for one in targets[:1] for features in matched[one.name][:HELD_RANDOM]]
    traced = [*causal, *decoys, *(features for sets in matched.values() for features in sets)]
    loops = play_loops(begun, holds, traced, words, stage, progress=True)
    counts = {features.name: len(matched[features.name]) for features in (*causal, *decoys)}
    stage.write_table("trajectory", tabulate_trajectory(loops, stage.read_table("closings"), counts))
    stage.write_table("mediation", tabulate_mediation(loops))


def _draw_matched(inputs: Inputs, dials: list[FeatureSet], begun: Begun) -> dict[str, list[FeatureSet]]:
    """Sets of features for each dial that fire as often in first thoughts and are selective for no emotion."""
    rng = np.random.default_rng([inputs.cfg.seed, 11])
    names = {features.dictionary.name for features in dials}
    firing = {name: measure_firing(inputs.lm, begun.episodes, inputs.dictionaries[name]) for name in sorted(names)}
    selective = {name: find_selective(inputs, name) for name in names}
    return {
        features.name: draw_counterparts(
            features, firing[features.dictionary.name], selective[features.dictionary.name], rng
        )
        for features in dials
    }
