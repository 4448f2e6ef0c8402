"""What simpler methods reach on the same splits, as scores of the confirm stories and as AUROCs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.features import StoryFeatures
from emosae.selectivity.candidates import as_intervals
from emosae.selectivity.directions import emotion_vectors, score_best_component, score_best_dimension, score_vectors
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS, NO_INTERVAL, Interval, jackknife_interval
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.selectivity.probes import probe_features, probe_resid
from emosae.selectivity.tables import join_tables, repeat_text, tabulate
from emosae.selectivity.words import fit_words
from emosae.stories import Story

Scores = Float[np.ndarray, "story emotion"]


@dataclass(frozen=True, eq=False, slots=True)
class BaselineScores:
    """What a simpler method gives every confirm story for every emotion; NaN for an emotion that it does not know.

    Attributes:
        baseline: Name of the method.
        hook_name: Where it reads; none for words, and for random features, which read where the emotion's best does.
        scores: Higher is more of the emotion; the unit is the method's own.
        sae: Whose features it takes, if it is bound to one SAE.
        typical: Of random features, the mean confirm AUROC of all that were drawn.
    """

    baseline: str
    hook_name: str | None
    scores: Scores
    sae: str | None = None
    typical: Float[np.ndarray, " emotion"] | None = None


def score_baselines(features: Sequence[StoryFeatures], stories: Sequence[Story]) -> list[BaselineScores]:
    """Score the confirm stories by other means than single features, each chosen and fitted on discover + tune.

    Returns:
        `bag_of_words` (fitted on discover alone); per hook `difference_of_means` (projection on the denoised vector),
        `linear_probe`, `best_dimension` and `pca` (one raw dimension, one principal component); per SAE `sparse_probe`.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    texts = [layout.stories[row].text for row in confirm.rows]
    words = fit_words(layout, layout.part("discover")).score(texts, len(layout.emotions))
    found = [BaselineScores("bag_of_words", None, words)]
    for hook_name, table in {table.hook_name: table for table in features}.items():
        resid = table.resid_mean.detach().cpu().double().numpy()
        by_method = {
            "difference_of_means": score_vectors(
                emotion_vectors(table.resid_mean, stories), table.resid_mean, layout, confirm
            ),
            "linear_probe": probe_resid(resid, layout),
            "best_dimension": score_best_dimension(resid, layout),
            "pca": score_best_component(resid, layout),
        }
        found += [BaselineScores(name, hook_name, scores) for name, scores in by_method.items()]
    for table in features:
        scores = probe_features(table.mean, layout)
        found.append(BaselineScores("sparse_probe", table.hook_name, scores, table.sae))
    return found


def measure_baselines(
    features: Sequence[StoryFeatures], stories: Sequence[Story], scores: Sequence[BaselineScores] = ()
) -> pa.Table:
    """Confirm AUROC of each emotion by other means than features.

    Args:
        features: Where to read.
        stories: With their splits.
        scores: Those of `score_baselines` and of random controls, if they are at hand.

    Returns:
        Rows `baseline, hook_name, sae, emotion, auroc_confirm, auroc_confirm_lo, auroc_confirm_hi`, and
        `auroc_typical`, the mean over all draws where the best of several was taken. Same stories, splits, ties and
        intervals as the features'.
    """
    layout = lay_out(stories)
    confirm = layout.part("confirm")
    return join_tables([_tabulate(one, layout, confirm) for one in scores or score_baselines(features, stories)])


def measure_score(scores: Float[np.ndarray, " story"], part: Part, emotion: int) -> Interval:
    """AUROC of one emotion against the rest with its interval; NaN if a score is."""
    if np.isnan(scores).any():
        return NO_INTERVAL
    return jackknife_interval(scores, part.label == emotion, part.block, min_topics=MIN_INTERVAL_TOPICS)


def _tabulate(one: BaselineScores, layout: Layout, confirm: Part) -> pa.Table:
    n = len(layout.emotions)
    typical = np.full(n, np.nan) if one.typical is None else one.typical
    columns = {
        "baseline": repeat_text(one.baseline, n),
        "hook_name": repeat_text(one.hook_name, n),
        "sae": repeat_text(one.sae, n),
        "emotion": list(layout.emotions),
    }
    intervals = [measure_score(one.scores[:, place], confirm, place) for place in range(n)]
    known = pa.array(typical, pa.float64(), from_pandas=True)
    return tabulate(columns | as_intervals("auroc_confirm", intervals)).append_column("auroc_typical", known)
