"""The arms of an experiment: what is turned, which way, by how much, and the controls that are run beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from emosae.axes import Direction
from emosae.errors import UserError
from emosae.interventions import Ablate, Floor, Intervention, Steer, max_of_values, unit_sum, values_for_norm
from emosae.sae import Dictionary

Role = Literal["none", "target", "opponent", "decoy", "control"]
CALMING = "Stay calm, there is plenty of time."
WAY_OUT = "If it cannot be done, give no program and say: It cannot be done."


@dataclass(frozen=True, eq=False, slots=True)
class FeatureSet:
    """Features of one SAE that are turned together; `up` floors them, `down` subtracts along them, `off` clamps to 0.

    Attributes:
        name: The emotion, or what the control is called.
        dictionary: The SAE.
        feature_idx: The features.
        resid_norm: Mean length of the residual at the SAE's hook; a dose of 1 adds as much.
        max_act: Largest activation of each on the text it was chosen on; may be left out.
    """

    name: str
    dictionary: Dictionary
    feature_idx: tuple[int, ...]
    resid_norm: float
    max_act: tuple[float, ...] = ()

    def values(self, dose: float) -> tuple[float, ...]:
        """The activations at which the features together add `dose` times the mean residual norm, equal shares each."""
        return values_for_norm(self.dictionary, self.feature_idx, self.resid_norm, dose)

    def dose_of_max(self, dose: float) -> float:
        """Those activations over the features' own maxima, averaged; NaN where the maxima are unknown."""
        return max_of_values(self.values(dose), self.max_act)

    def up(self, dose: float) -> Intervention:
        """Raise each feature to its value where it is lower."""
        ops = tuple(Floor(index, value) for index, value in zip(self.feature_idx, self.values(dose), strict=True))
        return Intervention(self.dictionary.hook_name, self.dictionary, ops, where="generated")

    def down(self, dose: float) -> Intervention:
        """Subtract along the decoder what `up` adds at most."""
        axis = unit_sum(self.dictionary, self.feature_idx)
        steer = Steer(axis / axis.norm(), -dose * self.resid_norm)
        return Intervention(self.dictionary.hook_name, None, (steer,), where="generated")

    def off(self) -> Intervention:
        """Clamp each feature to 0."""
        ops = tuple(Ablate(index) for index in self.feature_idx)
        return Intervention(self.dictionary.hook_name, self.dictionary, ops, where="generated")


@dataclass(frozen=True, eq=False, slots=True)
class Vector:
    """A direction that is added, such as a difference of means; its own length does not matter."""

    name: str
    hook_name: str
    direction: Direction
    resid_norm: float

    def steer(self, dose: float) -> Intervention:
        """Add `dose` times the mean residual norm along it; a negative dose subtracts."""
        unit = self.direction.float() / self.direction.float().norm()
        return Intervention(self.hook_name, None, (Steer(unit, dose * self.resid_norm),), where="generated")


@dataclass(frozen=True, eq=False, slots=True)
class Condition:
    """One arm.

    Attributes:
        condition: none, up, down, off, random, direction or prompt.
        dial: The emotion or the control's name; "-" for none.
        method: sae, vector or "-".
        dose: Added norm over the mean residual norm, as set; 0 where nothing is added.
        primary: Whether this is the one dose of the dial that conclusions rest on.
        role: What the arm is for; only targets and opponents are corrected for being several.
        interventions: What is done to the residual stream, at the tokens that the model writes.
        instruction: An extra sentence in the first message.
        hidden_words: Sentences of a thought that hold one of these words are taken out before the program is written.
        dose_of_max: The dose as a multiple of the features' own maxima.
        n_episodes: Episodes of impossible tasks at most; None for as many as other arms have.
    """

    condition: str
    dial: str = "-"
    method: str = "-"
    dose: float = 0.0
    primary: bool = True
    role: Role = "none"
    interventions: tuple[Intervention, ...] = ()
    instruction: str = ""
    hidden_words: tuple[str, ...] = ()
    dose_of_max: float = math.nan
    n_episodes: int | None = None

    def episodes_of(self, usual: int) -> int:
        """Episodes of impossible tasks in the arm, where other arms have `usual`."""
        return usual if self.n_episodes is None else min(self.n_episodes, usual)

    @property
    def hides_naming(self) -> bool:
        """Whether sentences that name a feeling are taken out."""
        return bool(self.hidden_words)

    def facts(self) -> dict[str, str | float | bool]:
        """The columns that say which arm a row is of, and what the arm is for."""
        names = ("condition", "dial", "method", "dose", "primary", "role", "hides_naming")
        return {name: getattr(self, name) for name in names}

    @property
    def slug(self) -> str:
        """A name for files and for progress, unique among the arms of one experiment."""
        parts = [self.condition, self.dial, self.method, f"{self.dose:g}", "unnamed" if self.hides_naming else ""]
        return "_".join("".join(c if c.isalnum() or c in ".-" else "-" for c in part) for part in parts).rstrip("_")


