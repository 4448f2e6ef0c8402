"""Up to which dose a dial leaves text in one piece, and which dose is fixed for it.

A dose is coherent if what the model writes with the dial up is still text by the model's own standard. A continuation
is well-formed if it is no more surprising to the unedited model, and repeats itself no more, than all but the worst 5%
of unedited continuations of the same beginnings; surprise has half a nat of room, because a felt text is less expected
than a neutral one without being broken. A coherent dose keeps four fifths of the share that unedited ones have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from emosae.errors import UserError
from emosae.generation import generate
from emosae.hooks import NO_EDITS, EditFn
from emosae.interventions import edit_fns, token_kl
from emosae.lm import LanguageModel, read_logits
from emosae.prompts import Prompt
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.text_gain import log_likelihoods, measure_text_gains

KEPT_SHARE = 0.8
ORDINARY = 0.95
ROOM = 0.5
GRAM = 3
NUMBERS = ("dose", "dose_of_max", "kl", "loss_rise", "text_gain", "surprise", "repetition", "well_formed")


@dataclass(frozen=True, eq=False, slots=True)
class TuneText:
    """What dials are calibrated on, as ids; all of it from tune stories.

    Attributes:
        beginnings: What the model goes on from.
        neutral: Text without emotion.
        own: Stories of each dial's emotion.
        others: Stories of other emotions, by dial.
        n_tokens: Length of a continuation.
        seed: Start of the randomness of continuations, the same at every dose.
    """

    beginnings: Sequence[Sequence[int]]
    neutral: Sequence[Sequence[int]]
    own: Mapping[str, Sequence[Sequence[int]]]
    others: Mapping[str, Sequence[Sequence[int]]]
    n_tokens: int = 32
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """Continuations, one by one.

    Attributes:
        surprise: Nats per token that the unedited model gives them.
        repetition: Share of their runs of three tokens that occurred in them before, in [0, 1].
    """

    surprise: Float[np.ndarray, " text"]
    repetition: Float[np.ndarray, " text"]

    def are_well_formed(self, ordinary: Written) -> Bool[np.ndarray, " text"]:
        """Which are no worse than all but the worst 5% of `ordinary` ones; half a nat of surprise is forgiven."""
        surprise, repetition = (np.quantile(v, ORDINARY) for v in (ordinary.surprise, ordinary.repetition))
        return (self.surprise <= surprise + ROOM) & (self.repetition <= repetition)


def write_on(lm: LanguageModel, text: TuneText, edits: Mapping[str, EditFn]) -> Written:
    """Continuations of the beginnings under some edits, each with its own randomness, as the unedited model sees them.

    Refused: no beginnings, and a model that has nothing to say after any of them.
    """
    prompts = [Prompt(tuple(ids)) for ids in text.beginnings]
    rngs = [np.random.default_rng([text.seed, index]) for index in range(len(prompts))]
    rows = generate(lm, prompts, max_new_tokens=text.n_tokens, rngs=rngs, edits=edits)
    wholes = [prompt.then(row.ids, ()) for prompt, row in zip(prompts, rows, strict=True)]
    surprise = np.full(len(rows), math.nan)
    for index, logits in read_logits(lm, wholes):
        first, ids = len(prompts[index]), torch.tensor(rows[index].ids, device=logits.device)
        log_p = logits[first - 1 : -1].log_softmax(dim=1).gather(1, ids[:, None])
        surprise[index] = -float(log_p.double().mean())
    if not len(rows):
        raise UserError("there is no tune text to go on from: coherence cannot be measured")
    return Written(surprise, np.array([_repetition(row.ids) for row in rows]))


def _repetition(ids: Sequence[int]) -> float:
    grams = [tuple(ids[start : start + GRAM]) for start in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def measure_dose(
    lm: LanguageModel, features: FeatureSet, dose: float, text: TuneText, ordinary: Written
) -> dict[str, Any]:
    """What a dial at a dose does to text.

    Returns:
        `dose` (added norm over the mean residual norm), `dose_of_max`, `kl` (nats per token on neutral text),
        `loss_rise` (nats per token by which neutral text gets less likely), `text_gain` (see `measure_text_gains`; None
        without tune stories of the emotion), means of `surprise` and `repetition`, share `well_formed`, and `coherent`.
    """
    edits = edit_fns((features.up(dose),))
    marked = [Prompt(tuple(ids), (True,) * len(ids)) for ids in text.neutral]
    own, others = text.own.get(features.name, ()), text.others.get(features.name, ())
    written = write_on(lm, text, edits)
    share, usual = (float(one.are_well_formed(ordinary).mean()) for one in (written, ordinary))
    likelihoods = [float(log_likelihoods(lm, marked, changes).mean()) for changes in (NO_EDITS, edits)]
    measured = {
        "dose": dose,
        "dose_of_max": features.dose_of_max(dose),
        "kl": token_kl(lm, marked, edits),
        "loss_rise": likelihoods[0] - likelihoods[1],
        "text_gain": measure_text_gains(lm, [features], own, others, dose)[0] if own and others else math.nan,
        "surprise": float(written.surprise.mean()),
        "repetition": float(written.repetition.mean()),
        "well_formed": share,
        "coherent": share >= KEPT_SHARE * usual,
    }
    return {name: None if math.isnan(value) else value for name, value in measured.items()}


def choose_primary(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Of one dial's doses the one to fix, as a place in `rows`.

    The coherent range begins at the lowest dose and ends before the first that is not coherent. In it the dose with the
    largest text gain is taken, and the largest dose where the gain is unknown; None if the range is empty.
    """
    order = sorted(range(len(rows)), key=lambda place: rows[place]["dose"])
    broken = next((at for at, place in enumerate(order) if not rows[place]["coherent"]), len(order))
    gains = {place: rows[place]["text_gain"] for place in order[:broken]}
    if any(gain is None for gain in gains.values()):
        return order[broken - 1]
    return max(gains, key=gains.__getitem__, default=None)


def find_common_dose(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The largest dose up to which every dial is coherent; None if some dial is at no dose."""
    ends = []
    for emotion in {row["emotion"] for row in rows}:
        mine = sorted((row for row in rows if row["emotion"] == emotion), key=lambda row: row["dose"])
        broken = next((at for at, row in enumerate(mine) if not row["coherent"]), len(mine))
        ends.append({row["dose"] for row in mine[:broken]})
    return max(set.intersection(*ends), default=None) if ends else None
