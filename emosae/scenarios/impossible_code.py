"""The scenario of the impossible task: arms of episodes, saved one by one, and what they show together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from tqdm import tqdm

from emosae.errors import UserError
from emosae.files import content_hash
from emosae.generation import Prompt
from emosae.interventions import Intervention, edit_fns, token_kl
from emosae.lm import LanguageModel
from emosae.scenarios.arms import KEY, contrast_arms, slope_arms, summarize_arms
from emosae.scenarios.conditions import Condition, FeatureSet
from emosae.scenarios.episode_journal import EpisodeJournal
from emosae.scenarios.episodes import Exchange, Setting, open_episodes
from emosae.scenarios.formats import CodeFormat
from emosae.scenarios.playing import play
from emosae.scenarios.rollouts import describe_episode, make_rollouts, trace_features
from emosae.scenarios.sandbox import ProgramRunner
from emosae.scenarios.tasks import Task
from emosae.store import Stage

if TYPE_CHECKING:
    import pyarrow as pa

_HASH = b"emosae_arm"
TRACED_CONDITIONS = frozenset({"none", "prompt"})


@dataclass(frozen=True, eq=False, slots=True)
class Protocol:
    """How every arm of an experiment is run.

    Attributes:
        tasks: Impossible tasks and solvable controls.
        code_format: How they are put to the model.
        n_episodes: Episodes of impossible tasks in an arm, dealt to the tasks in turn.
        n_solvable: Episodes of solvable controls in an arm.
        max_attempts: Attempts at most in an episode.
        seed: Start of every episode's randomness; the same in all arms, so that they are paired.
        temperature: Divides the logits.
        emotions: Names of emotions, which count as emotional wording.
        traced: Features whose activation is recorded attempt by attempt.
        traced_conditions: The conditions in which they are.
        batch_size: Episodes that are written together.
        earlier: What stands in every transcript before the task.
    """

    tasks: Sequence[Task]
    code_format: CodeFormat
    n_episodes: int = 200
    n_solvable: int = 40
    max_attempts: int = 3
    seed: int = 0
    temperature: float = 1.0
    emotions: Collection[str] = ()
    traced: Sequence[FeatureSet] = ()
    traced_conditions: Collection[str] = TRACED_CONDITIONS
    batch_size: int = 256
    earlier: tuple[Exchange, ...] = ()

    def setting(self, lm: LanguageModel, sandbox: ProgramRunner) -> Setting:
        """What the episodes of an arm share in which nothing is done."""
        return Setting(
            lm=lm,
            code_format=self.code_format,
            sandbox=sandbox,
            max_attempts=self.max_attempts,
            seed=self.seed,
            temperature=self.temperature,
            batch_size=self.batch_size,
            earlier=self.earlier,
        )


def run_impossible_code(
    lm: LanguageModel,
    conditions: Sequence[Condition],
    protocol: Protocol,
    sandbox: ProgramRunner,
    stage: Stage,
    *,
    neutral_prompts: Sequence[Sequence[int]] = (),
    progress: bool = False,
) -> pa.Table:
    """Run all arms and write `rollouts`, `summary`, `contrasts` and `slopes`; returns the rollouts.

    An arm is saved when it ends, and read back instead of run again if nothing that it depends on has changed.

    Args:
        lm: The model.
        conditions: The arms; one with nothing done is what the others are compared with.
        protocol: How they are run.
        sandbox: Where programs are run.
        stage: Where tables are written.
        neutral_prompts: Text on which each arm's edits are measured in nats per token; none for no such column.
        progress: Whether to show a bar.
    """
    import pyarrow as pa

    if not any(condition.condition == "none" for condition in conditions):
        raise UserError("no arm in which nothing is done: there is nothing to compare the others with")
    expected = [_count_episodes(condition, protocol) for condition in conditions]
    tables = []
    with tqdm(total=sum(expected), unit="episode", disable=not progress) as bar:
        for condition, count in zip(conditions, expected, strict=True):
            bar.set_description(condition.slug)
            done = bar.n
            tables.append(run_episodes(lm, condition, protocol, sandbox, stage, progress=bar.update))
            bar.update(done + count - bar.n)
    rollouts = pa.concat_tables(tables)
    kl = _measure_kl(lm, conditions, neutral_prompts)
    stage.write_table("rollouts", rollouts)
    of_max = {_key_of(condition): condition.dose_of_max for condition in conditions}
    stage.write_table("summary", summarize_arms(rollouts, kl, of_max))
    stage.write_table("contrasts", contrast_arms(rollouts))
    stage.write_table("slopes", slope_arms(rollouts))
    return rollouts


def _count_episodes(condition: Condition, protocol: Protocol) -> int:
    """Episodes of an arm, of both kinds of tasks."""
    has = {task.is_impossible for task in protocol.tasks}
    return (True in has) * condition.episodes_of(protocol.n_episodes) + (False in has) * protocol.n_solvable


def run_episodes(
    lm: LanguageModel,
    condition: Condition,
    protocol: Protocol,
    sandbox: ProgramRunner,
    stage: Stage,
    *,
    progress: Callable[[int], object] | None = None,
) -> pa.Table:
    """The episodes of one arm, from `arms/<slug>.parquet` if they were run before from the same inputs.

    Until all ended, those that did lie in `arms/<slug>.jsonl`, and are not played again after a kill.
    """
    name, inputs_hash = f"arms/{condition.slug}", hash_arm(lm, condition, protocol)
    journal = EpisodeJournal(stage, name, inputs_hash)

    def play_arm() -> pa.Table:
        rows = _play_arm(lm, condition, protocol, sandbox, journal, progress)
        return make_rollouts(rows, [features.name for features in protocol.traced])

    table = read_or_make(stage, name, inputs_hash, play_arm)
    journal.remove()
    return table


def read_or_make(stage: Stage, name: str, inputs_hash: str, make: Callable[[], pa.Table]) -> pa.Table:
    """A table that was saved with the same hash of what it depends on; made and saved if there is none."""
    if stage.has(f"{name}.parquet"):
        saved = stage.read_table(name)
        if (saved.schema.metadata or {}).get(_HASH) == inputs_hash.encode():
            return saved.replace_schema_metadata(None)
    table = make()
    stage.write_table(name, table.replace_schema_metadata({_HASH: inputs_hash.encode()}))
    return table


def _play_arm(
    lm: LanguageModel,
    condition: Condition,
    protocol: Protocol,
    sandbox: ProgramRunner,
    journal: EpisodeJournal,
    progress: Callable[[int], object] | None,
) -> list[dict[str, Any]]:
    setting = replace(
        protocol.setting(lm, sandbox),
        instruction=condition.instruction,
        hidden_words=condition.hidden_words,
        edits=edit_fns(condition.interventions),
    )
    impossible = [task for task in protocol.tasks if task.is_impossible]
    solvable = [task for task in protocol.tasks if not task.is_impossible]
    episodes = open_episodes(setting, impossible, condition.episodes_of(protocol.n_episodes))
    episodes += open_episodes(setting, solvable, protocol.n_solvable)
    play(setting, episodes, progress, journal=journal)
    traced = protocol.traced if condition.condition in protocol.traced_conditions else ()
    traces = trace_features(lm, episodes, traced, setting.edits)
    return [
        describe_episode(episode, condition, protocol.seed, protocol.emotions, trace)
        for episode, trace in zip(episodes, traces, strict=True)
    ]


def _measure_kl(
    lm: LanguageModel, conditions: Sequence[Condition], prompts: Sequence[Sequence[int]]
) -> dict[tuple[Any, ...], float]:
    """How far each arm's edits, made at every token, move what the model says of neutral text."""
    if not prompts:
        return {}
    marked = [Prompt(tuple(ids), (True,) * len(ids)) for ids in prompts]
    edits = [edit_fns(condition.interventions) for condition in conditions]
    return {
        _key_of(condition): token_kl(lm, marked, edit) if edit else 0.0
        for condition, edit in zip(conditions, edits, strict=True)
    }


