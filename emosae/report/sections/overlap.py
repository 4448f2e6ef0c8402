"""How the emotions overlap in features, and which features the SAEs agree on."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from jaxtyping import Float

from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Heat, draw_heatmap
from emosae.report.records import ReportData, read_number, read_rows
from emosae.report.wording import join_words, say_number

NAME, TITLE = "overlap", "How emotions overlap"
CLOSEST = 8

Square = Float[np.ndarray, "emotion emotion"]
Pair = tuple[str, str]


def write_overlap(data: ReportData) -> Section:
    """Emotions in the order of a clustering, with the pairs that were planted framed."""
    names, cosine = read_square(data)
    if len(names) < 2:
        return Section(NAME, TITLE, "Fewer than two emotions share a table, so there is no overlap to show.")
    order = cluster_order(cosine)
    names, cosine = tuple(names[at] for at in order), cosine[np.ix_(order, order)]
    planted = {frozenset(pair) for pair in data.truth.overlap} if data.truth else set()
    return Section(
        NAME,
        TITLE,
        _say_closest(names, cosine, planted),
        paragraphs=(
            "Two emotions are close when the features that tell one of them from the rest also respond to the other. "
            "Similarity is the cosine of the two emotions' confirm AUROCs around chance, over all discovered features.",
        ),
        plates=(_draw_overlap(names, cosine, planted),),
    )


def read_square(data: ReportData) -> tuple[tuple[str, ...], Square]:
    """The overlap table as names and a matrix; NaN where a pair is missing."""
    rows = read_rows(data.overlap)
    names = tuple(dict.fromkeys(str(row["emotion_a"]) for row in rows))
    place = {name: at for at, name in enumerate(names)}
    cosine = np.full((len(names), len(names)), np.nan)
    for row in rows:
        if row["emotion_b"] in place:
            cosine[place[row["emotion_a"]], place[row["emotion_b"]]] = read_number(row, "cosine")
    return names, cosine


def cluster_order(similarity: Square) -> list[int]:
    """Rows in the leaf order of average linkage, so that similar ones stand side by side."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(similarity) < 3:
        return list(range(len(similarity)))
    distance = 1 - np.nan_to_num((similarity + similarity.T) / 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.maximum(distance, 0), checks=False), "average", optimal_ordering=True)
    return leaves_list(tree).tolist()


def rank_pairs(names: tuple[str, ...], cosine: Square) -> list[tuple[Pair, float]]:
    """Unordered pairs, the most similar first."""
    pairs = [
        ((names[a], names[b]), float(cosine[a, b]))
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if math.isfinite(cosine[a, b])
    ]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _say_closest(names: tuple[str, ...], cosine: Square, planted: set[frozenset[str]]) -> str:
    pairs = rank_pairs(names, cosine)
    if not pairs or pairs[0][1] <= 0:
        return "No two emotions share discovered features."
    said = [f"{a} with {b} ({say_number(value)})" for (a, b), value in pairs[:2] if value > 0]
    opening = f"The emotions that overlap most are {join_words(said)}"
    places = [at for at, (pair, _) in enumerate(pairs, start=1) if frozenset(pair) in planted]
    if not places:
        return f"{opening}."
    if len(places) == 1:
        return f"{opening}; the planted pair ranks {places[0]} of {len(pairs)}."
    return f"{opening}; the planted pairs rank {join_words([str(at) for at in places])} of {len(pairs)}."


def _draw_overlap(names: tuple[str, ...], cosine: Square, planted: set[frozenset[str]]) -> Plate:
    shades = cosine.copy()
    np.fill_diagonal(shades, np.nan)
    framed = frozenset(
        (a, b)
        for a in range(len(names))
        for b in range(len(names))
        if a != b and frozenset((names[a], names[b])) in planted
    )
    heat = Heat(
        rows=names,
        columns=names,
        shades=shades,
        texts=tuple(tuple(_say_cell(value) for value in row) for row in shades),
        outlined=framed,
        low="0 nothing shared",
        high="1 the same features",
        outline="planted to overlap" if framed else "",
    )
    closest = tuple(
        (a, b, say_number(value), *(["yes" if frozenset((a, b)) in planted else ""] if planted else []))
        for (a, b), value in rank_pairs(names, cosine)[:CLOSEST]
    )
    return Plate(
        "overlap",
        "Similarity of every pair of emotions",
        "Rows and columns stand in the order of a hierarchical clustering. Orange shades are below 0: features of "
        "one respond less than average to the other.",
        "Heatmap of the similarity of all pairs of emotions.",
        partial(draw_heatmap, heat),
        TextTable(("emotion", "emotion", "cosine", *(["planted"] if planted else [])), closest, frozenset({2})),
    )


def _say_cell(value: float) -> str:
    if not math.isfinite(value) or abs(value) < 0.2:
        return ""
    return say_number(value, 1).replace("0.", ".")
