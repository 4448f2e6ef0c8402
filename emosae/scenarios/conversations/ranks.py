"""Which emotion stands highest in which conversations, and how that compares with shuffled labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from emosae.scenarios.conversations.reading import PLACES
from emosae.scenarios.statistics import clustered_mean
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa

Reads = Sequence[Mapping[str, Any]]
SHUFFLES = 1999
EVERY_KIND = "all"
_NUMBERS = (
    "mean_rank", "mean_rank_lo", "mean_rank_hi", "mean_rank_null", "p_rank", "first", "first_lo", "first_hi",
    "first_null", "p_first",
)  # fmt: skip


def rank_emotions(reads: Reads) -> pa.Table:
    """Per kind and place the emotions in order of their standardised mean, and where the expected one stands.

    Every emotion is standardised over all conversations, so that a feature that is always loud does not come first;
    one that never changes stands at 0. A kind with several expected emotions (a ladder) has one row for each.
    """
    rows = []
    for place in PLACES:
        scores = standardize(reads, place)
        for kind, expected in sorted({(row["kind"], row["expected"]) for row in reads}):
            members = {row["conversation_id"] for row in reads if (row["kind"], row["expected"]) == (kind, expected)}
            means = _average_by_emotion(scores, members)
            order = sorted(means, key=lambda emotion: -means[emotion])
            rows.append(
                {
                    "kind": kind,
                    "expected": expected,
                    "place": place,
                    "n": len(members),
                    "first": order[0] if order else None,
                    "order": order,
                    "score": means.get(expected),
                    "score_first": means[order[0]] if order else None,
                    "rank": order.index(expected) + 1 if expected in order else None,
                }
            )
    return make_table(
        rows,
        texts=("kind", "expected", "place", "first", "order[]"),
        numbers=("score", "score_first"),
        counts=("n", "rank"),
    )


def _average_by_emotion(scores: Mapping[tuple[str, str], float], members: Collection[str]) -> dict[str, float]:
    """Mean score of each emotion over some conversations; one that was read in none of them is left out."""
    found: dict[str, list[float]] = {}
    for (conversation_id, emotion), score in sorted(scores.items()):
        if conversation_id in members and not math.isnan(score):
            found.setdefault(emotion, []).append(score)
    return {emotion: float(np.mean(values)) for emotion, values in found.items()}


def standardize(reads: Reads, place: str) -> dict[tuple[str, str], float]:
    """Each read in standard deviations from its emotion's mean over all conversations, by conversation and emotion."""
    by_emotion: dict[str, list[Mapping[str, Any]]] = {}
    for row in reads:
        by_emotion.setdefault(row["emotion"], []).append(row)
    scores: dict[tuple[str, str], float] = {}
    for emotion, rows in by_emotion.items():
        values = np.array([row[place] for row in rows], dtype=np.float64)
        spread = float(np.nanstd(values)) if not np.isnan(values).all() else 0.0
        for row, value in zip(rows, values, strict=True):
            centred = value - np.nanmean(values) if not math.isnan(value) else math.nan
            scores[row["conversation_id"], emotion] = centred / spread if spread > 0 else centred * 0
    return scores


def compare_with_shuffled(reads: Reads, rng: np.random.Generator, n_shuffles: int = SHUFFLES) -> pa.Table:
    """Where the expected emotion ranks in each conversation, against labels exchanged between conversations.

    The null hypothesis is that what is read does not depend on which emotion is expected. Conversations on ladders
    are left out, since their rungs share a text (they have their own test), and so are those whose expected emotion
    has no feature.

    Args:
        reads: A row per conversation and emotion.
        rng: Draws the exchanges.
        n_shuffles: How many; the least p is 1 / (1 + n_shuffles).

    Returns:
        A row per place for all kinds (`all`) and for each kind: the mean rank of the expected emotion (1 is highest of
        `n_emotions`, ties averaged) and `first`, the share of conversations in which it stands alone at the top,
        each with an interval clustered by item, its mean over shuffled labels, and the share of shuffles in which it
        is as good or better, counting the true labels as one.
    """
    rows: list[dict[str, Any]] = []
    for place in PLACES:
        ranks = _Ranks.of(reads, place)
        if ranks is not None:
            rows += [{"place": place, **row} for row in ranks.compare(rng, n_shuffles)]
    counts = ("n", "n_items", "n_emotions", "n_shuffles")
    return make_table(rows, texts=("place", "kind"), numbers=_NUMBERS, counts=counts)


