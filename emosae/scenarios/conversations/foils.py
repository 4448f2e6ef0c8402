"""Matched variants of the same item held against one another: which difference moves which feature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.scenarios.conversations.ranks import Reads, standardize
from emosae.scenarios.conversations.reading import PLACES
from emosae.scenarios.statistics import adjust_holm, mean_interval
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = ("difference", "lo", "hi", "p", "p_holm")


def contrast_variants(reads: Reads) -> pa.Table:
    """Differences between matched variants, paired by item, for the emotions that a set expects.

    Reads are in standard deviations of the emotion over all conversations. Where two variants expect different
    emotions the one of which `emotion` is expected comes first, so that a feature that follows the matter, and not
    words or format, has a positive difference. Variants that expect the same are in the order of their names, and their
    difference is what the wording alone does.

    Returns:
        A row per set, pair of variants, emotion and place, with a t interval over items; `matter` says whether the
        expected emotion differs. Holm's correction is over all rows of a place in which it does.
    """
    rows: list[dict[str, Any]] = []
    for place in PLACES:
        scores = standardize(reads, place)
        for name, variants in _gather_sets(reads).items():
            emotions = sorted({want for want, _ in variants.values()} & {emotion for _, emotion in scores})
            for emotion in emotions:
                rows += [
                    {"set": name, "emotion": emotion, "place": place, **row}
                    for row in _contrast_pairs(variants, emotion, scores)
                ]
        family = [row for row in rows if row["place"] == place and row["matter"] and not math.isnan(row["p"])]
        for row, adjusted in zip(family, adjust_holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = adjusted
    texts = ("set", "variant", "other", "emotion", "place")
    return make_table(rows, texts=texts, numbers=_NUMBERS, counts=("n_items",), flags=("matter",))


Variants = Mapping[str, tuple[str, Mapping[str, str]]]
"""By name of the variant: the emotion that it expects, and its conversation of each item."""


def _gather_sets(reads: Reads) -> dict[str, Variants]:
    found: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}
    for row in reads:
        if row.get("variant"):
            own = found.setdefault(row["set"], {}).setdefault(row["variant"], (row["expected"], {}))
            own[1][row["item"]] = row["conversation_id"]
    return {name: variants for name, variants in sorted(found.items()) if len(variants) > 1}


def _contrast_pairs(variants: Variants, emotion: str, scores: Mapping[tuple[str, str], float]) -> list[dict[str, Any]]:
    rows = []
    for pair in itertools.combinations(sorted(variants), 2):
        wanted = [variants[name][0] == emotion for name in pair]
        first, second = pair if wanted[0] or not wanted[1] else pair[::-1]
        mine, other = variants[first][1], variants[second][1]
        differences = [scores[mine[item], emotion] - scores[other[item], emotion] for item in mine if item in other]
        known = np.array([value for value in differences if not math.isnan(value)])
        found = mean_interval(known)
        rows.append(
            {
                "variant": first,
                "other": second,
                "matter": wanted[0] != wanted[1],
                "n_items": len(known),
                "difference": found.estimate,
                "lo": found.lo,
                "hi": found.hi,
                "p": found.p,
            }
        )
    return rows
