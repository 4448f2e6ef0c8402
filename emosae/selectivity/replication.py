"""Whether what one SAE holds of an emotion is found again in another that reads the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csc_array

from emosae.features import StoryFeatures
from emosae.matching import match_features
from emosae.sae import Dictionary
from emosae.selectivity.baselines import measure_score
from emosae.selectivity.layout import Layout, lay_out
from emosae.stories import Story

COLUMNS = pa.schema(
    [
        ("sae", pa.string()),
        ("feature_idx", pa.int64()),
        ("emotion", pa.string()),
        ("matched_sae", pa.string()),
        ("matched_feature_idx", pa.int64()),
        ("match_by", pa.string()),
        ("match_corr", pa.float64()),
        ("match_cosine", pa.float64()),
        ("matched_auroc_confirm", pa.float64()),
        ("matched_auroc_confirm_lo", pa.float64()),
        ("matched_auroc_confirm_hi", pa.float64()),
        ("matched_confirmed", pa.bool_()),
    ]
)

_SUREST = ("both", "activation", "decoder")

Feature = tuple[str, int]


def replicate_candidates(
    features: Sequence[StoryFeatures],
    dictionaries: Mapping[str, Dictionary],
    stories: Sequence[Story],
    candidates: pa.Table,
    *,
    rng: np.random.Generator,
) -> pa.Table:
    """Look for every candidate's partner in each other SAE of its hook, and read the partner's confirm stories.

    Partners are matches (`match_features`): mutual nearest neighbours by the correlation of mean activations over
    discover and tune, neutral text included, or by decoder cosine, beyond what 99 of 100 features reach by chance once
    stories are exchanged within each emotion (or directions drawn at random in the shape of the decoder), so that to
    share an emotion is not enough. A feature that the other SAE splits has no partner. Confirm chooses no partner. The
    partner's AUROC is read on the confirm stories that the candidates were read on: another reading of the same
    stories, and no independent one. Intervals are not corrected for the number of candidates; of partners without any
    selectivity one in forty would read as confirmed.

    Args:
        features: The SAEs that were ranked.
        dictionaries: The SAEs by name.
        stories: With their splits.
        candidates: `sae, feature_idx, emotion`.
        rng: Draws the shuffles.

    Returns:
        A row per candidate and other SAE at its hook; none where an SAE is alone there. `match_by` (activation,
        decoder or both), `match_corr`, `match_cosine`, and, for the candidate's emotion, `matched_auroc_confirm` with
        its interval (null under 6 topics). `matched_confirmed`: whether the interval lies above 0.5; null without one,
        false without a partner, whose columns are null.
    """
    layout = lay_out(stories)
    chosen_on = np.concatenate([layout.part("discover", "tune").rows, layout.neutral_rows("discover", "tune")])
    ranked = candidates.select(["sae", "feature_idx", "emotion"]).to_pylist()
    found = []
    for a, b in combinations(features, 2):
        if a.hook_name == b.hook_name:
            dicts = dictionaries[a.sae], dictionaries[b.sae]
            links = match_features(a, b, *dicts, rng=rng, block=layout.label, rows=np.sort(chosen_on))
            partners = _find_partners(links)
            for own, other in ((a, b), (b, a)):
                rows = [row for row in ranked if row["sae"] == own.sae]
                found += [row | _read_partner(row, partners, other, layout) for row in rows]
    order = [(name, "ascending") for name in ("emotion", "sae", "feature_idx", "matched_sae")]
    return pa.Table.from_pylist(found, schema=COLUMNS).sort_by(order)


def count_looks(replication: pa.Table) -> int:
    """How often confirm was read for partners: once per emotion of which a candidate has one."""
    return len({row["emotion"] for row in replication.to_pylist() if row["matched_feature_idx"] is not None})


def _find_partners(links: pa.Table) -> dict[Feature, dict[str, Any]]:
    """The partner of each feature of both SAEs; where the two measures name different ones, that by activation."""
    partners: dict[Feature, dict[str, Any]] = {}
    matches = [link for link in links.to_pylist() if link["relation"] == "match"]
    for link in sorted(matches, key=lambda link: _SUREST.index(link["by"])):
        measured = {
            "match_by": link["by"],
            "match_corr": link["activation_corr"],
            "match_cosine": link["decoder_cosine"],
        }
        ends = (link["sae_a"], link["feature_a"]), (link["sae_b"], link["feature_b"])
        for (sae, feature_idx), (_, partner) in (ends, ends[::-1]):
            partners.setdefault((sae, feature_idx), {"matched_feature_idx": partner} | measured)
    return partners


def _read_partner(
    row: Mapping[str, Any], partners: Mapping[Feature, Mapping[str, Any]], other: StoryFeatures, layout: Layout
) -> dict[str, Any]:
    """What is known of one candidate's partner in the other SAE."""
    link = partners.get((row["sae"], row["feature_idx"]))
    if link is None:
        return {"matched_sae": other.sae, "matched_confirmed": False}
    confirm = layout.part("confirm")
    acts = csc_array(other.mean)[:, [link["matched_feature_idx"]]].toarray()[confirm.rows, 0].astype(np.float64)
    read = measure_score(acts, confirm, layout.emotions.index(row["emotion"]))
    numbers = {"": read.value, "_lo": read.lo, "_hi": read.hi}
    known = {f"matched_auroc_confirm{end}": v if np.isfinite(v) else None for end, v in numbers.items()}
    is_confirmed = read.lo > 0.5 if np.isfinite(read.lo) else None
    return {"matched_sae": other.sae, **link, **known, "matched_confirmed": is_confirmed}