class _Ranks:
    """Ranks of all emotions in every conversation that is off any ladder."""

    def __init__(self, kinds: Sequence[str], items: Sequence[str], expected: Sequence[int], scores: np.ndarray) -> None:
        from scipy.stats import rankdata

        self.kinds, self.items = np.array(kinds), np.array(items)
        self.expected: Int[np.ndarray, " conversation"] = np.array(expected)
        self.ranks: Float[np.ndarray, "conversation emotion"] = rankdata(-scores, axis=1)

    @classmethod
    def of(cls, reads: Reads, place: str) -> _Ranks | None:
        """None where fewer than two conversations can be ranked."""
        scores = standardize(reads, place)
        emotions = sorted({emotion for _, emotion in scores})
        told = {row["conversation_id"]: row for row in reads if not row.get("ladder") and row["expected"] in emotions}
        table = {name: [scores.get((name, emotion), math.nan) for emotion in emotions] for name in told}
        known = [name for name, values in table.items() if np.isfinite(values).all()]
        if len(known) < 2 or len(emotions) < 2:
            return None
        rows = [told[name] for name in known]
        return cls(
            [row["kind"] for row in rows],
            [row.get("item") or row["conversation_id"] for row in rows],
            [emotions.index(row["expected"]) for row in rows],
            np.array([table[name] for name in known]),
        )

    def compare(self, rng: np.random.Generator, n_shuffles: int) -> list[dict[str, Any]]:
        """A row for all conversations, then one per kind."""
        rows = np.arange(len(self.expected))
        true = self.ranks[rows, self.expected]
        shuffled = np.array([self.ranks[rows, rng.permutation(self.expected)] for _ in range(n_shuffles)])
        groups = {EVERY_KIND: np.ones(len(rows), dtype=bool)}
        groups |= {str(kind): self.kinds == kind for kind in sorted(set(self.kinds.tolist()))}
        return [
            {"kind": kind, "n_shuffles": n_shuffles, **self._describe(true, shuffled, members)}
            for kind, members in groups.items()
        ]

    def _describe(
        self,
        true: Float[np.ndarray, " conversation"],
        shuffled: Float[np.ndarray, "shuffle conversation"],
        members: Bool[np.ndarray, " conversation"],
    ) -> dict[str, Any]:
        mine, null, items = true[members], shuffled[:, members], self.items[members]
        n_emotions = self.ranks.shape[1]
        rank = clustered_mean(mine, items, bound=float(n_emotions))
        first = clustered_mean((mine == 1).astype(np.float64), items)
        null_rank, null_first = null.mean(axis=1), (null == 1).mean(axis=1)
        return {
            "n": len(mine),
            "n_items": len(set(items.tolist())),
            "n_emotions": n_emotions,
            "mean_rank": rank.estimate,
            "mean_rank_lo": max(1.0, rank.lo),
            "mean_rank_hi": rank.hi,
            "mean_rank_null": float(null_rank.mean()),
            "p_rank": exceed(null_rank <= rank.estimate + 1e-9),
            "first": first.estimate,
            "first_lo": max(0.0, first.lo),
            "first_hi": first.hi,
            "first_null": float(null_first.mean()),
            "p_first": exceed(null_first >= first.estimate - 1e-9),
        }


def exceed(as_good: Bool[np.ndarray, " shuffle"]) -> float:
    """Monte Carlo p: shuffles as good as the true labels, the true labels counted as one of them."""
    return (1 + int(as_good.sum())) / (1 + len(as_good))
