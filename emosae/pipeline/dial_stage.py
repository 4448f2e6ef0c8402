"""Choose the dials of a run and build the arms that turn them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from emosae.interventions import mean_resid_norm
from emosae.lm import read_resid
from emosae.pipeline.inputs import Inputs
from emosae.scenarios.conditions import (
    Condition,
    FeatureSet,
    Vector,
    build_conditions,
    draw_direction,
    draw_matched_direction,
    draw_matched_features,
    hide_naming,
)
from emosae.scenarios.dials import Dial, find_candidates, find_silent, with_pairs
from emosae.scenarios.output_score import measure_output_score
from emosae.scenarios.text_gain import measure_text_gains
from emosae.selectivity import emotion_vectors

FORMAT_TASKS = 60
UNIT_TEXTS = 200
OTHER_STORIES = 24
NEUTRAL_TEXTS = 32
BEGINNING = 24
SELECTIVE_AUROC = 0.7


@dataclass(frozen=True, eq=False)
class Dials:
    """The features that are turned.

    Attributes:
        chosen: The dial of each emotion that has one.
        second: For targets and opponents a dial from another SAE.
        resid_norm: Mean residual norm on discover and tune stories, by hook; the unit of doses.
        doses: The primary dose of each emotion's dials.
        format_mean: Mean activation of every feature on task text, by SAE.
    """

    chosen: Mapping[str, Dial]
    second: Mapping[str, Dial]
    resid_norm: Mapping[str, float]
    doses: Mapping[str, float]
    format_mean: Mapping[str, Float[np.ndarray, " d_sae"]]

    def feature_set(self, inputs: Inputs, dial: Dial) -> FeatureSet:
        """The dial as something that an arm can turn."""
        return _as_feature_set(inputs, dial, self.resid_norm)

    def sets(self, inputs: Inputs, emotions: Sequence[str]) -> list[FeatureSet]:
        """Of those emotions that have a dial."""
        return [self.feature_set(inputs, self.chosen[name]) for name in emotions if name in self.chosen]


def _as_feature_set(inputs: Inputs, dial: Dial, norms: Mapping[str, float]) -> FeatureSet:
    dictionary = inputs.dictionaries[dial.sae]
    return FeatureSet(dial.emotion, dictionary, dial.feature_idx, norms[dial.hook_name], dial.max_act)


def find_dials(inputs: Inputs) -> Dials:
    """A dial for every emotion of the corpus that has a fit feature, and second ones for targets and opponents.

    Of an emotion that is turned, the candidate or pair of candidates with the largest text gain is taken; of the others
    the best score.
    """
    hooks = sorted({dictionary.hook_name for dictionary in inputs.dictionaries.values()})
    norms = {hook: measure_unit_norm(inputs, hook) for hook in hooks}
    means = _format_means(inputs, _format_prompts(inputs))
    candidates = find_candidates(inputs.emotions, inputs.features, inputs.dictionaries, inputs.stories, means)
    section = inputs.cfg.scenarios
    for name in (*section.targets, *section.opponents, *section.decoys):
        if name in candidates:
            candidates[name] = _rank_by_gain(inputs, candidates[name], norms)
    chosen = {name: dials[0] for name, dials in candidates.items()}
    second = {}
    for name in (*section.targets, *section.opponents):
        others = [dial for dial in candidates.get(name, ()) if dial.sae != chosen[name].sae]
        second |= {name: others[0]} if others else {}
    doses = {name: section.doses_by_dial.get(name, section.common_dose) for name in chosen}
    return Dials(chosen, second, norms, doses, means)


def _rank_by_gain(inputs: Inputs, dials: Sequence[Dial], norms: Mapping[str, float]) -> list[Dial]:
    """Candidates of one emotion, and pairs of them, by how much likelier they make its tune stories."""
    own, others = tune_documents(inputs, dials[0].emotion)
    if not own or not others:
        return list(dials)
    dials = with_pairs(dials)
    sets = [_as_feature_set(inputs, dial, norms) for dial in dials]
    gains = measure_text_gains(inputs.lm, sets, own, others, inputs.cfg.scenarios.common_dose)
    measured = [replace(dial, text_gain=gain) for dial, gain in zip(dials, gains, strict=True)]
    return sorted(measured, key=lambda dial: -dial.text_gain)


def tune_documents(inputs: Inputs, emotion: str) -> tuple[list[list[int]], list[list[int]]]:
    """Tune stories of an emotion, and some of all others, neutral ones among them; either may be empty."""
    tune = [story for story in inputs.stories if story.split == "tune"]
    own = [inputs.lm.document(story.text) for story in tune if story.emotion == emotion]
    others = [inputs.lm.document(story.text) for story in tune if story.emotion != emotion]
    return own[:OTHER_STORIES], others[:: max(1, len(others) // OTHER_STORIES)]


def measure_unit_norm(inputs: Inputs, hook_name: str) -> float:
    """The unit of doses at a hook: the mean length of the residual on stories that are not for confirmation."""
    stories = [story for story in inputs.stories if story.split != "confirm"]
    texts = [inputs.lm.document(story.text) for story in stories[:: max(1, len(stories) // UNIT_TEXTS)]]
    return mean_resid_norm(inputs.lm, texts, hook_name)


def _format_prompts(inputs: Inputs) -> list[list[int]]:
    tasks = (inputs.tune_tasks or inputs.tasks(impossible=True))[:FORMAT_TASKS]
    words = inputs.code_format
    return [inputs.lm.chat([{"role": "user", "content": words.first_message(task)}]) for task in tasks]


def _format_means(inputs: Inputs, prompts: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    hooks = sorted({dictionary.hook_name for dictionary in inputs.dictionaries.values()})
    totals = {name: torch.zeros(one.d_sae, dtype=torch.float64) for name, one in inputs.dictionaries.items()}
    count = 0
    for _, resid in read_resid(inputs.lm, prompts, hooks):
        count += len(resid[hooks[0]])
        for name, dictionary in inputs.dictionaries.items():
            totals[name] += dictionary.encode(resid[dictionary.hook_name]).double().sum(dim=0).cpu()
    return {name: (total / count).numpy() for name, total in totals.items()}


def neutral_beginnings(inputs: Inputs) -> list[list[int]]:
    """Beginnings of discover and tune stories without emotion, or of any stories where there are none."""
    stories = [story for story in inputs.stories if story.split != "confirm"]
    neutral = [story for story in stories if story.is_neutral] or stories
    return [inputs.lm.document(story.text)[:BEGINNING] for story in neutral[:NEUTRAL_TEXTS]]


def tabulate_dials(inputs: Inputs, dials: Dials) -> pa.Table:
    """A row per feature of each dial, with the dial's output score at the primary dose.

    `dial_size` is how many features are turned together; what an arm did is then the work of them all.
    """
    prompts, rows = neutral_beginnings(inputs), []
    for seed, group in (("first", dials.chosen), ("second", dials.second)):
        for dial in group.values():
            score = measure_output_score(inputs.lm, dials.feature_set(inputs, dial), prompts, dials.doses[dial.emotion])
            facts = {
                "emotion": dial.emotion,
                "choice": seed,
                "sae": dial.sae,
                "hook_name": dial.hook_name,
                "dial_size": len(dial.feature_idx),
                "auroc": dial.auroc,
                "cosine": dial.cosine,
                "score": dial.score,
                "text_gain": dial.text_gain,
                "output_score": score.estimate,
                "output_score_lo": score.lo,
                "output_score_hi": score.hi,
            }
            turned = zip(dial.feature_idx, dial.max_act, strict=True)
            rows += [{**facts, "feature_idx": feature_idx, "max_act": max_act} for feature_idx, max_act in turned]
    return pa.Table.from_pylist(rows)


def build_arms(inputs: Inputs, dials: Dials) -> list[Condition]:
    """Every arm of the experiment; those of the causal dials again with naming sentences taken out."""
    section = inputs.cfg.scenarios
    rng = np.random.default_rng([inputs.cfg.seed, 9])
    targets, opponents = dials.sets(inputs, section.targets), dials.sets(inputs, section.opponents)
    reference = _primary_dial(inputs, dials)
    arms = build_conditions(
        dose=dials.doses[reference.emotion] if reference else section.common_dose,
        doses=dials.doses,
        targets=targets,
        opponents=opponents,
        decoys=dials.sets(inputs, section.decoys),
        random_sets=_random_sets(inputs, dials, reference, rng) if reference else (),
        vectors=_mean_vectors(inputs, dials),
        directions=_random_directions(inputs, dials, rng),
        other_doses=section.other_doses,
        composure_doses=section.composure_doses,
        composure_episodes=section.composure_episodes,
        way_out=section.way_out,
    )
    causal = [arm for arm in arms if arm.role in ("none", "target", "opponent") and arm.primary]
    return arms + hide_naming([arm for arm in causal if arm.method != "vector"], inputs.emotions)


def _random_sets(inputs: Inputs, dials: Dials, reference: Dial, rng: np.random.Generator) -> list[FeatureSet]:
    """Features that fire as often as the target's, as little on task text, and are selective for no emotion."""
    profiles = [row for row in inputs.selectivity.profiles.to_pylist() if row["sae"] == reference.sae]
    dictionary = inputs.dictionaries[reference.sae]
    table = next(table for table in inputs.features if table.sae == reference.sae)
    loud = np.flatnonzero(~find_silent(table, inputs.stories, dials.format_mean[reference.sae]))
    sets = draw_matched_features(
        np.array([row["fire_rate"] for row in profiles]),
        np.array([float(dictionary.direction(row["feature_idx"]).norm()) for row in profiles]),
        find_selective(inputs, reference.sae) | set(loud.tolist()),
        reference.feature_idx,
        inputs.cfg.scenarios.random_sets,
        rng,
    )
    norm = dials.resid_norm[reference.hook_name]
    return [FeatureSet(f"random {n}", dictionary, chosen, norm) for n, chosen in enumerate(sets)]


