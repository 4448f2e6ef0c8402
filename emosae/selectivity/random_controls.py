"""What chance reaches on the same splits: random features of the same SAE, and a model that has learnt nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.selectivity.baselines import BaselineScores
from emosae.selectivity.candidates import choose_picks
from emosae.selectivity.directions import emotion_vectors, score_vectors
from emosae.selectivity.layout import Layout, lay_out
from emosae.selectivity.ranks import auroc_all
from emosae.selectivity.screen import screen_features
from emosae.stories import Story

DRAWS = 20
_NEAREST = 2 * DRAWS


def score_random_features(
    features: Sequence[StoryFeatures], stories: Sequence[Story], summary: pa.Table, rng: np.random.Generator
) -> BaselineScores:
    """Features of the chosen feature's own SAE, drawn at random among those that fire about as often.

    For each emotion DRAWS features are drawn from the 2 x DRAWS whose share of discover + tune stories is nearest to
    that of the chosen one, which is left out; labels play no part, so a feature that tells the emotion too may be among
    them. The score is that of the draw that does best on discover + tune: choosing the best of 20 flatters it just as
    choosing flattered the feature, only less, since the feature was the best of its whole SAE. What one draw reaches
    on average is kept beside it.

    Args:
        features: The SAEs that were ranked.
        stories: With their splits.
        summary: `emotion, sae, feature_idx` of the best feature, null where there is none.
        rng: Draws.
    """
    layout = lay_out(stories)
    fit, confirm = layout.part("discover", "tune"), layout.part("confirm")
    columns = {table.sae: csc_array(table.mean) for table in features}
    scores = np.full((len(confirm.rows), len(layout.emotions)), np.nan)
    typical = np.full(len(layout.emotions), np.nan)
    for best in summary.sort_by("emotion").to_pylist():
        if best["sae"] is None:
            continue
        place, acts = layout.emotions.index(best["emotion"]), columns[best["sae"]]
        drawn = _draw_alike(acts[fit.rows], best["feature_idx"], rng)
        if not len(drawn):
            continue
        table = acts[:, drawn]
        known = auroc_all(table[fit.rows], fit.label, fit.n_emotions)[:, place]
        scores[:, place] = table[:, [int(known.argmax())]].toarray()[confirm.rows, 0]
        typical[place] = auroc_all(table[confirm.rows], confirm.label, confirm.n_emotions)[:, place].mean()
    return BaselineScores("random_features", None, scores, typical=typical)


def score_random_model(untrained: Sequence[StoryFeatures], stories: Sequence[Story]) -> list[BaselineScores]:
    """The recipe on a model whose weights were drawn at random: per hook its best feature, and its vector.

    `random_model` is a feature of an untrained dictionary with as many features as the SAEs at the hook hold together
    (see `emosae.features.untrained`), chosen on discover as an SAE's are; NaN where none passes. `random_model_vector`
    is the denoised difference-of-means vector. Both tell how much of the emotion lies in which tokens a story holds.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    found = []
    for table in untrained:
        vectors = score_vectors(emotion_vectors(table.resid_mean, stories), table.resid_mean, layout, confirm)
        found.append(BaselineScores("random_model", table.hook_name, _score_first_picks(table, layout)))
        found.append(BaselineScores("random_model_vector", table.hook_name, vectors))
    return found


def _score_first_picks(table: StoryFeatures, layout: Layout) -> Float[np.ndarray, "kept emotion"]:
    discover, confirm = layout.part("discover"), layout.part("confirm")
    (screen,) = screen_features([table], discover, permutations=1, rng=np.random.default_rng(0))
    picks = choose_picks(screen, 1)
    scores = np.full((len(confirm.rows), len(layout.emotions)), np.nan)
    scores[:, picks.emotion] = csc_array(table.mean)[:, picks.feature_idx].toarray()[confirm.rows]
    return scores


def _draw_alike(acts: csc_array, feature_idx: int, rng: np.random.Generator) -> Int[np.ndarray, " draw"]:
    """Up to DRAWS other features that fire, near the given one in the number of stories in which they do."""
    fires = np.diff(csc_array(acts).indptr)
    others = np.flatnonzero((fires > 0) & (np.arange(len(fires)) != feature_idx))
    near = others[np.argsort(np.abs(fires[others] - fires[feature_idx]), kind="stable")[:_NEAREST]]
    return rng.permutation(near)[:DRAWS]