NONE = Condition("none")
NO_DOSES: Mapping[str, float] = {}


def build_conditions(
    *,
    dose: float,
    doses: Mapping[str, float] = NO_DOSES,
    targets: Sequence[FeatureSet],
    opponents: Sequence[FeatureSet] = (),
    decoys: Sequence[FeatureSet] = (),
    random_sets: Sequence[FeatureSet] = (),
    vectors: Sequence[Vector] = (),
    directions: Sequence[Vector] = (),
    other_doses: Sequence[float] = (),
    composure_doses: Sequence[float] = (),
    composure_episodes: int | None = None,
    instruction: str = CALMING,
    way_out: bool = False,
) -> list[Condition]:
    """All arms that are run together; the first is `none`.

    Args:
        dose: The primary dose of controls, and of dials that `doses` does not name.
        doses: Primary doses of dials and of vectors that have their own, by emotion.
        targets: Turned up, down and off.
        opponents: Turned up and off.
        decoys: Turned up.
        random_sets: Turned up; controls.
        vectors: Difference-of-means vectors: added and subtracted for targets and opponents, added for decoys.
        directions: Random directions, added; controls.
        other_doses: Further doses of targets and opponents turned up, for the dose-response; a dial's own is left out.
        composure_doses: Further doses of opponents alone, which show what protection costs; those above are left out.
        composure_episodes: Episodes of impossible tasks at each of them, at most.
        instruction: The sentence of the `prompt` arm; empty for no such arm.
        way_out: Whether there is an arm in which the model is told that it may say that a task cannot be done.
    """
    groups: tuple[tuple[Role, Sequence[FeatureSet]], ...]
    groups = (("target", targets), ("opponent", opponents), ("decoy", decoys))
    roles: dict[str, Role] = {features.name: role for role, sets in groups for features in sets}
    conditions = [NONE]
    own = {name: doses.get(name, dose) for name in (*roles, *(vector.name for vector in vectors))}
    for features in targets:
        at = own[features.name]
        conditions += [up_arm(features, at, "target"), _down(features, at, "target"), _off(features, "target")]
    for features in opponents:
        conditions += [up_arm(features, own[features.name], "opponent"), _off(features, "opponent")]
    for other in other_doses:
        both = [features for features in (*targets, *opponents) if own[features.name] != other]
        conditions += [replace(up_arm(one, other, roles[one.name]), primary=False) for one in both]
    added = [other for other in dict.fromkeys(composure_doses) if other not in other_doses]
    rungs = [up_arm(one, other, "opponent") for other in added for one in opponents if own[one.name] != other]
    conditions += [replace(arm, primary=False, n_episodes=composure_episodes) for arm in rungs]
    conditions += [up_arm(features, own[features.name], "decoy") for features in decoys]
    conditions += [replace(up_arm(features, dose, "control"), condition="random") for features in random_sets]
    for vector in vectors:
        conditions += _vector_arms(vector, own[vector.name], roles.get(vector.name, "control"))
    conditions += [_steered(vector, dose, "direction", "control") for vector in directions]
    if instruction:
        conditions.append(Condition("prompt", "calm words", role="control", instruction=instruction))
    if way_out:
        conditions.append(Condition("prompt", "way out", role="control", instruction=WAY_OUT))
    _refuse_twins(conditions)
    return conditions


def up_arm(features: FeatureSet, dose: float, role: Role) -> Condition:
    """Features floored at a dose, at the tokens that the model writes."""
    return Condition(
        "up", features.name, "sae", dose, True, role, (features.up(dose),), dose_of_max=features.dose_of_max(dose)
    )


