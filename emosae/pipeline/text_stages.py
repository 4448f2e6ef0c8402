"""The stages from stories to selectivity: read, train, pool, rank."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from emosae.config import SaeFromRelease, SaeShipped, SaeToTrain
from emosae.features import check_saes, pool_features, read_spikable
from emosae.features.evaluation import evaluate_saes
from emosae.pipeline.control_readings import load_controls, read_controls
from emosae.pipeline.inputs import RESIDUALS, Inputs
from emosae.pipeline.training_metrics import open_metrics, read_metrics
from emosae.pipeline.training_rows import gather_rows
from emosae.report.ranking_page import RankingData, write_ranking_page
from emosae.report.ranking_search import say_limits
from emosae.report.training_page import write_training_page
from emosae.selectivity import (
    compare_baselines,
    count_looks,
    measure_baselines,
    measure_detection,
    rank_features,
    replicate_candidates,
    score_baselines,
    score_random_features,
    score_random_model,
    sweep_layers,
)
from emosae.stories import Story, format_stories
from emosae.training import SaeTrainSpec, clear_checkpoints, train_saes

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from emosae.selectivity import Selectivity
    from emosae.store import Stage

FIDELITY_STORIES = 200
EVALUATED_PER_EMOTION = 6
EVALUATED_TEXTS = 150
READ_PER_EMOTION = 8


def save_stories(inputs: Inputs, stage: Stage) -> None:
    """The corpus with its splits."""
    stage.write_text("stories.jsonl", format_stories(inputs.read_corpus()))


def make_saes(inputs: Inputs, stage: Stage) -> None:
    """Train what is to be trained, then measure every SAE on the run's own stories."""
    inputs.call_helpers()
    train_missing(inputs, stage)
    stage.write_table("saes", _measure_saes(inputs))
    _show_quality(inputs, stage)


def train_missing(inputs: Inputs, stage: Stage) -> None:
    """Train the SAEs that are not there yet off one reading of the text, those of one batch size off one stream.

    All processes of a data-parallel run call it; the first of them writes.
    """
    specs = [_spec(inputs, sae) for sae in inputs.cfg.saes if isinstance(sae, SaeToTrain) and not stage.has(sae.name)]
    inputs.world.wait()
    if not specs:
        if inputs.world.is_first:
            clear_checkpoints(stage)
        return
    hooks = sorted({spec.hook_name for spec in specs})
    rows = gather_rows(inputs, hooks)
    tracker = partial(open_metrics, inputs, stage)
    for batch_size in sorted({spec.batch_size for spec in specs}):
        group = [spec for spec in specs if spec.batch_size == batch_size]
        stream = rows.open_stream(batch_size)
        train_saes(stream, rows.held_out, group, stage, open_tracker=tracker, progress=True)


def _spec(inputs: Inputs, sae: SaeToTrain) -> SaeTrainSpec:
    settings = sae.model_dump(exclude={"seed"})
    seed = sae.seed + inputs.cfg.seed
    return SaeTrainSpec(model_name=inputs.lm.name, seed=seed, device=inputs.cfg.model.device, **settings)


