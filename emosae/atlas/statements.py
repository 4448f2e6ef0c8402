"""What the original experiment saw of the emotions, put as statements that another model can confirm or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from emosae.atlas.profiles import Profiles, Square
from emosae.selectivity.intervals import MIN_INTERVAL_TOPICS
from emosae.stories.families import STATEMENTS, Family

STATEMENT_SCHEMA = pa.schema(
    [
        ("statement", pa.string()),
        ("definition", pa.string()),
        ("members", pa.list_(pa.string())),
        ("n_emotions", pa.int64()),
        *((name, pa.float64()) for name in ("overlap", "overlap_lo", "overlap_hi", "null_mean", "null_hi", "p")),
        *((name, pa.float64()) for name in ("p_same_valence", "overlap_vectors", "p_vectors")),
        ("is_seen", pa.bool_()),
        ("verdict", pa.string()),
    ]
)
"""The columns of a table of statements: a row per statement."""

LEVEL = 0.05
MAX_SETS = 20_000


def judge_statements(
    by_features: Profiles,
    by_vectors: Profiles,
    valence: Float[np.ndarray, " emotion"],
    *,
    rng: np.random.Generator,
) -> pa.Table:
    """Hold each statement against sets of as many emotions of this corpus, drawn without regard to what they are.

    Args:
        by_features: Similarity is the cosine of these profiles.
        by_vectors: And, beside it, of these.
        valence: Of every emotion, NaN where unknown; only its sign is used.
        rng: Draws sets where there are more than 20,000.

    Returns:
        Rows with the `members` that the corpus has, of the family that `definition` lists; `overlap`, their mean
        pairwise similarity (-1 to 1), with a 95% interval by leaving out one confirm topic at a time; `null_mean` and
        `null_hi` (95th percentile) of all sets of that size; `p`, the share of these sets, the family included, whose
        overlap is at least as large; `p_same_valence`, the same among sets whose emotions are all of the sign of
        valence that the members share (null if they do not), since pleasant emotions are alike anyway; and the same by
        vectors. `is_seen` is whether `p` is at most 0.05, null where that cannot be tested; `verdict` says it in words.
    """
    rows = [_judge(family, by_features, by_vectors, valence, rng) for family in STATEMENTS]
    return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)


def compare_with_sets(
    cosine: Square, members: Sequence[int], sets: Int[np.ndarray, "set member"]
) -> tuple[float, Float[np.ndarray, " set"], float]:
    """Mean similarity within the members and within each set, and the share of sets that reach the members'."""
    within = float(mean_within(cosine, np.array([members]))[0])
    others = mean_within(cosine, sets)
    return within, others, float((others >= within - 1e-12).mean())


def mean_within(cosine: Square, sets: Int[np.ndarray, "set member"]) -> Float[np.ndarray, " set"]:
    """Mean similarity of the pairs within each set."""
    pairs = list(combinations(range(sets.shape[1]), 2))
    return np.mean([cosine[sets[:, a], sets[:, b]] for a, b in pairs], axis=0)


def list_sets(
    among: Sequence[int], members: Sequence[int], rng: np.random.Generator, *, limit: int = MAX_SETS
) -> Int[np.ndarray, "set member"]:
    """All sets of as many emotions as there are members, or the members and `limit` drawn sets if there are more."""
    size = len(members)
    if math.comb(len(among), size) <= limit:
        return np.array(list(combinations(sorted(among), size)), dtype=np.int64)
    drawn = rng.permuted(np.tile(np.array(sorted(among), dtype=np.int64), (limit, 1)), axis=1)[:, :size]
    return np.concatenate([np.array([members], dtype=np.int64), drawn])


def _judge(
    family: Family,
    by_features: Profiles,
    by_vectors: Profiles,
    valence: Float[np.ndarray, " emotion"],
    rng: np.random.Generator,
) -> dict[str, Any]:
    names = by_features.emotions
    members = [place for place, name in enumerate(names) if name.lower() in family.words]
    row: dict[str, Any] = {
        "statement": family.statement,
        "definition": family.definition,
        "members": [names[place] for place in members],
        "n_emotions": len(names),
    }
    if reason := _why_untestable(row["members"], len(names), by_features):
        return row | {"verdict": f"not testable here: {reason}"}
    sets = list_sets(range(len(names)), members, rng)
    within, others, p = compare_with_sets(by_features.compare(), members, sets)
    lo, hi = _leave_topics_out(by_features, members)
    row |= {"overlap": within, "overlap_lo": lo, "overlap_hi": hi, "p": p, "is_seen": p <= LEVEL}
    row |= {"null_mean": float(others.mean()), "null_hi": float(np.quantile(others, 0.95))}
    row["overlap_vectors"], _, row["p_vectors"] = compare_with_sets(by_vectors.compare(), members, sets)
    signs = np.sign(valence)
    if len({float(signs[place]) for place in members}) == 1 and np.isfinite(signs[members[0]]):
        alike = np.flatnonzero(signs == signs[members[0]]).tolist()
        row["p_same_valence"] = compare_with_sets(by_features.compare(), members, list_sets(alike, members, rng))[2]
    return row | {"verdict": _say(row, len(sets))}


def _why_untestable(members: Sequence[str], n_emotions: int, by_features: Profiles) -> str:
    if not members:
        return "no member"
    if len(members) == 1:
        return f"only one member ({members[0]})"
    if not by_features.n_topics:
        return "no topic is kept for confirming"
    if not by_features.total.any():
        return "no feature was discovered"
    n_sets = math.comb(n_emotions, len(members))
    return f"{n_emotions} emotions form only {n_sets} sets of {len(members)}" if n_sets * LEVEL < 1 else ""


def _leave_topics_out(profiles: Profiles, members: Sequence[int]) -> tuple[float | None, float | None]:
    """Ends of the delete-one-topic jackknife's interval, t with topics - 1; None under six topics."""
    from scipy.stats import t

    n = profiles.n_topics
    if n < MIN_INTERVAL_TOPICS:
        return None, None
    own = np.array([members])
    whole = float(mean_within(profiles.compare(), own)[0])
    left = [float(mean_within(profiles.compare(1.0 - np.eye(n)[topic]), own)[0]) for topic in range(n)]
    reach = float(t.ppf(0.975, n - 1)) * math.sqrt((n - 1) / n * float(np.square(np.array(left) - np.mean(left)).sum()))
    return max(-1.0, whole - reach), min(1.0, whole + reach)


def _say(row: dict[str, Any], n_sets: int) -> str:
    seen = "seen" if row["is_seen"] else "not seen"
    return (
        f"{seen}: mean similarity {row['overlap']:.2f}, at least that in {row['p']:.1%} of {n_sets:,} sets of "
        f"{len(row['members'])} emotions"
    )