def _key_of(condition: Condition) -> tuple[Any, ...]:
    """What tells its row of the summary from others."""
    return tuple(getattr(condition, name) for name in KEY)


def hash_arm(lm: LanguageModel, condition: Condition, protocol: Protocol) -> str:
    """Everything that the rows of an arm depend on, except the code."""
    facts = _fields_of(replace(condition, interventions=(), dose_of_max=0.0))
    settings = _fields_of(replace(protocol, batch_size=0)) | {
        "code_format": repr(protocol.code_format),
        "emotions": sorted(protocol.emotions),
        "traced_conditions": sorted(protocol.traced_conditions),
        "traced": [(features.name, features.dictionary.name, features.feature_idx) for features in protocol.traced],
        "tasks": [asdict(task) for task in protocol.tasks],
    }
    edits = [part for intervention in condition.interventions for part in _describe(intervention)]
    return content_hash(lm.weight_hash, facts, settings, *edits)


def _describe(intervention: Intervention) -> list[Any]:
    """An intervention as values that can be hashed; tensors as bytes."""
    dictionary = intervention.dictionary
    parts: list[Any] = [intervention.hook_name, str(intervention.where), dictionary.name if dictionary else None]
    for op in intervention.ops:
        parts.append(type(op).__name__)
        for field in fields(op):
            value = getattr(op, field.name)
            parts.append(value.detach().cpu().float().numpy().tobytes() if isinstance(value, Tensor) else value)
    return parts


def _fields_of(record: Any) -> dict[str, Any]:
    """The fields of a record by name, as they are."""
    return {field.name: getattr(record, field.name) for field in fields(record)}
