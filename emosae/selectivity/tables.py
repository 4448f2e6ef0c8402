"""The arrays of a ranking as tables; NaN becomes null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.features import StoryFeatures
from emosae.selectivity.candidates import Confirmed, Picks, Rivals, as_intervals, describe_picks
from emosae.selectivity.layout import CAP, Layout
from emosae.selectivity.ranks import auroc_all
from emosae.selectivity.screen import TAIL_LEVELS, Screen
from emosae.stories import SPLITS

_BEST = ("sae", "feature_idx", "auroc", "p_maxt", "q_bh", "rival")
_BEST_CONFIRM = ("auroc_confirm", "auroc_rival_confirm")


def tabulate(columns: Mapping[str, Any]) -> pa.Table:
    """Columns as a table; NaN and None become null."""
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def join_tables(tables: Sequence[pa.Table], *order: str) -> pa.Table:
    """Tables below one another, sorted by the columns of `order`."""
    joined = pa.concat_tables(tables, promote_options="permissive")
    return joined.sort_by([(name, "ascending") for name in order]) if order else joined


def tabulate_candidates(
    layout: Layout,
    table: StoryFeatures,
    screen: Screen,
    picks: Picks,
    rivals: Rivals,
    confirmed: Confirmed,
    confounds: Mapping[str, Any],
) -> pa.Table:
    """One SAE's candidates, a row per pick."""
    n, cells = len(picks.rank), (picks.feature_idx, picks.emotion)
    names = np.array([*layout.emotions, None], dtype=object)
    capped = np.array([CAP if _is_capped(notes) else None for notes in layout.emotion_notes()], dtype=object)
    tests = ("auroc", "z", "p", "p_perm", "p_maxt", "cohens_d", "fire_rate_pos", "fire_rate_neg")
    columns = {
        "sae": repeat_text(table.sae, n),
        "hook_name": repeat_text(table.hook_name, n),
        "feature_idx": picks.feature_idx,
        "emotion": _text(names[picks.emotion]),
        "rank": picks.rank,
        **{name: getattr(screen, name)[cells] for name in tests},
        "q_bh": screen.q[cells],
        **describe_picks(table, layout, picks),
        "auroc_min_rival": rivals.auroc,
        "rival": _text(names[rivals.emotion]),
        **as_intervals("auroc_confirm", confirmed.overall),
        "p_confirm": confirmed.p,
        **as_intervals("auroc_rival_confirm", confirmed.rival),
        **{name: _floats(one) if isinstance(one, np.ndarray) else one for name, one in confounds.items()},
        "verdict_cap": _text(capped[picks.emotion]),
    }
    return tabulate(columns)


def tabulate_profiles(layout: Layout, table: StoryFeatures) -> pa.Table:
    """Every feature's AUROC for every emotion on discover + tune."""
    part = layout.part("discover", "tune")
    acts = table.mean[part.rows]
    auroc = auroc_all(acts, part.label, part.n_emotions).astype(np.float32)
    n_features = acts.shape[1]
    columns = {
        "sae": repeat_text(table.sae, n_features),
        "feature_idx": np.arange(n_features),
        "fire_rate": np.bincount(acts.nonzero()[1], minlength=n_features) / max(1, acts.shape[0]),
    }
    return tabulate(columns | {name: auroc[:, place] for place, name in enumerate(layout.emotions)})


def tabulate_tail(sae: str, screen: Screen) -> pa.Table:
    """Share of tests that fall below each nominal level: under exchanged labels, and as they were found."""
    n = len(TAIL_LEVELS)
    columns = {
        "sae": repeat_text(sae, n),
        "nominal": np.array(TAIL_LEVELS),
        "observed": _floats(screen.tail),
        "found": _floats(screen.reached),
        "n_tests": np.full(n, screen.tested.sum()),
    }
    return tabulate(columns)


def tabulate_stories(layout: Layout) -> pa.Table:
    """The corpus as it was used."""
    names = {"story_id": "id", "emotion": "emotion", "topic": "topic", "split": "split"}
    columns = {to: _text([getattr(story, name) for story in layout.stories]) for to, name in names.items()}
    return tabulate(columns)


def summarise(layout: Layout, screens: Sequence[Screen], candidates: pa.Table, alpha: float) -> pa.Table:
    """One row per emotion; its best feature is the candidate with the highest discover AUROC of any SAE."""
    rows = []
    parts = {name: layout.part(name) for name in SPLITS}
    best = _best_candidates(candidates)
    for place, (emotion, notes) in enumerate(zip(layout.emotions, layout.emotion_notes(), strict=True)):
        counts = {f"n_{name}": int(part.stories_per_emotion[place]) for name, part in parts.items()}
        topics = {f"topics_{name}": int(part.topics_per_emotion[place]) for name, part in parts.items()}
        tested = sum(int(screen.tested[:, place].sum()) for screen in screens)
        found = sum(int(((s.q < alpha) & (s.auroc > 0.5))[:, place].sum()) for s in screens)
        tests = {"n_tested": tested, "n_discovered": found}
        top = best.get(emotion, {})
        spans = [f"{name}{suffix}" for name in _BEST_CONFIRM for suffix in ("", "_lo", "_hi")]
        chosen = {name: top.get(name) for name in (*_BEST, *spans)}
        row = {"emotion": emotion, **counts, **topics, **tests, **chosen}
        rows.append(row | {"verdict_cap": CAP if _is_capped(notes) else None, "notes": "; ".join(notes)})
    return _from_rows(rows, like=candidates)


def _from_rows(rows: Sequence[Mapping[str, Any]], like: pa.Table) -> pa.Table:
    """Rows as a table whose columns have the types that they have in `like`, even where all are null."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    known = set(like.column_names)
    return pa.table(
        {n: pa.array(v, like.schema.field(n).type) if n in known else pa.array(v) for n, v in columns.items()}
    )


def _best_candidates(candidates: pa.Table) -> dict[str, dict[str, Any]]:
    best: dict[str, dict[str, Any]] = {}
    for row in candidates.to_pylist():
        held = best.get(row["emotion"])
        if row["rank"] == 1 and (held is None or _strength(row) > _strength(held)):
            best[row["emotion"]] = row
    return best


def _strength(row: Mapping[str, Any]) -> tuple[float, float]:
    return round(row["auroc"], 9), row["cohens_d"]


def _is_capped(notes: Sequence[str]) -> bool:
    return any(note.startswith("verdict capped") for note in notes)


def _text(values: Sequence[str | None] | np.ndarray) -> pa.Array:
    return pa.array(list(values), pa.string())


def _floats(values: Float[np.ndarray, " any"]) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def repeat_text(name: str | None, count: int) -> pa.Array:
    """A column that holds one text, or null, throughout."""
    return _text([name] * count)