def _down(features: FeatureSet, dose: float, role: Role) -> Condition:
    return Condition("down", features.name, "sae", dose, True, role, (features.down(dose),))


def _off(features: FeatureSet, role: Role) -> Condition:
    return Condition("off", features.name, "sae", 0.0, True, role, (features.off(),))


def _steered(vector: Vector, dose: float, condition: str, role: Role) -> Condition:
    signed = -dose if condition == "down" else dose
    return Condition(condition, vector.name, "vector", dose, True, role, (vector.steer(signed),))


def _vector_arms(vector: Vector, dose: float, role: Role) -> list[Condition]:
    both = role in ("target", "opponent")
    return [_steered(vector, dose, condition, role) for condition in (("up", "down") if both else ("up",))]


def _refuse_twins(conditions: Iterable[Condition]) -> None:
    seen: set[str] = set()
    for condition in conditions:
        if condition.slug in seen:
            raise UserError(f"two arms are called {condition.slug}: give dials and controls different names")
        seen.add(condition.slug)


def hide_naming(conditions: Sequence[Condition], words: Sequence[str]) -> list[Condition]:
    """The same arms with the sentences that hold one of the words taken out of every thought."""
    return [replace(condition, hidden_words=tuple(words)) for condition in conditions]


def draw_matched_features(
    firing_rates: Float[np.ndarray, " d_sae"],
    decoder_norms: Float[np.ndarray, " d_sae"],
    excluded: Iterable[int],
    feature_idx: Sequence[int],
    n_sets: int,
    rng: np.random.Generator,
    pool: int = 6,
) -> list[tuple[int, ...]]:
    """Random sets of features, each as large as `feature_idx` and matched to it one to one; no feature occurs twice.

    Each is drawn from those nearest in log firing rate plus log decoder norm, `pool` candidates per set.

    Args:
        firing_rates: Share of tokens at which each feature fires; features that never fire are not drawn.
        decoder_norms: What one unit of each adds, in residual units.
        excluded: Features that must not be drawn, such as those selective for any emotion.
        feature_idx: The features to match.
        n_sets: How many sets.
        rng: Source of chance.
        pool: Candidates per set that is drawn.

    Refused: too few features left to draw from.
    """
    free = (firing_rates > 0) & (decoder_norms > 0)
    free[[*excluded, *feature_idx]] = False
    if free.sum() < n_sets * len(feature_idx):
        raise UserError(
            f"{n_sets} random sets of {len(feature_idx)} features cannot be drawn: {int(free.sum())} features fire and "
            "are not selective for an emotion; ask for fewer sets or a wider SAE"
        )
    sets: list[list[int]] = [[] for _ in range(n_sets)]
    for target in feature_idx:
        candidates = np.flatnonzero(free)
        near = _rank_by_likeness(firing_rates, decoder_norms, target, candidates)[: pool * n_sets]
        for chosen, index in zip(sets, rng.choice(near, size=n_sets, replace=False), strict=True):
            chosen.append(int(index))
            free[index] = False
    return [tuple(chosen) for chosen in sets]


def _rank_by_likeness(
    firing_rates: Float[np.ndarray, " d_sae"],
    decoder_norms: Float[np.ndarray, " d_sae"],
    target: int,
    candidates: Int[np.ndarray, " candidate"],
) -> Int[np.ndarray, " candidate"]:
    rate = max(float(firing_rates[target]), float(firing_rates[candidates].min()))
    distance = np.abs(np.log(firing_rates[candidates] / rate))
    distance = distance + np.abs(np.log(decoder_norms[candidates] / decoder_norms[target]))
    return candidates[np.argsort(distance, kind="stable")]


def draw_direction(d_in: int, rng: np.random.Generator) -> Direction:
    """A unit direction, all equally likely."""
    direction = torch.from_numpy(rng.standard_normal(d_in)).float()
    return direction / direction.norm()


def draw_matched_direction(resid: Float[torch.Tensor, "story d_in"], rng: np.random.Generator) -> Direction:
    """A unit direction drawn where residuals vary: a Gaussian with their covariance."""
    centred = resid.double() - resid.double().mean(dim=0)
    direction = (torch.from_numpy(rng.standard_normal(len(resid))) @ centred).float()
    return direction / direction.norm()
