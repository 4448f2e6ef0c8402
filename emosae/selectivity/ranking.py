"""Rank features by emotion: discover selects, discover + tune fixes the rest, confirm is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity.candidates import Confirmed, choose_picks, fix_rivals, read_confirm
from emosae.selectivity.confounds import measure_confounds
from emosae.selectivity.layout import lay_out
from emosae.selectivity.overlap import measure_overlap
from emosae.selectivity.ranks import AnyByEmotion
from emosae.selectivity.screen import screen_features
from emosae.selectivity.tables import (
    join_tables,
    summarise,
    tabulate_candidates,
    tabulate_profiles,
    tabulate_stories,
    tabulate_tail,
)
from emosae.store import Stage
from emosae.stories import Story

_TABLES = ("candidates", "summary", "overlap", "profiles", "calibration", "stories")


@dataclass(frozen=True, eq=False, slots=True)
class Selectivity:
    """Which features tell which emotions from the others, and how sure that is.

    A null in a table means that the number cannot be had (too few topics, no neutral text, not tested).

    Attributes:
        candidates: A row per sae, feature_idx and emotion chosen on discover.
        summary: A row per emotion: stories, topics, tests, discoveries, its best feature, notes.
        overlap: A row per ordered pair of emotions: cosine of confirm profiles, Jaccard of discoveries.
        profiles: A row per sae and feature_idx: share of stories in which it fires, and its AUROC for every
            emotion (a column each) on discover + tune.
        calibration: A row per sae and nominal level: share of tests with a p of at most that level, under exchanged
            labels (`observed`, the nominal level if p is right) and as they were made (`found`), of `n_tests`.
        stories: A row per story: id, emotion, topic, split.
        looks: How often confirm was read: once per emotion that has a candidate.
        notes: What the corpus does not allow to be claimed, for all emotions.
    """

    candidates: pa.Table
    summary: pa.Table
    overlap: pa.Table
    profiles: pa.Table
    calibration: pa.Table
    stories: pa.Table
    looks: int
    notes: tuple[str, ...]

    def save(self, stage: Stage) -> None:
        """Write a Parquet file per table, and `selectivity.json`."""
        for name in _TABLES:
            stage.write_table(name, getattr(self, name))
        stage.write_json("selectivity", {"looks": self.looks, "notes": list(self.notes)})

    @classmethod
    def load(cls, stage: Stage) -> Selectivity:
        """Read what `save` wrote."""
        rest = stage.read_json("selectivity")
        tables = {name: stage.read_table(name) for name in _TABLES}
        return cls(**tables, looks=rest["looks"], notes=tuple(rest["notes"]))


def rank_features(
    features: Sequence[StoryFeatures],
    stories: Sequence[Story],
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    permutations: int = 1024,
    top: int = 10,
    masked: Sequence[StoryFeatures] = (),
    firings: pa.Table | None = None,
) -> Selectivity:
    """Find the features that tell each emotion from the others, on topics they were not chosen on.

    Args:
        features: One table per SAE (at least one), of exactly `stories`; all of them are one family of tests.
        stories: With their splits; neutral ones are a control and never tested.
        rng: Draws the exchanges of labels.
        alpha: False discovery rate at which a feature counts as discovered.
        permutations: Exchanges of labels within topics.
        top: Candidates per SAE and emotion.
        masked: The same SAEs on the confirm stories with their telling words masked, for `lexical_drop`.
        firings: Where and on which tokens the features fire, for `position_corr` and `top_token_share`.

    Raises:
        UserError: Tables that do not match the stories, stories without a split, fewer than two emotions.
    """
    if not features:
        raise UserError("no SAE to rank: give at least one")
    _refuse_misfits(features, stories)
    layout = lay_out(stories)
    screens = screen_features(features, layout.part("discover"), permutations=permutations, rng=rng)
    picks = [choose_picks(screen, top) for screen in screens]
    chosen_on = layout.part("discover", "tune")
    rivals = [fix_rivals(t.mean[chosen_on.rows], chosen_on, p) for t, p in zip(features, picks, strict=True)]
    hidden = {table.sae: table for table in masked}
    confirm = layout.part("confirm")
    confirmed = [read_confirm(t, confirm, p, r) for t, p, r in zip(features, picks, rivals, strict=True)]
    confounds = [
        measure_confounds(table, layout, one, hidden.get(table.sae), firings)
        for table, one in zip(features, picks, strict=True)
    ]
    found = [(screen.q < alpha) & (screen.auroc > 0.5) for screen in screens]
    by_sae = zip(features, screens, picks, rivals, confirmed, confounds, strict=True)
    candidates = join_tables([tabulate_candidates(layout, *one) for one in by_sae], "emotion", "sae", "rank")
    return Selectivity(
        candidates=candidates,
        summary=summarise(layout, screens, candidates, alpha),
        overlap=measure_overlap(layout.emotions, _discovered_profiles(confirmed, found), np.concatenate(found)),
        profiles=join_tables([tabulate_profiles(layout, table) for table in features]),
        calibration=join_tables([tabulate_tail(t.sae, s) for t, s in zip(features, screens, strict=True)]),
        stories=tabulate_stories(layout),
        looks=len(set(candidates["emotion"].to_pylist())),
        notes=layout.notes,
    )


def _discovered_profiles(
    confirmed: Sequence[Confirmed], found: Sequence[Bool[np.ndarray, "_ emotion"]]
) -> AnyByEmotion:
    """Confirm profiles of the candidates that were discovered for some emotion."""
    kept = [one.profile[where[one.feature_idx].any(axis=1)] for one, where in zip(confirmed, found, strict=True)]
    return np.concatenate(kept)


def _refuse_misfits(features: Sequence[StoryFeatures], stories: Sequence[Story]) -> None:
    """Tables must be of different SAEs and of exactly these stories, in this order."""
    ids = tuple(story.id for story in stories)
    strangers = [table.sae for table in features if tuple(table.story_ids) != ids]
    if strangers:
        raise UserError(f"features of {', '.join(strangers)}: are not of these stories: pool them again")
    twins = sorted(name for name, count in Counter(table.sae for table in features).items() if count > 1)
    if twins:
        raise UserError(f"SAEs with the same name: {', '.join(twins)}: name them apart")
