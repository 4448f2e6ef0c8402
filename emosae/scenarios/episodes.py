"""Episodes of a task: attempt, tests, feedback, again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from emosae.hooks import EditFn, Prompt
from emosae.lm import LanguageModel
from emosae.scenarios.formats import CodeFormat
from emosae.scenarios.grading import Attempt, Grade, grade_attempt, is_well_formed
from emosae.scenarios.sandbox import Job, ProgramRunner, TestResult
from emosae.scenarios.tasks import Task

MIN_ROOM = 16
Exchange = tuple[str, str]
"""What the user says, and what the assistant answers."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt, graded.

    Attributes:
        text: Everything the model wrote, as it stands in the transcript.
        attempt: What it comes down to.
        grade: Its grade.
        well_formed: Whether it could be read as an admission or as Python that defines the function.
        error: What went wrong when it was run, if anything did.
        thought_span: First and last + 1 position of the thought in the transcript's tokens.
    """

    text: str
    attempt: Attempt
    grade: Grade
    well_formed: bool
    error: str
    thought_span: tuple[int, int]


@dataclass(eq=False, slots=True)
class Episode:
    """One run at one task; `prompt` is the transcript so far."""

    task: Task
    number: int
    prompt: Prompt
    turns: list[Turn] = field(default_factory=list)
    is_over: bool = False

    def rng(self, seed: int, phase: int) -> np.random.Generator:
        """The randomness of the next turn: it depends on the seed, the task, the episode and the turn only."""
        task_key = int.from_bytes(hashlib.sha256(self.task.id.encode()).digest()[:8], "little")
        return np.random.default_rng([seed, task_key, self.number, len(self.turns), phase])


@dataclass(frozen=True, eq=False, slots=True)
class Setting:
    """What all episodes of an arm share.

    Attributes:
        earlier: What stands in the transcript before the task.
        hidden_words: See `Condition`.
        edits: What is done to the residual stream.
    """

    lm: LanguageModel
    code_format: CodeFormat
    sandbox: ProgramRunner
    max_attempts: int
    seed: int
    temperature: float = 1.0
    batch_size: int = 256
    instruction: str = ""
    earlier: tuple[Exchange, ...] = ()
    hidden_words: tuple[str, ...] = ()
    edits: Mapping[str, EditFn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote in a turn: its tokens without the one that ended it, and its text."""

    ids: tuple[int, ...]
    text: str


def open_episodes(setting: Setting, tasks: Sequence[Task], n_episodes: int) -> list[Episode]:
    """Episodes dealt to the tasks in turn, each with what stands before its task and its first message."""
    lm, words = setting.lm, setting.code_format
    earlier = [
        {"role": role, "content": content}
        for exchange in setting.earlier
        for role, content in zip(("user", "assistant"), exchange, strict=True)
    ]
    prompts = {}
    for task in tasks[:n_episodes]:
        message = {"role": "user", "content": words.first_message(task, setting.instruction)}
        prompts[task.id] = Prompt(tuple(lm.chat([*earlier, message])))
    episodes = []
    for index in range(n_episodes if tasks else 0):
        task = tasks[index % len(tasks)]
        episodes.append(Episode(task, index // len(tasks), prompts[task.id]))
    return episodes


def make_job(code_format: CodeFormat, task: Task, program: str) -> Job:
    """A task's program with what stands above it, and all its tests, the visible ones first."""
    preamble = code_format.preamble(task)
    return Job(f"{preamble}\n{program}" if preamble else program, (*task.visible_tests, *task.hidden_tests))


def close_turn(
    setting: Setting,
    episode: Episode,
    written: Reply,
    results: tuple[TestResult, ...] | None,
    suffixes: dict[str, list[int]],
) -> None:
    """Grade a turn, and either end the episode or tell the model what failed."""
    task, code_format = episode.task, setting.code_format
    answer = code_format.read(written.text)
    n_visible = len(task.visible_tests)
    passed = tuple(result.passed for result in results or ())
    attempt = Attempt(answer.program, answer.gave_up, passed[:n_visible], passed[n_visible:])
    start = len(episode.prompt)
    stop = start + _count_tokens(setting.lm, written, answer.thought)
    error = next((result.error for result in results or () if result.error), "")
    grade = grade_attempt(attempt, task, code_format.preamble(task))
    turn = Turn(written.text, attempt, grade, is_well_formed(attempt, task), error, (start, stop))
    episode.turns.append(turn)
    ended = attempt.passes_visible or answer.gave_up or len(episode.turns) == setting.max_attempts
    suffix: list[int] = []
    if not ended:
        feedback = code_format.feedback(task, results[:n_visible] if results else None)
        if feedback not in suffixes:
            suffixes[feedback] = find_suffix(setting.lm, feedback)
        suffix = suffixes[feedback]
    episode.prompt = episode.prompt.then(written.ids, suffix)
    episode.is_over = ended


def _count_tokens(lm: LanguageModel, written: Reply, thought: str) -> int:
    """How many of the written tokens reach the end of the thought."""
    wanted = written.text.find(thought) + len(thought)
    length = 0
    for count, token in enumerate(written.ids):
        if length >= wanted:
            return count
        length += len(lm.decode([token]))
    return len(written.ids)


def find_suffix(lm: LanguageModel, message: str) -> list[int]:
    """The tokens that stand between the end of an assistant's turn and the start of its next one.

    They end the turn, say the user's message, and open the next; found as what two conversations that differ in the
    assistant's words have in common at their end, so that nothing that was generated is ever tokenised again.
    """
    first, second = (
        lm.chat(
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": message},
            ]
        )
        for content in ("one", "2")
    )
    n_common = 0
    while n_common < min(len(first), len(second)) and first[-1 - n_common] == second[-1 - n_common]:
        n_common += 1
    return first[len(first) - n_common :]
