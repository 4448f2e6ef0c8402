"""What else than the emotion might make a candidate look selective: words, tokens, place, valence, perspective.

What is read on confirm here is read of features that are already chosen, and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.selectivity.candidates import Column, Picks, as_intervals
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS, NO_INTERVAL, Interval, jackknife_difference
from emosae.selectivity.layout import Layout, Part
from emosae.selectivity.ranks import Acts, FeatureByEmotion, auroc_all
from emosae.stories import load_taxonomy

UNKNOWN = -1


def measure_confounds(
    table: StoryFeatures, layout: Layout, picks: Picks, masked: StoryFeatures | None, firings: pa.Table | None
) -> dict[str, Any]:
    """Columns of one SAE's candidates; null where what they need was not read or is not known.

    Args:
        table: The SAE's activations.
        layout: The corpus.
        picks: The candidates.
        masked: The same SAE on confirm stories with their telling words masked; some may be missing.
        firings: Rows `sae, feature_idx, position_corr, top_token, top_token_share` (see `measure_firings`).

    Returns:
        `auroc_same_valence` and `auroc_same_perspective`: confirm AUROC against those stories alone whose emotion is
        as pleasant or unpleasant by the taxonomy (the sign of its valence), or that are told in the same person; 0.5 is
        chance. `lexical_drop` and its interval: confirm AUROC less that on the masked texts of the same stories, 0 if
        words do not matter. `position_corr`, `top_token_share` and `top_token` from `firings`.
    """
    confirm = layout.part("confirm")
    features, place = np.unique(picks.feature_idx, return_inverse=True)
    acts = csc_array(csc_array(table.mean)[:, features][confirm.rows])
    strata = {
        "auroc_same_valence": find_valences(layout, confirm),
        "auroc_same_perspective": find_perspectives(layout, confirm),
    }
    within = {name: auroc_within(acts, confirm, stratum)[place, picks.emotion] for name, stratum in strata.items()}
    drops = _measure_drops(acts, place, picks, confirm, _align(layout, confirm, masked, features))
    return within | as_intervals("lexical_drop", drops) | _look_up(firings, table.sae, picks)


def find_valences(layout: Layout, part: Part) -> Int[np.ndarray, " story"]:
    """Sign of the valence of each story's emotion as 0, 1 or 2; UNKNOWN if the taxonomy lacks the emotion."""
    taxonomy = load_taxonomy()
    known = [taxonomy.get(emotion) for emotion in layout.emotions]
    signs = [UNKNOWN if word is None else 1 + int(np.sign(word.valence)) for word in known]
    return np.array(signs, dtype=np.int64)[part.label]


def find_perspectives(layout: Layout, part: Part) -> Int[np.ndarray, " story"]:
    """Number of each story's perspective; UNKNOWN where it states none."""
    told = [layout.stories[row].perspective for row in part.rows]
    number = {name: at for at, name in enumerate(sorted({name for name in told if name is not None}))}
    return np.array([UNKNOWN if name is None else number[name] for name in told], dtype=np.int64)


def auroc_within(acts: Acts, part: Part, stratum: Int[np.ndarray, " story"]) -> FeatureByEmotion:
    """AUROC over the pairs of stories of one stratum, all strata together; UNKNOWN is none. NaN without a pair."""
    columns = csc_array(acts)
    wins = np.zeros((len(columns.indptr) - 1, part.n_emotions))
    pairs = np.zeros(part.n_emotions)
    for member in np.unique(stratum[stratum != UNKNOWN]):
        inside = np.flatnonzero(stratum == member)
        counts = np.bincount(part.label[inside], minlength=part.n_emotions)
        here = counts * (len(inside) - counts)
        wins += np.nan_to_num(auroc_all(columns[inside], part.label[inside], part.n_emotions)) * here
        pairs += here
    return np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)


def _align(
    layout: Layout, confirm: Part, masked: StoryFeatures | None, features: Int[np.ndarray, " feature"]
) -> tuple[Int[np.ndarray, " kept"], Float[np.ndarray, "kept feature"]]:
    """Which confirm stories have a masked text, and the activations on it."""
    row_of = {} if masked is None else {story_id: row for row, story_id in enumerate(masked.story_ids)}
    ids = [layout.stories[row].id for row in confirm.rows]
    kept = np.array([at for at, story_id in enumerate(ids) if story_id in row_of], dtype=np.int64)
    if masked is None or not len(kept):
        return kept, np.zeros((0, len(features)))
    rows = [row_of[ids[at]] for at in kept]
    return kept, csc_array(masked.mean)[:, features].toarray()[rows].astype(np.float64)


def _measure_drops(
    acts: csc_array,
    place: Int[np.ndarray, " pick"],
    picks: Picks,
    confirm: Part,
    hidden: tuple[Int[np.ndarray, " kept"], Float[np.ndarray, "kept feature"]],
) -> list[Interval]:
    """Paired by story, clustered by topic; none without masked texts."""
    kept, masked = hidden
    if not len(kept):
        return [NO_INTERVAL] * len(place)
    seen, label, block = acts.toarray()[kept].astype(np.float64), confirm.label[kept], confirm.block[kept]
    return [
        jackknife_difference(seen[:, at], masked[:, at], label == own, block, min_topics=MIN_INTERVAL_TOPICS)
        for at, own in zip(place.tolist(), picks.emotion.tolist(), strict=True)
    ]


def _look_up(firings: pa.Table | None, sae: str, picks: Picks) -> dict[str, Column | pa.Array]:
    rows = [] if firings is None else firings.to_pylist()
    known: dict[int, Mapping[str, Any]] = {row["feature_idx"]: row for row in rows if row["sae"] == sae}
    found = [known.get(feature_idx, {}) for feature_idx in picks.feature_idx.tolist()]
    numbers = {
        name: np.array([np.nan if one.get(name) is None else one[name] for one in found], dtype=np.float64)
        for name in ("position_corr", "top_token_share")
    }
    return numbers | {"top_token": pa.array([one.get("top_token") for one in found], pa.string())}