def _measure_saes(inputs: Inputs) -> pa.Table:
    """A row per SAE: what it is, and fvu, l0 and dead share on some of the run's stories."""
    documents = [inputs.lm.document(story.text) for story in inputs.stories]
    sample = documents[:: max(1, len(documents) // FIDELITY_STORIES)]
    qualities = check_saes(inputs.lm, inputs.dictionaries, sample)
    rows = []
    for sae in inputs.cfg.saes:
        dictionary, quality = inputs.dictionaries[sae.name], qualities[sae.name]
        rows.append(
            {
                "name": sae.name,
                "hook_name": dictionary.hook_name,
                "d_sae": dictionary.d_sae,
                "architecture": dictionary.architecture,
                "seed": dictionary.spec.get("seed"),
                "origin": _origin(sae),
                "location": inputs.locate_sae(sae),
                "fvu": quality.fvu,
                "l0": quality.l0,
                "dead_fraction": quality.dead_fraction,
                "mean_resid_norm": quality.mean_resid_norm,
                "n_tokens": quality.n_tokens,
                "weight_hash": dictionary.weight_hash,
            }
        )
    return pa.Table.from_pylist(rows)


def _show_quality(inputs: Inputs, stage: Stage) -> None:
    """Evaluate every SAE on some stories, save that beside each, and write a page on all of them.

    Confirm stories are left out, since whoever reads the page may choose SAEs by it.
    """
    own = [name for name, dictionary in inputs.dictionaries.items() if dictionary.spec]
    stories = _spread_stories(inputs, EVALUATED_PER_EMOTION)
    documents = [inputs.lm.document(story.text) for story in stories]
    evaluations = evaluate_saes(
        inputs.lm,
        inputs.dictionaries,
        documents[:: max(1, -(-len(documents) // EVALUATED_TEXTS))],
        stories,
        seen=() if inputs.is_organism else own,
        batch_tokens=inputs.cfg.features.batch_tokens,
    )
    for name, evaluation in evaluations.items():
        stage.write_json(f"{name}.evaluation", evaluation.to_json())
    metrics = [record for name in own for record in read_metrics(inputs, stage, name)]
    write_training_page(stage, list(evaluations.values()), metrics)


def _spread_stories(inputs: Inputs, per_emotion: int) -> list[Story]:
    """So many stories of each emotion, and of neutral text, from all over discover and tune."""
    by_emotion: dict[str, list[Story]] = defaultdict(list)
    for story in inputs.stories:
        if story.split != "confirm":
            by_emotion[story.emotion].append(story)
    return [story for own in by_emotion.values() for story in own[:: -(-len(own) // per_emotion)]]


def _origin(sae: object) -> str:
    if isinstance(sae, SaeToTrain):
        return "trained"
    if isinstance(sae, SaeShipped):
        return "shipped"
    return "release" if isinstance(sae, SaeFromRelease) else "directory"


def pool(inputs: Inputs, stage: Stage) -> None:
    """Every SAE's activations on every story and the residuals of the layer sweep, in one pass; then the controls."""
    section = inputs.cfg.features
    pooled = pool_features(
        inputs.lm,
        inputs.dictionaries,
        inputs.stories,
        hooks=inputs.swept_hooks,
        skip_tokens=section.skip_tokens,
        batch_tokens=section.batch_tokens,
        memory_mb=section.memory_mb,
        progress=True,
    )
    for name, table in pooled.features.items():
        table.save(stage.substage(name))
    if pooled.resid_mean:
        stage.write_tensors(RESIDUALS, pooled.resid_mean)
    sample = _spread_stories(inputs, READ_PER_EMOTION)
    read_controls(inputs, stage, list(pooled.features.values()), sample)


def rank(inputs: Inputs, stage: Stage) -> None:
    """Which features tell which emotions apart, beside baselines and by layer; confirm is read here and counted."""
    section = inputs.cfg.selectivity
    features, stories = inputs.features, inputs.stories
    controls = load_controls(inputs.store.stage("features"))
    ranking = rank_features(
        features,
        stories,
        rng=np.random.default_rng([inputs.cfg.seed, 5]),
        alpha=section.alpha,
        permutations=section.permutations,
        top=section.top,
        masked=controls.masked,
        firings=controls.firings,
    )
    ranking.save(stage)
    draws = np.random.default_rng([inputs.cfg.seed, 6])
    scores = [
        *score_baselines(features, stories),
        score_random_features(features, stories, ranking.summary, draws),
        *score_random_model(controls.untrained, stories),
    ]
    found = {
        "baselines": measure_baselines(features, stories, scores),
        "comparisons": compare_baselines(features, stories, ranking.summary, scores),
        "layers": sweep_layers(features, inputs.resid_means, stories, ranking.candidates),
    }
    found |= _try_the_search(inputs, ranking)
    for name, table in found.items():
        stage.write_table(name, table)
    looks = {"confirm_stories": ranking.looks, "confirm_stories_of_partners": count_looks(found["replication"])}
    inputs.store.update_manifest(looks=looks)
    write_ranking_page(
        stage,
        RankingData(
            inputs.model_title,
            inputs.is_organism,
            section.alpha,
            ranking,
            masked_share=controls.masked_share,
            **found,
        ),
    )


def _try_the_search(inputs: Inputs, ranking: Selectivity) -> dict[str, pa.Table]:
    """How selective a feature had to be to be found, and whether the candidates are found in a second SAE."""
    features, stories, section = inputs.features, inputs.stories, inputs.cfg.selectivity
    read = partial(
        read_spikable,
        inputs.lm,
        inputs.dictionaries,
        skip_tokens=inputs.cfg.features.skip_tokens,
        batch_tokens=inputs.cfg.features.batch_tokens,
    )
    rng = np.random.default_rng([inputs.cfg.seed, 8])
    detection = measure_detection(features, stories, read, rng=rng, alpha=section.alpha, n_spikes=section.spikes)
    replication = replicate_candidates(features, inputs.dictionaries, stories, ranking.candidates, rng=rng)
    for line in say_limits(ranking.summary, detection):
        _log.info("%s", line)
    return {"detection": detection, "replication": replication}
