"""Episodes of the programming scenario that can be watched again: a sample, every arm of an episode in one file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.site.cells import list_rows, spread_evenly, tidy_cell, tidy_columns
from emosae.site.page_tables import PageTables

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_IMPOSSIBLE, SHOWN_SOLVABLE = 32, 8
"""Episodes that are kept, evenly spread over all."""
LONGEST = 6000
"""Characters of one attempt that are kept."""
TRACE = "trace_"

_ARM = ("condition", "dial", "method", "role", "dose", "primary", "hides_naming")
_TRAJECTORY = ("dial", "features", "loop", "attempt", "n", "mean", "lo", "hi")
Key = tuple[str, int]


def list_rollout_files(tables: PageTables) -> Iterator[tuple[str, Any]]:
    """`rollouts`, what there is to watch, and `rollout-N`, one episode in every arm that played it."""
    levels = [row for row in list_rows(tables.trajectory) if row["quantity"] == "level"]
    index: dict[str, Any] = {"trajectory": tidy_columns(levels, _TRAJECTORY), "arms": {}, "episodes": {}, "n": 0}
    if tables.rollouts is None or not tables.rollouts.num_rows:
        yield "rollouts", index
        return
    places = _group_episodes(tables.rollouts)
    chosen = _choose_episodes(tables.rollouts, places)
    dials = [name.removeprefix(TRACE) for name in tables.rollouts.column_names if name.startswith(TRACE)]
    arms: dict[tuple[Any, ...], int] = {}
    episodes = []
    for number, key in enumerate(chosen):
        rows = tables.rollouts.take(places[key]).to_pylist()
        numbered = [(arms.setdefault(tuple(row[name] for name in _ARM), len(arms)), row) for row in rows]
        grades = {arm: row["grade"] for arm, row in numbered}
        episodes.append(
            {
                "task": key[0],
                "episode": key[1],
                "is_impossible": rows[0]["impossible"],
                "grades": grades,
                "attempts": {arm: row["n_attempts"] for arm, row in numbered},
            }
        )
        played = [_pack_episode(arm, row, dials) for arm, row in numbered]
        yield f"rollout-{number}", {"prompt": tables.prompts.get(key[0], ""), "played": played}
    index |= {
        "dials": dials,
        "arms": {name: [tidy_cell(arm[place]) for arm in arms] for place, name in enumerate(_ARM)},
        "episodes": _list_episodes(episodes, len(arms)),
        "n": len(places),
    }
    yield "rollouts", index


def _group_episodes(rollouts: pa.Table) -> dict[Key, list[int]]:
    """Rows of each episode, one per arm."""
    places: dict[Key, list[int]] = defaultdict(list)
    columns = (rollouts[name].to_pylist() for name in ("task_id", "episode"))
    for row, key in enumerate(zip(*columns, strict=True)):
        places[key].append(row)
    return places


def _choose_episodes(rollouts: pa.Table, places: Mapping[Key, Sequence[int]]) -> list[Key]:
    """Some of the episodes that most arms played, evenly spread, so that nothing about their ending chose them."""
    impossible = rollouts["impossible"].to_pylist()
    most = max(len(rows) for rows in places.values())
    shared = [key for key, rows in places.items() if len(rows) * 2 > most]
    kinds = [[key for key in shared if impossible[places[key][0]] is kind] for kind in (True, False)]
    return [*spread_evenly(kinds[0], SHOWN_IMPOSSIBLE), *spread_evenly(kinds[1], SHOWN_SOLVABLE)]


def _list_episodes(episodes: Sequence[Mapping[str, Any]], n_arms: int) -> dict[str, list[Any]]:
    """By column; grades and attempts hold an entry per arm, null where the arm did not play the episode."""
    listed = {name: [episode[name] for episode in episodes] for name in ("task", "episode", "is_impossible")}
    for name in ("grades", "attempts"):
        listed[name] = [[episode[name].get(arm) for arm in range(n_arms)] for episode in episodes]
    return listed


def _pack_episode(arm: int, row: Mapping[str, Any], dials: Sequence[str]) -> dict[str, Any]:
    return {
        "arm": arm,
        "grades": row["grades"],
        "texts": [_cut(text) for text in row["texts"] or ()],
        "programs": [_cut(text) for text in row["programs"] or ()],
        "errors": [_cut(text) for text in row["errors"] or ()],
        "visible": row["passed_visible"],
        "hidden": row["passed_hidden"],
        "traces": {dial: tidy_cell(row[TRACE + dial]) for dial in dials if row[TRACE + dial]},
    }


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
