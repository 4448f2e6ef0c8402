"""The ledger in short: how far each emotion's features came."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from emosae.ledger import LADDER, VERDICTS
from emosae.report.citing import cite
from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Heat, draw_heatmap
from emosae.report.records import ReportData, Row, read_number
from emosae.report.wording import say_count

NAME, TITLE = "verdicts", "How far the evidence goes"


def write_verdicts(data: ReportData) -> Section:
    """Counts per rung and emotion, and the furthest feature of each emotion with what earned it."""
    rows = data.rows("ledger")
    if not rows:
        return Section(NAME, TITLE, "The ledger is empty: no feature was a candidate for any emotion.")
    best = sorted(_best_rows(rows), key=lambda row: (-_height(row), row["emotion"]))
    return Section(
        NAME,
        TITLE,
        _say_furthest(rows, best),
        paragraphs=(
            "A verdict is computed from the columns of a feature's row in ledger.parquet and from nothing else, rung "
            "after rung; the table at the end says what each asks for.",
        ),
        plates=(_draw_counts(rows, best),),
        folded=(
            ("The furthest feature of each emotion, and what it lacks", _tabulate(best)),
            ("What each rung asks for", _tabulate_ladder()),
        ),
    )


def _height(row: Row) -> int:
    return VERDICTS.index(row["verdict"])


def _best_rows(rows: Sequence[Row]) -> list[Row]:
    best: dict[str, Row] = {}
    for row in rows:
        held = best.get(row["emotion"])
        if held is None or _strength(row) > _strength(held):
            best[row["emotion"]] = row
    return list(best.values())


def _strength(row: Row) -> tuple[int, float]:
    return _height(row), read_number(row, "auroc_confirm") if row.get("auroc_confirm") is not None else 0.0


def _say_furthest(rows: Sequence[Row], best: Sequence[Row]) -> str:
    detected = sum(_height(row) >= 1 for row in best)
    specific = sum(_height(row) >= 2 for row in best)
    top = best[0]
    if not detected:
        return f"None of {say_count(len(rows), 'candidate')} earned a verdict; every one stays at none."
    opening = (
        f"{say_count(detected, 'emotion')} have a feature that is at least detected and {specific} one that is specific"
        if detected != 1
        else f"One emotion has a feature that is at least detected, and {specific or 'none'} one that is specific"
    )
    if _height(top) < 3:
        return f"{opening}; none earned more."
    return f"{opening}; the furthest, {_cite_feature(top)} for {top['emotion']}, reaches “{top['verdict']}”."


def _tabulate_ladder() -> TextTable:
    rows = tuple(
        (rung.verdict, "; ".join(requirement.says for requirement in rung.requirements), rung.table) for rung in LADDER
    )
    return TextTable(("verdict", "asks for", "earned in"), rows)


def _draw_counts(rows: Sequence[Row], best: Sequence[Row]) -> Plate:
    emotions = tuple(str(row["emotion"]) for row in best)
    counts = np.array(
        [
            [
                sum(row["emotion"] == emotion and _height(row) >= height for row in rows)
                for height in range(len(VERDICTS))
            ]
            for emotion in emotions
        ],
        dtype=np.int64,
    )
    heat = Heat(
        rows=emotions,
        columns=VERDICTS[1:],
        shades=np.where(counts[:, 1:] > 0, np.linspace(0.3, 1, len(LADDER))[None], 0.0),
        texts=tuple(tuple(str(count) if count else "" for count in row) for row in counts[:, 1:]),
        low="none of the emotion's candidates",
        high="some, as many as written",
        steps=2,
    )
    table = TextTable(
        ("emotion", "candidates", *VERDICTS[1:]),
        tuple((emotion, *map(str, row)) for emotion, row in zip(emotions, counts.tolist(), strict=True)),
        frozenset(range(1, len(VERDICTS) + 1)),
    )
    return Plate(
        "verdicts",
        "Candidates that reach each rung",
        "Rungs from left to right; a feature reaches one only over all before it. Numbers count the emotion's "
        "candidate features over all SAEs. What was never measured earns nothing.",
        "Grid of emotions and rungs with the number of candidate features that reach each.",
        partial(draw_heatmap, heat),
        table,
    )


def _cite_feature(row: Row) -> str:
    return cite(f"{row['sae']} #{row['feature_idx']}", row, "sae", "feature_idx")


def _tabulate(best: Sequence[Row]) -> TextTable:
    said = ("verdict", "earned_by", "held_back_by")
    return TextTable(
        ("emotion", "feature", "verdict", "earned by", "what the next rung lacks"),
        tuple(
            (
                str(row["emotion"]),
                _cite_feature(row),
                *(cite(str(row[name]), row, name) if row[name] else "–" for name in said),
            )
            for row in best
        ),
    )
