"""What a link is: a match, a split, a merge, or a feature absorbed by another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from emosae.matching.nearest import Pairs, Rows
from emosae.matching.null import Accepted
from emosae.matching.rows import Numbers, Side

Relation = Literal["match", "split", "merge", "absorbed", "orphan"]
RELATIONS: tuple[Relation, ...] = ("match", "split", "merge", "absorbed", "orphan")
"""From the surest; `orphan` is said of a feature that has none of the others, and of no link."""

ENOUGH = 0.9
"""Of what a combination explains one feature alone may explain less, or it is a match and no split."""
MIN_SHARE = 0.1
"""Share of what the combination explains that each of its parts must contribute."""

_MOST_PARTS = 32
_REVERSED: Mapping[str, Relation] = {"split": "merge", "merge": "split"}

Pair = tuple[int, int]


def find_splits(a: Side, b: Side, to_a: Numbers) -> list[Pair]:
    """Features of a that several of b stand for, each with its parts.

    The parts of a feature are the features of b to which it is the nearest of a, beyond chance (`to_a`). Their
    combination with weights that are not negative must explain its activations materially better than the best of them
    alone (that one less than ENOUGH of the combination's explained variance), and two or more must contribute MIN_SHARE
    or more.
    """
    found: list[Pair] = []
    owners = Counter(to_a[to_a >= 0].tolist())
    for owner in sorted(number for number, count in owners.items() if count > 1):
        parts = np.flatnonzero(to_a == owner)
        row = a.rows[np.searchsorted(a.index, owner)]
        kept = _find_parts(row, b.rows[np.searchsorted(b.index, parts)])
        found += [(owner, int(part)) for part in parts[kept]]
    return found


def _find_parts(row: Float[np.ndarray, " n"], parts: Rows) -> np.ndarray:
    """Places of the parts that explain a row together; none if one of them does alone."""
    alone = (parts @ row).astype(np.float64)
    order = np.argsort(-alone)[:_MOST_PARTS]
    weights, _ = nnls(parts[order].T.astype(np.float64), row.astype(np.float64))
    gain = weights * alone[order]
    explained = gain.sum()
    kept = order[gain >= MIN_SHARE * explained]
    return np.sort(kept) if len(kept) > 1 and alone.max() ** 2 < ENOUGH * explained else kept[:0]


def choose_matches(by_measure: Mapping[str, Accepted], scores: Mapping[str, Mapping[Pair, float]]) -> dict[Pair, str]:
    """One partner at most for every feature, and the measures that name it.

    A pair that two measures name comes first. Where they name different partners, the pair stands that lies farther
    above its threshold, as a share of the way from there to 1.
    """
    claims: dict[Pair, list[tuple[float, str]]] = {}
    for measure, accepted in by_measure.items():
        for pair in _as_pairs(accepted.pairs):
            excess = (scores[measure][pair] - accepted.threshold) / max(1e-9, 1 - accepted.threshold)
            claims.setdefault(pair, []).append((excess, measure))
    chosen: dict[Pair, str] = {}
    taken: tuple[set[int], set[int]] = (set(), set())
    for pair in sorted(claims, key=lambda pair: (-len(claims[pair]), -max(claims[pair])[0], pair)):
        if pair[0] not in taken[0] and pair[1] not in taken[1]:
            names = [measure for _, measure in claims[pair]]
            chosen[pair] = names[0] if len(names) == 1 else "both"
            taken[0].add(pair[0])
            taken[1].add(pair[1])
    return chosen


def label_pairs(matches: Iterable[Pair], splits: Iterable[Pair], merges: Iterable[Pair]) -> dict[Pair, Relation]:
    """Splits first, then merges, then the matches whose ends neither of these has."""
    relations: dict[Pair, Relation] = dict.fromkeys(splits, "split")
    for pair in merges:
        relations.setdefault(pair, "merge")
    ends = [{pair[end] for pair in relations} for end in (0, 1)]
    for pair in matches:
        if pair[0] not in ends[0] and pair[1] not in ends[1]:
            relations[pair] = "match"
    return relations


def name_status(relations: Iterable[tuple[str, bool]]) -> Relation:
    """The label of a feature from its links: relation, and whether it is the first end.

    A split is one for the feature that is split and a merge for its parts. Only the first end of an absorbed link is
    absorbed. Of several labels the surest stands.
    """
    own = [
        _REVERSED.get(relation, relation) if not is_first else relation
        for relation, is_first in relations
        if is_first or relation != "absorbed"
    ]
    return RELATIONS[min((RELATIONS.index(relation) for relation in own), default=-1)]


def _as_pairs(pairs: Pairs) -> list[Pair]:
    return [(int(i), int(j)) for i, j in pairs]
