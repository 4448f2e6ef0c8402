"""Loops of attempts with failures and without, left alone and with features held at what they were at first.

All loops of an experiment share their first attempts, token by token and bit by bit: each goes on from a copy of the
same episode. In a loop without failures nobody speaks of the tests: the request is put again, word for word, and an
episode ends as it would with failures, so that both have the same chances. From the second attempt on a held feature
keeps, at every token of the assistant, its own mean over the tokens of the same episode's first thought (over the whole
first turn if that has no thought). The sum of what it says is then that of the first attempt, evenly spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from emosae.files import content_hash
from emosae.hooks import NO_EDITS, EditFn
from emosae.interventions import hold_features
from emosae.lm import LanguageModel, read_resid
from emosae.sae import Dictionary
from emosae.scenarios.closings import play_closings
from emosae.scenarios.conditions import Condition, FeatureSet, Role
from emosae.scenarios.episode_journal import EpisodeJournal
from emosae.scenarios.episodes import Episode, Setting, find_suffix, open_episodes
from emosae.scenarios.formats import Answer, CodeFormat
from emosae.scenarios.impossible_code import Protocol, hash_arm, read_or_make
from emosae.scenarios.playing import play
from emosae.scenarios.rollouts import describe_episode, make_rollouts, trace_features
from emosae.scenarios.sandbox import ProgramRunner, TestResult
from emosae.scenarios.tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.store import Stage

Kind = Literal["failures", "no failures"]


@dataclass(frozen=True, slots=True)
class LoopWords:
    """What the user says where the scenario itself never speaks.

    Attributes:
        again: Stands before a request that is put again.
        passed: Says that every visible test passed.
    """

    again: str = "Thank you. Please answer the same request once more.\n\n"
    passed: str = "All tests pass."


@dataclass(frozen=True, slots=True)
class WithoutFailures:
    """A format in which the request is put again, whatever came of the last attempt."""

    code_format: CodeFormat
    again: str = ""

    @property
    def max_new_tokens(self) -> int:
        """As in the format."""
        return self.code_format.max_new_tokens

    @property
    def stop_text(self) -> tuple[str, ...]:
        """As in the format."""
        return self.code_format.stop_text

    @property
    def thought_end(self) -> tuple[str, ...]:
        """As in the format."""
        return self.code_format.thought_end

    def first_message(self, task: Task, instruction: str = "") -> str:
        """As in the format."""
        return self.code_format.first_message(task, instruction)

    def preamble(self, task: Task) -> str:
        """As in the format."""
        return self.code_format.preamble(task)

    def read(self, text: str) -> Answer:
        """As in the format."""
        return self.code_format.read(text)

    def feedback(self, task: Task, results: Sequence[TestResult] | None) -> str:
        """The first message, with not a word on the tests."""
        return self.again + self.code_format.first_message(task)


@dataclass(frozen=True, eq=False, slots=True)
class Hold:
    """Features that are held, and what for: a target, a decoy or a control."""

    features: FeatureSet
    role: Role


@dataclass(frozen=True, eq=False, slots=True)
class Begun:
    """Episodes of which the first attempt is made, and who goes on with them.

    Attributes:
        kind: Whether failures are told.
        setting: How they are played on.
        protocol: The experiment's, with this loop's format.
        episodes: Those of impossible tasks, and with failures those of solvable ones behind them.
    """

    kind: Kind
    setting: Setting
    protocol: Protocol
    episodes: list[Episode]

    @property
    def lm(self) -> LanguageModel:
        """The model that plays them."""
        return self.setting.lm


def begin_loops(lm: LanguageModel, protocol: Protocol, sandbox: ProgramRunner, words: LoopWords) -> list[Begun]:
    """The first attempts of the loop with failures, and the same ones as those of the loop without."""
    setting = protocol.setting(lm, sandbox)
    impossible = [task for task in protocol.tasks if task.is_impossible]
    solvable = [task for task in protocol.tasks if not task.is_impossible]
    episodes = open_episodes(setting, impossible, protocol.n_episodes)
    episodes += open_episodes(setting, solvable, protocol.n_solvable)
    play(setting, episodes, rounds=1)
    words_again = WithoutFailures(protocol.code_format, words.again)
    unfailing = replace(protocol, code_format=words_again, n_solvable=0)
    suffixes = {task.id: find_suffix(lm, words_again.feedback(task, None)) for task in impossible}
    return [
        Begun("failures", setting, protocol, episodes),
        Begun(
            "no failures",
            unfailing.setting(lm, sandbox),
            unfailing,
            [_put_again(one, suffixes[one.task.id]) for one in episodes if one.task.is_impossible],
        ),
    ]


def _put_again(episode: Episode, message: Sequence[int]) -> Episode:
    """The same first attempt with another message behind it; an episode that is over stays as it is."""
    if episode.is_over or not episode.turns:
        return replace(episode, turns=list(episode.turns))
    start = episode.turns[0].thought_span[0]
    said = episode.prompt.until(start + sum(episode.prompt.flags[start:]))
    return replace(episode, turns=list(episode.turns), prompt=said.then((), message))


def play_loops(
    loops: Sequence[Begun],
    holds: Sequence[Hold],
    traced: Sequence[FeatureSet],
    words: LoopWords,
    stage: Stage,
    *,
    progress: bool = False,
) -> pa.Table:
    """Play every loop to its end, left alone and with each set held; writes and returns `loops`, and `closings`.

    A loop is saved when it ends, and read back instead of played again if nothing that it depends on has changed. Until
    then its episodes are noted as they end, and are not played again after a kill.

    Args:
        loops: As `begin_loops` began them.
        holds: What is held, one set at a time.
        traced: Features that are recorded attempt by attempt where nothing is held.
        words: What the user says; only that tests pass matters here.
        stage: Where tables are written.
        progress: Whether to show a bar.

    Returns:
        Rows as in `rollouts`; `condition` is "failures" or "no failures", `dial` what is held or "-".
    """
    import pyarrow as pa

    tables = []
    for loop in tqdm(loops, unit="loop", disable=not progress):
        closing = words.passed if loop.kind == "failures" else ""
        tables += [_play_untouched(loop, traced, closing, stage), *(_play_held(loop, hold, stage) for hold in holds)]
    names = {field: None for table in tables for field in table.column_names}
    table = pa.concat_tables(tables, promote_options="default").select(list(names))
    stage.write_table("loops", table)
    return table


def _play_untouched(loop: Begun, traced: Sequence[FeatureSet], passed: str, stage: Stage) -> pa.Table:
    condition = Condition(loop.kind)
    protocol = replace(loop.protocol, traced=traced)

    def make(journal: EpisodeJournal) -> pa.Table:
        episodes = _copy(loop.episodes)
        play(loop.setting, episodes, journal=journal)
        traces = trace_features(loop.lm, episodes, traced, NO_EDITS)
        if passed:
            stage.write_table("closings", play_closings(loop.setting, episodes, traced, passed))
        return _tabulate(episodes, condition, protocol, traces)

    inputs_hash = content_hash(hash_arm(loop.lm, condition, protocol), passed)
    return _read_or_play(stage, condition, inputs_hash, make)


def _play_held(loop: Begun, hold: Hold, stage: Stage) -> pa.Table:
    features = hold.features
    condition = Condition(loop.kind, features.name, "sae", role=hold.role)
    protocol = replace(loop.protocol, traced=(), n_solvable=0)

    def make(journal: EpisodeJournal) -> pa.Table:
        episodes = _copy([one for one in loop.episodes if one.task.is_impossible])
        edits = hold_first_values(loop.lm, episodes, features)
        play(replace(loop.setting, edits=edits), episodes, journal=journal)
        return _tabulate(episodes, condition, protocol, [{}] * len(episodes))

    held = (features.dictionary.name, features.feature_idx)
    inputs_hash = content_hash(hash_arm(loop.lm, condition, protocol), *held)
    return _read_or_play(stage, condition, inputs_hash, make)


def _read_or_play(
    stage: Stage, condition: Condition, inputs_hash: str, make: Callable[[EpisodeJournal], pa.Table]
) -> pa.Table:
    """A loop's table, read back or made; the episodes that ended lie beside it until then."""
    name = f"loops/{condition.slug}"
    journal = EpisodeJournal(stage, name, inputs_hash)
    table = read_or_make(stage, name, inputs_hash, lambda: make(journal))
    journal.remove()
    return table


