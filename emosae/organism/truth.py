"""The planted truth as a record: what the grammar composes by, and what the tests hold findings against.

The shipped organism's is `truth.toml`; a variant's file `truth-NAME.toml` holds what it plants otherwise. A model that
this project trained has its whole truth beside its weights.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log
from pathlib import Path
from typing import Any

from emosae.errors import UserError

BESIDE = "planted_truth.json"
"""The file beside the weights of an organism that says what was planted in it."""


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
    up_start: tuple[float, ...]
    up_rise: tuple[float, ...]
    down_start: float
    down_fall: float

    def cheat_probability(self, margin: int) -> float:
        """P(shortcut) given cues of `causal_up` minus those of `causal_down` in the attempt's thought."""
        if margin < 0:
            return self.p_cheat["at_most_minus_1"]
        return self.p_cheat[("zero", "one", "at_least_2")[min(margin, 2)]]

    @property
    def effects(self) -> Mapping[str, int]:
        """Which emotions raise (1) or lower (-1) P(shortcut); empty where it is the same after every thought."""
        if len(set(self.p_cheat.values())) == 1:
            return {}
        return {self.causal_up: 1, self.causal_down: -1}


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
def list_variants() -> tuple[str, ...]:
    """Names of the variants, which differ from the shipped organism in what is planted."""
    found = (path.name for path in files("emosae.organism").iterdir())
    return tuple(sorted(n.removeprefix("truth-").removesuffix(".toml") for n in found if n.startswith("truth-")))


@cache
def load_truth(variant: str | None = None) -> Truth:
    """What the shipped organism plants, or a variant of it."""
    return parse_truth(read_tables(variant))


def read_tables(variant: str | None = None) -> dict[str, Any]:
    """``truth.toml`` as it stands, with a variant's keys in place of those that it changes.

    Raises:
        UserError: there is no such variant, or it changes a key that there is not.
    """
    tables = _read_toml("truth.toml")
    if variant is None:
        return tables
    if variant not in list_variants():
        raise UserError(f"no variant {variant!r} of the organism: there are {', '.join(list_variants())}")
    for section, changed in _read_toml(f"truth-{variant}.toml").items():
        if unknown := sorted(set(changed) - set(tables.get(section, ()))):
            raise UserError(f"truth-{variant}.toml: [{section}] {', '.join(unknown)}: not in truth.toml")
        tables[section] |= changed
    return tables


def find_truth(model: Path) -> Truth | None:
    """What is planted in the model in this directory, as the file beside its weights says; None if there is none."""
    path = model / BESIDE
    if not path.is_file():
        return None
    try:
        return parse_truth(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as broken:
        raise UserError(f"{path}: not a planted truth ({broken}); train the organism anew") from broken


def _read_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((files("emosae.organism") / name).read_text(encoding="utf-8"))


def parse_truth(table: Mapping[str, Any]) -> Truth:
    """The record of the tables of a truth file."""
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
