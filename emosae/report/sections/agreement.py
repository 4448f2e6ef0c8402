"""Whether other SAEs, of other seeds and layers, hold the same features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Estimate, Heat, draw_heatmap
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.wording import join_words, say_count, say_estimate, say_number, say_share

NAME, TITLE = "agreement", "Whether the SAEs agree"


def write_agreement(data: ReportData) -> Section | None:
    """Every emotion in every SAE, and the concepts that their matched features form; None with a single SAE."""
    saes = [str(row["name"]) for row in read_rows(data.saes)]
    best = _best_by_sae(read_rows(data.candidates))
    if len(saes) < 2 or not best:
        return None
    concepts = read_rows(data.concepts)
    return Section(
        NAME,
        TITLE,
        _say_agreement(concepts, len(saes)),
        paragraphs=(
            "Features of two SAEs match when each is the other's nearest neighbour, by their activity on the same "
            "stories or by their direction, and nearer than shuffled partners come. Matched features form a concept; "
            "it is confirmed if one of them holds up on unseen topics.",
        ),
        plates=(_draw_grid(best, saes),),
        folded=((f"All {say_count(len(concepts), 'concept')}", _tabulate(concepts)),) if concepts else (),
    )


def _best_by_sae(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """The first-ranked candidate of each emotion in each SAE."""
    return {(str(row["sae"]), str(row["emotion"])): row for row in rows if row.get("rank") == 1}


def _say_agreement(concepts: Sequence[Row], n_saes: int) -> str:
    confirmed = [row for row in concepts if row["is_confirmed"]]
    if not confirmed:
        return "No concept was confirmed: no matched group of features holds up on unseen topics."
    everywhere = sum(row["n_saes"] == n_saes for row in confirmed)
    shared = sum(row["n_saes"] > 1 for row in confirmed)
    verb = "has" if shared == 1 else "have"
    return (
        f"Of {say_count(len(confirmed), 'confirmed concept')}, {shared} {verb} a feature in at least two of the "
        f"{n_saes} SAEs and {everywhere} in all of them."
    )


def _draw_grid(best: dict[tuple[str, str], Row], saes: list[str]) -> Plate:
    emotions = tuple(sorted({emotion for _, emotion in best}))
    unknown = Estimate(math.nan)
    estimates = [
        [
            read_estimate(best[sae, emotion], "auroc_confirm") if (sae, emotion) in best else unknown
            for emotion in emotions
        ]
        for sae in saes
    ]
    values = np.array([[estimate.value for estimate in row] for row in estimates], dtype=np.float64)
    heat = Heat(
        rows=tuple(saes),
        columns=emotions,
        shades=2 * values - 1,
        texts=tuple(tuple(say_number(v).replace("0.", ".") if math.isfinite(v) else "" for v in row) for row in values),
        low="AUROC 0.5",
        high="1.0",
    )
    heads = ("emotion", *saes)
    rows = tuple(
        (emotion, *(say_estimate(estimates[at][place], 3) for at in range(len(saes))))
        for place, emotion in enumerate(emotions)
    )
    return Plate(
        "agreement",
        "The best candidate of every emotion in every SAE",
        "Confirm AUROC of each SAE's own first choice on discover topics; a dot where it has none.",
        "Heatmap of confirm AUROC by SAE and emotion.",
        partial(draw_heatmap, heat),
        TextTable(heads, rows, frozenset(range(1, len(heads)))),
    )


def _tabulate(concepts: Sequence[Row]) -> TextTable:
    return TextTable(
        ("concept", "emotions", "features", "SAEs", "stability", "correlation", "best AUROC", "members"),
        tuple(
            (
                str(row["name"]),
                join_words([str(emotion) for emotion in row["emotions"] or ()]) or "–",
                str(row["n_features"]),
                str(row["n_saes"]),
                say_share(read_number(row, "stability")),
                say_number(read_number(row, "mean_activation_corr")),
                say_number(read_number(row, "auroc_confirm"), 3),
                ", ".join(map(str, row["members"])),
            )
            for row in concepts
        ),
        frozenset({2, 3, 4, 5, 6}),
    )
