"""What features do once tests pass after failures: one more turn, behind the news of it and behind bad news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emosae.hooks import NO_EDITS
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.episodes import MIN_ROOM, Episode, Setting, find_suffix
from emosae.scenarios.playing import play
from emosae.scenarios.rollouts import trace_features
from emosae.scenarios.tables import make_table

if TYPE_CHECKING:
    import pyarrow as pa


def play_closings(setting: Setting, episodes: Sequence[Episode], traced: Sequence[FeatureSet], passed: str) -> pa.Table:
    """What traced features hold once tests pass: in one more turn, behind the news of it.

    One row per traced set and per episode that failed first and passed the visible tests later, be it by a cheat.
    `before` is the mean over the thought of the attempt that passes, `after` that over the thought of the turn behind
    it, in which the user has said that the tests pass, and `otherwise` the same where the user says what was said of
    the last failure instead. Both turns are written with the same random numbers. NaN without a thought.
    """
    late = [one for one in episodes if len(one.turns) > 1 and one.turns[-1].attempt.passes_visible]
    news = find_suffix(setting.lm, passed) if late else []
    pairs = [(_go_on(one, news), _go_on(one, _find_last_message(one))) for one in late]
    pairs = [pair for pair in pairs if max(len(one.prompt) for one in pair) + MIN_ROOM <= setting.lm.context]
    longer = replace(setting, max_attempts=setting.max_attempts + 1)
    found = {}
    for place, name in enumerate(("after", "otherwise")):
        going_on = [pair[place] for pair in pairs]
        play(longer, going_on, rounds=1)
        found[name] = trace_features(setting.lm, going_on, traced, NO_EDITS)
    rows: list[dict[str, Any]] = []
    for at, (episode, _) in enumerate(pairs):
        facts = {"task_id": episode.task.id, "episode": episode.number, "impossible": episode.task.is_impossible}
        for features in traced:
            values = {name: one[at][features.name] for name, one in found.items()}
            last = {name: value[-1] for name, value in values.items()}
            rows.append({**facts, "name": features.name, "before": values["after"][-2], **last})
    texts, numbers = ("task_id", "name"), ("before", "after", "otherwise")
    return make_table(rows, texts=texts, numbers=numbers, counts=("episode",), flags=("impossible",))


def _go_on(episode: Episode, message: Sequence[int]) -> Episode:
    return replace(episode, prompt=episode.prompt.then((), message), turns=list(episode.turns), is_over=False)


def _find_last_message(episode: Episode) -> tuple[int, ...]:
    """The tokens between the last two turns: what the model was told of its last failure."""
    first, stop = (turn.thought_span[0] for turn in episode.turns[-2:])
    n_written = sum(episode.prompt.flags[first:stop])
    return episode.prompt.ids[first + n_written : stop]
