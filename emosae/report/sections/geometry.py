"""How the emotions lie to each other: their tree, their axes, and what the original experiment saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.figures.dendrogram import Dendrogram, Merge, draw_dendrogram
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.wording import join_words, say_estimate, say_number, say_p, say_share, start_sentence

NAME, TITLE = "geometry", "How the emotions lie to each other"
FIRM = 0.7
MEASURES = {"valence": "valence", "arousal": "arousal", "story_length": "story length"}


def write_geometry(data: ReportData) -> Section | None:
    """The tree with its support, the axes, and the statements; None in a run that has no tree."""
    merges = read_rows(data.tree)
    if len(merges) < 2:
        return None
    axes = read_rows(data.axes)
    statements = read_rows(data.statements)
    return Section(
        NAME,
        TITLE,
        " ".join(_say_finding(row) for row in statements) or "No statement was tested.",
        paragraphs=(
            *(_say_statement(row) for row in statements),
            _say_vectors(read_rows(data.similarity)),
            *(_say_length(row) for row in axes if row["measure"] == "story_length"),
        ),
        plates=(_draw_tree(merges), *([_draw_axes(axes)] if any(row["r"] is not None for row in axes) else [])),
    )


def _say_finding(row: Row) -> str:
    statement = start_sentence(str(row["statement"]))
    if row["is_seen"] is None:
        return f"{statement}: {row['verdict']}."
    return f"{statement}: {'seen' if row['is_seen'] else 'not seen'} (p {say_p(read_number(row, 'p'))})."


def _say_statement(row: Row) -> str:
    members = join_words([str(member) for member in row["members"]])
    if row["is_seen"] is None:
        return f"{start_sentence(str(row['statement']))}: {row['verdict']}. The family: {row['definition']}."
    same = read_number(row, "p_same_valence")
    beside = f"; among emotions that are as pleasant or unpleasant, p {say_p(same)}" if math.isfinite(same) else ""
    return (
        f"{start_sentence(str(row['statement']))}: {members} have a mean similarity of "
        f"{say_estimate(read_estimate(row, 'overlap'))}. All sets of {len(row['members'])} of the {row['n_emotions']} "
        f"emotions average {say_number(read_number(row, 'null_mean'))}, and 95% of them lie below "
        f"{say_number(read_number(row, 'null_hi'))}: p {say_p(read_number(row, 'p'))}{beside}. By emotion vectors: "
        f"{say_number(read_number(row, 'overlap_vectors'))}, p {say_p(read_number(row, 'p_vectors'))}. The family: "
        f"{row['definition']}."
    )


def _say_vectors(rows: Sequence[Row]) -> str:
    pairs = np.array([[row["by_features"], row["by_vectors"]] for row in rows], dtype=np.float64).reshape(-1, 2)
    varies = len(pairs) > 2 and bool((np.ptp(pairs, axis=0) > 0).all())
    corr = float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]) if varies else math.nan
    return (
        "Two emotions are alike when the same features tell them (cosine of AUROC profiles on confirm topics), or when "
        "their difference-of-means vectors point the same way (discover and tune topics). Over all pairs the two "
        f"similarities correlate at {say_number(corr)}."
    )


def _say_length(row: Row) -> str:
    if row["r"] is None:
        return f"Whether axis {row['axis']} is story length cannot be told here."
    is_length = row["lo"] > 0 or row["hi"] < 0
    warning = ": what it shows may be length and not emotion" if is_length else ""
    return (
        f"Axis {row['axis']} ({say_share(row['variance'])} of the vectors' variance) goes with story length at "
        f"{say_estimate(read_estimate(row, 'r', 'lo', 'hi'))}{warning}."
    )


def _draw_tree(rows: Sequence[Row]) -> Plate:
    names = tuple(sorted(str(member) for member in rows[-1]["members"]))
    tree = Dendrogram(
        leaves=names,
        merges=tuple(
            Merge(int(row["left"]), int(row["right"]), float(row["height"]), read_number(row, "support"))
            for row in rows
        ),
        axis="distance: 1 less the mean similarity",
        shown_support=FIRM,
    )
    table = tuple(
        (
            ", ".join(map(str, row["members"])),
            say_number(float(row["height"])),
            say_share(read_number(row, "support")),
            say_share(read_number(row, "support_vectors")),
        )
        for row in rows
    )
    return Plate(
        "geometry-tree",
        "The tree of emotions",
        "Average linkage by shared features. Strong lines are groups that stand again in at least "
        f"{say_share(FIRM)} of the trees of resampled confirm topics; the share, in percent, stands beside them.",
        "Dendrogram of the emotions with the support of each group.",
        partial(draw_dendrogram, tree),
        TextTable(("group", "height", "support", "support by vectors"), table, frozenset({1, 2, 3})),
    )


def _draw_axes(rows: Sequence[Row]) -> Plate:
    known = [row for row in rows if row["r"] is not None]
    styles = {"story_length": MarkStyle("s", "up", hollow=True)}
    groups = tuple(
        (
            f"axis {axis}",
            tuple(
                ForestRow(
                    MEASURES.get(str(row["measure"]), str(row["measure"])),
                    ((styles.get(str(row["measure"]), MarkStyle("o", "accent")), read_estimate(row, "r", "lo", "hi")),),
                    (say_p(read_number(row, "p")), _say_partial(row)),
                )
                for row in known
                if row["axis"] == axis
            ),
        )
        for axis in sorted({row["axis"] for row in known})
    )
    forest = Forest(groups, "correlation over emotions", (-1.0, 1.0), ("p", "without length"), line=0.0)
    heads = ("axis", "measure", "source", "n", "r [95%]", "p", "r without length", "p")
    table = tuple(
        (
            str(row["axis"]),
            MEASURES.get(str(row["measure"]), str(row["measure"])),
            str(row["source"]),
            str(row["n"]),
            say_estimate(read_estimate(row, "r", "lo", "hi")),
            say_p(read_number(row, "p")),
            _say_partial(row),
            say_p(read_number(row, "p_partial")) if row["p_partial"] is not None else "–",
        )
        for row in known
    )
    return Plate(
        "geometry-axes",
        "What the first two axes of the emotion vectors go with",
        "Correlation over emotions with valence, arousal and the mean length of each emotion's stories; p by "
        "exchanging the emotions. Without length: once story length is taken out of both.",
        "Forest plot of the correlations of two axes with valence, arousal and story length.",
        partial(draw_forest, forest),
        TextTable(heads, table, frozenset({3, 4, 5, 6, 7})),
    )


def _say_partial(row: Row) -> str:
    value = read_number(row, "r_partial")
    return say_number(value) if math.isfinite(value) else "–"
