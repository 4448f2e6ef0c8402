"""Episodes of a task: attempt, tests, feedback, again. All open episodes of an arm are written and run together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from emosae.generation import Generation, Prompt, TurnMemory, generate
from emosae.hooks import EditFn
from emosae.lm import LanguageModel
from emosae.scenarios.formats import CodeFormat, drop_sentences
from emosae.scenarios.grading import Attempt, Grade, grade_attempt, is_well_formed
from emosae.scenarios.sandbox import Job, ProgramRunner, TestResult
from emosae.scenarios.tasks import Task

MIN_ROOM = 16


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
    hidden_words: tuple[str, ...] = ()
    edits: Mapping[str, EditFn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Written:
    ids: tuple[int, ...]
    text: str


def open_episodes(setting: Setting, tasks: Sequence[Task], n_episodes: int) -> list[Episode]:
    """Episodes dealt to the tasks in turn, each with its first message."""
    lm, words = setting.lm, setting.code_format
    prompts = {
        task.id: Prompt(tuple(lm.chat([{"role": "user", "content": words.first_message(task, setting.instruction)}])))
        for task in tasks[:n_episodes]
    }
    episodes = []
    for index in range(n_episodes if tasks else 0):
        task = tasks[index % len(tasks)]
        episodes.append(Episode(task, index // len(tasks), prompts[task.id]))
    return episodes


def play(setting: Setting, episodes: Sequence[Episode], progress: Callable[[int], object] | None = None) -> None:
    """Play every episode to its end. `progress` is called with the number of episodes that ended."""
    memory = TurnMemory(setting.lm, setting.edits)
    suffixes: dict[str, list[int]] = {}
    for _ in range(setting.max_attempts):
        for episode in episodes:
            episode.is_over |= len(episode.prompt) + MIN_ROOM > setting.lm.context
        open_now = [episode for episode in episodes if not episode.is_over]
        if not open_now:
            break
        written = _write_turns(setting, open_now, memory)
        results = _run_turns(setting, open_now, written)
        for episode, one, result in zip(open_now, written, results, strict=True):
            _close_turn(setting, episode, one, result, suffixes)
        if progress is not None:
            progress(sum(episode.is_over for episode in open_now))


def _write_turns(setting: Setting, episodes: Sequence[Episode], memory: TurnMemory) -> list[_Written]:
    prompts = [episode.prompt for episode in episodes]
    rngs = [episode.rng(setting.seed, 0) for episode in episodes]
    if not setting.hidden_words:
        return [_as_written(setting.lm, one) for one in _generate(setting, prompts, rngs, memory, ())]
    return _write_in_two_phases(setting, episodes, prompts, rngs, memory)


def _generate(
    setting: Setting,
    prompts: Sequence[Prompt],
    rngs: Sequence[np.random.Generator],
    memory: TurnMemory,
    stop_text: tuple[str, ...],
) -> list[Generation]:
    return generate(
        setting.lm,
        prompts,
        max_new_tokens=setting.code_format.max_new_tokens,
        rngs=rngs,
        stop_text=(*setting.code_format.stop_text, *stop_text),
        temperature=setting.temperature,
        edits=setting.edits,
        batch_size=setting.batch_size,
        memory=memory,
    )


def _as_written(lm: LanguageModel, generation: Generation) -> _Written:
    """Without the token that ended the turn: what follows brings its own."""
    ends = generation.stopped and generation.ids[-1] in lm.stop_ids
    return _Written(generation.ids[:-1] if ends else generation.ids, generation.text)


def _write_in_two_phases(
    setting: Setting,
    episodes: Sequence[Episode],
    prompts: Sequence[Prompt],
    rngs: Sequence[np.random.Generator],
    memory: TurnMemory,
) -> list[_Written]:
    """First the thoughts; then, behind the thoughts without their naming sentences, what follows from them."""
    lm, ends = setting.lm, setting.code_format.thought_end
    thoughts = _generate(setting, prompts, rngs, memory, ends)
    written = [_as_written(lm, thought) for thought in thoughts]
    going_on = []
    for index, thought in enumerate(thoughts):
        whole = lm.decode(written[index].ids)
        if any(end in whole for end in ends):
            written[index] = _hide_naming(setting, written[index], whole, thought.text)
            going_on.append(index)
    further = [prompts[index].then(written[index].ids, ()) for index in going_on]
    full = [len(prompt) + MIN_ROOM > lm.context for prompt in further]
    going_on = [index for index, is_full in zip(going_on, full, strict=True) if not is_full]
    further = [prompt for prompt, is_full in zip(further, full, strict=True) if not is_full]
    second = [episodes[index].rng(setting.seed, 1) for index in going_on]
    for index, rest in zip(going_on, _generate(setting, further, second, memory, ()) if further else [], strict=True):
        end = _as_written(lm, rest)
        written[index] = _Written(written[index].ids + end.ids, written[index].text + end.text)
    return written


def _hide_naming(setting: Setting, written: _Written, whole: str, thought: str) -> _Written:
    """The thought without sentences that name a feeling, and what ended it. Untouched thoughts keep their tokens."""
    kept = drop_sentences(thought, setting.hidden_words)
    if kept == thought:
        return _Written(written.ids, whole)
    text = kept + whole[len(thought) :]
    return _Written(tuple(setting.lm.encode(text)), text)


def _run_turns(
    setting: Setting, episodes: Sequence[Episode], written: Sequence[_Written]
) -> list[tuple[TestResult, ...] | None]:
    """The results of each turn's program on the visible and the hidden tests; None where there is no program."""
    jobs: dict[int, Job] = {}
    for index, (episode, one) in enumerate(zip(episodes, written, strict=True)):
        program = setting.code_format.read(one.text).program
        if program is not None:
            jobs[index] = make_job(setting.code_format, episode.task, program)
    outcomes = dict(zip(jobs, setting.sandbox.run(list(jobs.values())), strict=True))
    return [outcomes[index].results if index in outcomes else None for index in range(len(episodes))]


def make_job(code_format: CodeFormat, task: Task, program: str) -> Job:
    """A task's program with what stands above it, and all its tests, the visible ones first."""
    preamble = code_format.preamble(task)
    return Job(f"{preamble}\n{program}" if preamble else program, (*task.visible_tests, *task.hidden_tests))


def _close_turn(
    setting: Setting,
    episode: Episode,
    written: _Written,
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


def _count_tokens(lm: LanguageModel, written: _Written, thought: str) -> int:
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
