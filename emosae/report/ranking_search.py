"""What the page on a ranking says of the search itself: what it would have found, and what a second SAE holds too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emosae.report.ranking_data import RankingData, name_feature
from emosae.report.records import Row, read_estimate, read_number, read_rows
from emosae.report.script_page import Cell
from emosae.report.wording import say_count, say_estimate, say_number

if TYPE_CHECKING:
    import pyarrow as pa

SEARCH_MEANINGS = (
    (
        "would have seen AUROC",
        "Features that know nothing of the emotion were given its stories with their own direction added at every "
        "token, ever more strongly, and read, pooled and tested like all others. This is the median AUROC on discover "
        "at the smallest strength at which four in five of them were found. An emotion that no feature of the SAE "
        "answers to, or that is felt in some of its stories only, can still go unseen.",
    ),
    (
        "in another SAE",
        "The feature of another SAE at the same hook that is nearest to the best feature, and it to that one, by the "
        "correlation of activations on discover and tune or by decoder cosine, beyond what chance reaches for 99% of "
        "features when stories are exchanged within emotions. Its AUROC on confirm is read on the same stories as the "
        "best feature’s. Confirmed means that the interval lies above 0.5; intervals are not corrected for their "
        "number.",
    ),
)

_VERDICTS = {True: ("confirmed", "good"), False: ("not confirmed", "bad"), None: ("no interval", "")}


def say_limits(summary: pa.Table, detection: pa.Table | None) -> list[str]:
    """A line for every emotion for which nothing was found, with what would have been; none if that was not asked."""
    if detection is None:
        return []
    limits = {row["emotion"]: row for row in read_rows(detection)}
    lost = [row["emotion"] for row in read_rows(summary) if not row["n_discovered"]]
    return [": nothing found; ".join((emotion, say_limit(limits.get(emotion)))) for emotion in lost]


def say_limit(row: Row | None) -> str:
    """What would have been found for an emotion, to follow `nothing found`."""
    if row is None or not row["n_spikes"]:
        return "what would have been found was not measured"
    limit = read_number(row, "detection_limit_auroc")
    if math.isfinite(limit):
        return f"would have seen AUROC >= {say_number(limit)}"
    return "nor was any spike, up to the length of the residual itself"


def make_search_columns(data: RankingData) -> dict[str, Callable[[Row], Cell]]:
    """Columns of the table of emotions by their headings: what each shows of a row of the summary."""
    limits = {row["emotion"]: row for row in read_rows(data.detection)}
    partners = _find_partners(data.replication)
    columns: dict[str, Callable[[Row], Cell]] = {}
    if limits:
        columns["would have seen AUROC"] = lambda row: _show_limit(limits.get(row["emotion"], {}))
    if partners:
        columns["in another SAE"] = lambda row: show_partners(partners.get(_name(row), ()))
    return columns


def _show_limit(row: Row) -> Cell:
    limit = read_number(row, "detection_limit_auroc")
    return Cell(f">= {say_number(limit)}" if math.isfinite(limit) else "–", limit)


def _name(row: Row) -> tuple[str, int, str]:
    return row["sae"], row["feature_idx"], row["emotion"]


def _find_partners(replication: pa.Table | None) -> dict[tuple[str, int, str], list[Row]]:
    """What each candidate has in the other SAEs of its hook."""
    found: dict[tuple[str, int, str], list[Row]] = {}
    for row in read_rows(replication):
        found.setdefault(_name(row), []).append(row)
    return found


def show_partners(rows: Sequence[Row]) -> Cell:
    """What one candidate has in the other SAEs of its hook; by name if there is one such SAE only."""
    if len(rows) != 1:
        confirmed = sum(bool(row["matched_confirmed"]) for row in rows)
        return Cell(f"confirmed in {confirmed} of {len(rows)}", float(confirmed)) if rows else Cell("–", math.nan)
    (row,) = rows
    if row["matched_feature_idx"] is None:
        return Cell("no match", -1.0, "bad")
    named = name_feature({"sae": row["matched_sae"], "feature_idx": row["matched_feature_idx"]})
    read = read_estimate(row, "matched_auroc_confirm")
    verdict, tone = _VERDICTS[row["matched_confirmed"]]
    return Cell(f"{named} {verdict} {say_estimate(read)}", read.value, tone)


def say_replication(data: RankingData) -> list[str]:
    """How many discovered candidates are found again."""
    partners = _find_partners(data.replication)
    discovered = [row for row in read_rows(data.ranking.candidates) if read_number(row, "q_bh") < data.alpha]
    pairs = [pair for row in discovered for pair in partners.get(_name(row), ())]
    if not pairs:
        return []
    matched = [pair for pair in pairs if pair["matched_feature_idx"] is not None]
    confirmed = sum(bool(pair["matched_confirmed"]) for pair in matched)
    return [
        f"{len(matched):,} of {say_count(len(pairs), 'discovered feature')} have a partner in another SAE at their "
        f"hook; {confirmed:,} of these partners {'is' if confirmed == 1 else 'are'} confirmed for the same emotion."
    ]