def find_selective(inputs: Inputs, sae: str) -> set[int]:
    """The features of an SAE with an AUROC over 0.7 for any emotion on discover and tune, which no control may be."""
    rows = [row for row in inputs.selectivity.profiles.to_pylist() if row["sae"] == sae]
    return {row["feature_idx"] for row in rows if max(row[name] for name in inputs.emotions) > SELECTIVE_AUROC}


def _mean_vectors(inputs: Inputs, dials: Dials) -> list[Vector]:
    """Difference-of-means vectors of targets and opponents, at the hook of the first one's dial."""
    section = inputs.cfg.scenarios
    hook = _primary_hook(inputs, dials)
    table = next(table for table in inputs.features if table.hook_name == hook)
    vectors = emotion_vectors(table.resid_mean, inputs.stories)
    names = [name for name in (*section.targets, *section.opponents) if name in vectors]
    return [Vector(name, hook, vectors[name], dials.resid_norm[hook]) for name in names]


def _random_directions(inputs: Inputs, dials: Dials, rng: np.random.Generator) -> list[Vector]:
    """One direction of any kind, and one drawn where residuals vary."""
    hook = _primary_hook(inputs, dials)
    table = next(table for table in inputs.features if table.hook_name == hook)
    norm = dials.resid_norm[hook]
    return [
        Vector("random direction", hook, draw_direction(inputs.lm.d_in, rng), norm),
        Vector("varying direction", hook, draw_matched_direction(table.resid_mean, rng), norm),
    ]


def _primary_dial(inputs: Inputs, dials: Dials) -> Dial | None:
    """What controls are matched to: the dial of the first target that has one, or of the first opponent."""
    section = inputs.cfg.scenarios
    turned = [dials.chosen[name] for name in (*section.targets, *section.opponents) if name in dials.chosen]
    return turned[0] if turned else None


def _primary_hook(inputs: Inputs, dials: Dials) -> str:
    dial = _primary_dial(inputs, dials)
    return dial.hook_name if dial else inputs.features[0].hook_name
