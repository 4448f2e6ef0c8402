"""Trace features back: gradient x activation proposes what turns them on, and cutting it confirms or refutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from emosae.connections.cutting import Probe
from emosae.connections.gradients import read_slopes
from emosae.connections.links import CONNECTION_SCHEMA, Drops
from emosae.connections.sources import FeatureSources, TokenSources
from emosae.connections.targets import INPUT_HOOK, Excerpt, Target, cut_excerpts, find_strongest
from emosae.features import StoryFeatures
from emosae.hooks import depth_of
from emosae.lm import LanguageModel
from emosae.sae import Dictionary
from emosae.stories import Story

N_STORIES = 16
TOP = 4
N_CONTROLS = 2


@dataclass(frozen=True, eq=False, slots=True)
class _Settings:
    top: int
    n_controls: int
    rng: np.random.Generator


def trace_connections(
    lm: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    features: Sequence[StoryFeatures],
    stories: Sequence[Story],
    targets: Sequence[Target],
    *,
    rng: np.random.Generator,
    n_stories: int = N_STORIES,
    top: int = TOP,
    n_controls: int = N_CONTROLS,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
) -> pa.Table:
    """The tokens, and the features of earlier layers, that turn each target on.

    A target is read at its strongest token of each of the discover and tune stories where it is strongest. Every
    second of these stories chooses sources: the `top` tokens and the `top` features whose gradient x activation,
    summed over the positions up to that token, is largest. The other stories measure them: what share of the target's
    activation is lost when the source is cut, against matched controls.

    A token's activation is its embedding around the mean embedding; it is cut, wherever it stands, by putting the mean
    in its place, and its control is as many other tokens of the same story, drawn at random. A feature is ablated all
    over the text with the SAE's error carried through; its controls are other features of the same SAE, drawn among
    those that write most nearly as much into the same stories.

    Args:
        lm: The model.
        dictionaries: The SAEs by name; sources are sought in those whose hook lies before the target's.
        features: Pooled activations of the same SAEs.
        stories: With their splits.
        targets: The features.
        rng: Draws the controls.
        n_stories: Stories per target, half of which choose.
        top: Sources of each kind.
        n_controls: Draws of controls per source.
        skip_tokens: Real tokens at the beginning of a story that count for no peak.
        batch_tokens: Tokens in a forward pass.

    Returns:
        Rows `sae, feature_idx, emotion` (of the target), `kind` (`token` or `feature`), `source` (the token's text or
        sae/feature_idx), `attribution` and `drop` (shares of the target's activation, by gradient and by cutting, both
        on the stories that measure; 1 is all of it), `drop_lo` and `drop_hi` (95%, t over stories; null under four),
        `control_drop`, `n_stories` in which it could be cut, and `is_confirmed`: the intervals of the drop and of its
        lead over the controls lie above 0. Each row is a test of its own at 2.5% or less; none is corrected for the
        others.
    """
    tables = {table.sae: table for table in features}
    among = [row for row, story in enumerate(stories) if story.split in ("discover", "tune")]
    wanted = [
        (dictionaries[one.sae], one.feature_idx, find_strongest(tables[one.sae], one.feature_idx, among, n_stories))
        for one in targets
    ]
    documents = {row: lm.document(stories[row].text) for row in {row for _, _, own in wanted for row in own}}
    if not documents:
        return CONNECTION_SCHEMA.empty_table()
    excerpts, embedding = cut_excerpts(lm, wanted, documents, skip_tokens=skip_tokens, batch_tokens=batch_tokens)
    settings = _Settings(top, n_controls, rng)
    rows = []
    for target, own in zip(targets, excerpts, strict=True):
        probe = Probe(lm, dictionaries[target.sae], target.feature_idx, batch_tokens)
        found = _trace(probe, _list_upstream(dictionaries, target.sae), own, embedding, settings)
        named = {"sae": target.sae, "feature_idx": target.feature_idx, "emotion": target.emotion}
        rows += [named | drops.describe() for drops in found]
    return pa.Table.from_pylist(rows, schema=CONNECTION_SCHEMA)


def _list_upstream(dictionaries: Mapping[str, Dictionary], sae: str) -> list[Dictionary]:
    """The SAEs whose hook lies before that of an SAE."""
    depth = depth_of(dictionaries[sae].hook_name)
    return [one for one in dictionaries.values() if depth_of(one.hook_name) < depth]


def _trace(
    probe: Probe, upstream: Sequence[Dictionary], excerpts: Sequence[Excerpt], embedding: Tensor, settings: _Settings
) -> list[Drops]:
    """The connections of one target, tokens first, each kind by its attribution in the stories that choose."""
    hooks = list(dict.fromkeys([INPUT_HOOK, *(one.hook_name for one in upstream)]))
    tokens = TokenSources(probe, excerpts, embedding)
    fed = FeatureSources(probe, excerpts, upstream)
    slopes = read_slopes(
        probe.lm, probe.dictionary, probe.feature_idx, excerpts, hooks, batch_tokens=probe.batch_tokens
    )
    for index, by_hook in slopes:
        tokens.read(index, by_hook[INPUT_HOOK])
        fed.read(index, by_hook)
    return [
        *tokens.confirm(settings.top, settings.n_controls, settings.rng),
        *fed.confirm(settings.top, settings.n_controls, settings.rng),
    ]
