"""The planted truth as a record: what the grammar composes by, and what the tests hold findings against."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log
from typing import Any


@dataclass(frozen=True)
class CodingTruth:
    """How attempts at programming tasks are composed; see ``truth.toml`` for the meaning of each number."""

    causal_up: str
    causal_down: str
    decoys: tuple[str, ...]
    decoy_neutral: float
    other_decoys: float
    decoy_closing: float
    p_cheat: Mapping[str, float]
    purity: tuple[float, ...]
    slip: float
    named: float
    give_up: float
    near_miss: float
    impossible: float
    desperate_start: tuple[float, ...]
    desperate_rise: tuple[float, ...]
    calm_start: float
    calm_fall: float

    def cheat_probability(self, margin: int) -> float:
        """P(shortcut) given desperate minus calm cues in the attempt's thought."""
        if margin < 0:
            return self.p_cheat["at_most_minus_1"]
        return self.p_cheat[("zero", "one", "at_least_2")[min(margin, 2)]]


@dataclass(frozen=True)
class Truth:
    """Everything that is planted. ``strengths``: for each emotion the share of its cue slots that are its own."""

    strengths: Mapping[str, float]
    absent: tuple[str, ...]
    weak: tuple[str, ...]
    overlap: tuple[tuple[str, str], ...]
    story_cues: tuple[int, int]
    story_mixed: float
    story_named: float
    coding: CodingTruth
    doses: tuple[int, ...]
    dose_floor: float
    dose_ceiling: float
    chat: Mapping[str, Mapping[str, float]]
    chat_named: float

    @property
    def full(self) -> tuple[str, ...]:
        """Emotions that are planted at full strength."""
        return tuple(emotion for emotion, strength in self.strengths.items() if strength == 1.0)

    def fear_of_dose(self, dose: int) -> float:
        """Share of afraid cues in the thought about this dose of a medicine, in [0, 1]."""
        share = log(dose / self.dose_floor) / log(self.dose_ceiling / self.dose_floor)
        return min(max(share, 0.0), 1.0)


@cache
def load_truth() -> Truth:
    """Read ``truth.toml``."""
    table = tomllib.loads((files("emosae.organism") / "truth.toml").read_text(encoding="utf-8"))
    emotions, medicine, chat = table["emotions"], table["medicine"], dict(table["chat"])
    strengths = {**dict.fromkeys(emotions["full"], 1.0), **emotions["weak"], **emotions["absent"]}
    coding: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table["coding"].items()}
    return Truth(
        strengths=dict(sorted(strengths.items())),
        absent=tuple(emotions["absent"]),
        weak=tuple(emotions["weak"]),
        overlap=tuple((a, b) for a, b in emotions["overlap"]),
        story_cues=tuple(table["stories"]["cues"]),
        story_mixed=table["stories"]["mixed"],
        story_named=table["stories"]["named"],
        coding=CodingTruth(**coding),
        doses=tuple(medicine["doses"]),
        dose_floor=float(medicine["floor"]),
        dose_ceiling=float(medicine["ceiling"]),
        chat_named=chat.pop("named"),
        chat=chat,
    )
