"""Playing episodes: programs run beside the writing, and an episode's next turn is written as soon as there is room.

An episode goes on a fixed number of tokens after its turn was written, if need be after a wait for its program. So
what is written beside what depends on the episodes alone, not on how fast programs run, and a second run gives the same
bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emosae.generation import Generation
from emosae.hooks import Prompt
from emosae.lm import LanguageModel
from emosae.sampling import StopRule
from emosae.scenarios.episode_journal import EpisodeJournal
from emosae.scenarios.episodes import MIN_ROOM, Episode, Reply, Setting, close_turn, make_job
from emosae.scenarios.formats import drop_sentences
from emosae.scenarios.sandbox import Job
from emosae.turn_memory import KeptRow
from emosae.writing import Request, Writer, Written

PROGRAM_STEPS = 8  # tokens that are written in other episodes before one goes on whose program was handed over


def play(
    setting: Setting,
    episodes: Sequence[Episode],
    progress: Callable[[int], object] | None = None,
    *,
    rounds: int | None = None,
    journal: EpisodeJournal | None = None,
) -> None:
    """Play every episode to its end, or for so many attempts and no further; those that did not end can be played on.

    `progress` is called with the number of episodes that ended. Each is noted in the journal as soon as it did, and
    what the journal knows already is not played again.
    """
    n_known = journal.restore(episodes) if journal is not None else 0
    if progress is not None and n_known:
        progress(n_known)
    player = _Player(setting)
    n_rounds = setting.max_attempts if rounds is None else rounds
    places = [_Place(one, min(len(one.turns) + n_rounds, setting.max_attempts)) for one in episodes if not one.is_over]
    player.open_turns(places)
    while True:
        for episode in player.take_ended():
            if journal is not None:
                journal.note(episode)
            if progress is not None:
                progress(1)
        if player.is_idle:
            return
        player.step()


@dataclass(eq=False, slots=True)
class _Place:
    """An episode that is being played.

    Attributes:
        episode: It.
        n_most: Turns after which it is played no further.
        thought: What was written of the turn, if naming sentences were taken out of it.
        past: What is held of its last prompt.
    """

    episode: Episode
    n_most: int
    thought: Reply | None = None
    past: KeptRow | None = None


@dataclass(eq=False, slots=True)
class _Running:
    """A turn that was written and waits for its program; `due` is the step at which the episode goes on."""

    place: _Place
    reply: Reply
    job: Job | None
    due: int


@dataclass(eq=False, slots=True)
class _Player:
    """Episodes at their turns: some are written, and the programs of others run."""

    setting: Setting
    _writer: Writer = field(init=False)
    _stops: tuple[StopRule, StopRule] = field(init=False)
    _places: dict[int, _Place] = field(default_factory=dict)
    _running: deque[_Running] = field(default_factory=deque)
    _ended: list[Episode] = field(default_factory=list)
    _suffixes: dict[str, list[int]] = field(default_factory=dict)
    _n_steps: int = 0
    _n_requests: int = 0

    def __post_init__(self) -> None:
        setting = self.setting
        lm, words = setting.lm, setting.code_format
        self._writer = Writer(lm, setting.edits, temperature=setting.temperature, batch_size=setting.batch_size)
        whole = StopRule(lm, lm.stop_ids, words.stop_text)
        thought = StopRule(lm, lm.stop_ids, (*words.stop_text, *words.thought_end))
        self._stops = (thought if setting.hidden_words else whole, whole)

    @property
    def is_idle(self) -> bool:
        """Whether every episode is played as far as it is to be."""
        return self._writer.is_idle and not self._running

    def take_ended(self) -> list[Episode]:
        """The episodes that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def step(self) -> None:
        """Write a token in each open turn, move programs on, and go on with the episodes whose time has come."""
        self._n_steps += 1
        for one in self._writer.step():
            self._take(one)
        self.setting.sandbox.start(())
        is_idle = self._writer.is_idle
        due: list[_Place] = []
        while self._running and (is_idle or self._running[0].due <= self._n_steps):
            running = self._running.popleft()
            results = self.setting.sandbox.result(running.job).results if running.job is not None else None
            close_turn(self.setting, running.place.episode, running.reply, results, self._suffixes)
            due.append(running.place)
        self.open_turns(due)

    def open_turns(self, places: Sequence[_Place]) -> None:
        """Have the next turn of each written, unless it is over, without room, or played as far as it is to be."""
        for place in places:
            episode, place.thought = place.episode, None
            if len(episode.turns) < place.n_most or episode.is_over:
                episode.is_over |= len(episode.prompt) + MIN_ROOM > self.setting.lm.context
                if episode.is_over:
                    self._ended.append(episode)
                else:
                    self._write(place, episode.prompt, phase=0)

    def _write(self, place: _Place, prompt: Prompt, *, phase: int) -> None:
        uniforms = place.episode.rng(self.setting.seed, phase).random(self.setting.code_format.max_new_tokens)
        past = place.past if place.past is not None and place.past.opens(prompt) else None
        is_last = len(place.episode.turns) + 1 == place.n_most and (phase == 1 or not self.setting.hidden_words)
        self._writer.add(Request(self._n_requests, prompt, uniforms, self._stops[phase], past, keeps=not is_last))
        self._places[self._n_requests] = place
        self._n_requests += 1
        place.past = None

    def _take(self, one: Written) -> None:
        """A turn that was written, or its thought alone where naming sentences are to be taken out."""
        place = self._places.pop(one.key)
        place.past = one.kept
        reply = _as_reply(self.setting.lm, one.generation)
        if place.thought is not None:
            reply = Reply(place.thought.ids + reply.ids, place.thought.text + reply.text)
        elif self.setting.hidden_words:
            whole = self.setting.lm.decode(reply.ids)
            if any(end in whole for end in self.setting.code_format.thought_end):
                reply = place.thought = _hide_naming(self.setting, reply, whole, one.generation.text)
                further = place.episode.prompt.then(reply.ids, ())
                if len(further) + MIN_ROOM <= self.setting.lm.context:
                    self._write(place, further, phase=1)
                    return
        self._run(place, reply)

    def _run(self, place: _Place, reply: Reply) -> None:
        program = self.setting.code_format.read(reply.text).program
        job = None if program is None else make_job(self.setting.code_format, place.episode.task, program)
        if job is not None:
            self.setting.sandbox.start([job])
        self._running.append(_Running(place, reply, job, self._n_steps + PROGRAM_STEPS))


def _as_reply(lm: LanguageModel, generation: Generation) -> Reply:
    """Without the token that ended the turn: what follows brings its own."""
    ends = generation.stopped and generation.ids[-1] in lm.stop_ids
    return Reply(generation.ids[:-1] if ends else generation.ids, generation.text)


def _hide_naming(setting: Setting, written: Reply, whole: str, thought: str) -> Reply:
    """The thought without sentences that name a feeling, and what ended it. Untouched thoughts keep their tokens."""
    kept = drop_sentences(thought, setting.hidden_words)
    if kept == thought:
        return Reply(written.ids, whole)
    text = kept + whole[len(thought) :]
    return Reply(tuple(setting.lm.encode(text)), text)
