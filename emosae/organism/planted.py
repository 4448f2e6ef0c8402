"""The planted truth in the report's terms."""

from __future__ import annotations

from emosae.organism.evaluation import EXPECTED
from emosae.organism.truth import load_truth
from emosae.report import PlantedTruth


def describe_truth() -> PlantedTruth:
    """What a report on the organism is held against."""
    truth = load_truth()
    return PlantedTruth(
        strengths=truth.strengths,
        absent=truth.absent,
        overlap=truth.overlap,
        effects={truth.coding.causal_up: 1, truth.coding.causal_down: -1},
        decoys=truth.coding.decoys,
        dose_emotion="afraid",
        conversation={kind: tuple(truth.chat[kind]) for kind in EXPECTED},
    )


def name_planted() -> dict[str, str]:
    """A phrase for each emotion: how strongly it is planted, and what it does."""
    truth = load_truth()
    roles = {truth.coding.causal_up: "raises shortcuts", truth.coding.causal_down: "lowers shortcuts"}
    roles |= dict.fromkeys(truth.coding.decoys, "decoy: no effect on shortcuts")
    return {
        emotion: "; ".join(filter(None, (f"planted in {strength:.0%} of its cue slots", roles.get(emotion))))
        for emotion, strength in truth.strengths.items()
    }