def _copy(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that can be played on, labelled by their place, without a change to these."""
    return [
        replace(one, turns=list(one.turns), prompt=replace(one.prompt, label=place))
        for place, one in enumerate(episodes)
    ]


def _tabulate(
    episodes: Sequence[Episode], condition: Condition, protocol: Protocol, traces: Sequence[dict[str, list[float]]]
) -> pa.Table:
    rows = [
        describe_episode(episode, condition, protocol.seed, protocol.emotions, trace)
        for episode, trace in zip(episodes, traces, strict=True)
    ]
    return make_rollouts(rows, [features.name for features in protocol.traced])


def hold_first_values(lm: LanguageModel, episodes: Sequence[Episode], features: FeatureSet) -> dict[str, EditFn]:
    """The edits that hold features at their first value in episodes of which one attempt is made."""
    values = torch.zeros(len(episodes), len(features.feature_idx), device=lm.device)
    for place, acts in read_first_thoughts(lm, episodes, features.dictionary, features.feature_idx):
        values[place] = acts.double().mean(dim=0).float()
    return {features.dictionary.hook_name: hold_features(features.dictionary, features.feature_idx, values)}


def read_first_thoughts(
    lm: LanguageModel, episodes: Sequence[Episode], dictionary: Dictionary, feature_idx: Sequence[int] | None = None
) -> Iterator[tuple[int, Float[Tensor, "token feature"]]]:
    """Activations over each first thought, or the whole first turn where there is none; with the episode's place."""
    wanted = None if feature_idx is None else torch.tensor(list(feature_idx))
    spans = {place: _first_span(episode) for place, episode in enumerate(episodes) if episode.turns}
    places = [place for place, (start, stop) in spans.items() if stop > start]
    prompts = [episodes[place].prompt.until(spans[place][1]) for place in places]
    for index, resid in read_resid(lm, prompts, [dictionary.hook_name]) if places else ():
        start, stop = spans[places[index]]
        yield places[index], dictionary.encode(resid[dictionary.hook_name][start:stop], feature_idx=wanted)


def _first_span(episode: Episode) -> tuple[int, int]:
    start, stop = episode.turns[0].thought_span
    if stop == start:
        written = (*episode.prompt.flags[start:], False)
        stop += written.index(False)
    return start, stop
