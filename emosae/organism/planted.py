"""The planted truth in the report's terms."""

from __future__ import annotations

from emosae.organism.evaluation import EXPECTED
from emosae.organism.truth import Truth
from emosae.report import PlantedTruth

_DOES = {1: "raises", -1: "lowers"}


def describe_truth(truth: Truth) -> PlantedTruth:
    """What a report on the organism is held against."""
    return PlantedTruth(
        strengths=truth.strengths,
        absent=truth.absent,
        overlap=truth.overlap,
        effects=truth.coding.effects,
        decoys=_without_effect(truth),
        dose_emotion="afraid",
        conversation={kind: tuple(truth.chat[kind]) for kind in EXPECTED},
    )


def name_planted(truth: Truth) -> dict[str, str]:
    """A phrase for each emotion: how strongly it is planted, and what it does."""
    roles = dict.fromkeys(_without_effect(truth), "decoy: no effect on shortcuts")
    roles |= {name: f"{_DOES[sign]} shortcuts" for name, sign in truth.coding.effects.items()}
    return {
        emotion: "; ".join(filter(None, (f"planted in {strength:.0%} of its cue slots", roles.get(emotion))))
        for emotion, strength in truth.strengths.items()
    }


def _without_effect(truth: Truth) -> tuple[str, ...]:
    """Emotions that are planted in thoughts about tasks and change nothing."""
    coding = truth.coding
    idle = (name for name in (coding.causal_up, coding.causal_down) if name not in coding.effects)
    return (*coding.decoys, *idle)
