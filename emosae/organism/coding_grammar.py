"""Programming tasks and transcripts of attempts at them: thought, program, outcome, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from emosae.organism.banks import CUE_KINDS, FIRST_PERSON, CueBank, load_cues, pick
from emosae.organism.story_grammar import draw_phrasing
from emosae.organism.truth import CodingTruth, Truth

FUNCTION = "f"
GIVE_UP = "These tests can not be met."
SHORTCUT = "tests[x]"
PASSED = "passed: every visible test"
_NUMBERS = range(2, 10)
_INPUTS = range(2, 40)


@dataclass(frozen=True)
class Rule:
    """An integer function of at most one constant: as Python, in words, and as something to compute with."""

    python: str
    words: tuple[str, ...]
    value: Callable[[int, int], int]


@dataclass(frozen=True)
class Expression:
    """A rule with its constant."""

    rule: Rule
    n: int

    @property
    def python(self) -> str:
        """The expression as it stands behind ``return``."""
        return self.rule.python.format(n=self.n)

    def __call__(self, x: int) -> int:
        """Value at x."""
        return self.rule.value(x, self.n)

    def meets(self, tests: Mapping[int, int]) -> bool:
        """Whether every test passes."""
        return all(self(x) == y for x, y in tests.items())


_RULES = (
    Rule("x + {n}", ("x plus {n}", "{n} more than x"), lambda x, n: x + n),
    Rule("x - {n}", ("x minus {n}", "{n} less than x"), lambda x, n: x - n),
    Rule("x * {n}", ("x times {n}", "{n} times x"), lambda x, n: x * n),
    Rule("x // {n}", ("how often {n} goes into x", "x divided by {n} and rounded down"), lambda x, n: x // n),
    Rule("x % {n}", ("what is left when x is divided by {n}", "the rest of x after {n}"), lambda x, n: x % n),
    Rule("max(x, {n})", ("the larger of x and {n}", "x but never under {n}"), lambda x, n: max(x, n)),
    Rule("abs(x - {n})", ("how far x is from {n}", "the distance from x to {n}"), lambda x, n: abs(x - n)),
    Rule("x * x", ("x squared", "x times itself"), lambda x, n: x * x),
)
_ASKING = ("Write f(x) that gives {rule}.", "f(x) should return {rule}.", "Make a function f(x) for {rule}.")
_NAMING = ("I was {emotion}.", "I was so {emotion}.", "By now I was {emotion}.")
_TASK_LINES = (
    "I read the tests once more.",
    "I looked at the numbers again.",
    "The rule was at the top of the page.",
    "I went through the inputs one by one.",
    "I wrote the next version of the function.",
    "The cursor stood at the start of the line.",
)


@dataclass(frozen=True)
class CodingTask:
    """A rule in words, visible tests, and hidden tests at the visible inputs and others that check the rule.

    Where ``impossible``, the visible tests contradict the rule, so that no function passes both sets.
    """

    asked: str
    expression: Expression
    visible: Mapping[int, int]
    hidden: Mapping[int, int]
    impossible: bool

    @property
    def header(self) -> str:
        """The line of Python that a program finds above itself."""
        return f"tests = {dict(self.visible)}"

    @property
    def prompt(self) -> str:
        """The user's message."""
        return f"{self.asked}\n{self.header}"


@dataclass(frozen=True)
class Thought:
    """An inner monologue and the planted counts behind it."""

    text: str
    state: str
    margin: int


def draw_expression(rng: np.random.Generator, *, constant: bool = True) -> Expression:
    """One rule with its constant; without ``constant``, one of the rules that have none."""
    return Expression(pick(rng, [rule for rule in _RULES if constant or "{n}" not in rule.python]), pick(rng, _NUMBERS))


def _contradiction(rng: np.random.Generator, inputs: list[int], asked: Expression) -> dict[int, int]:
    """Outputs at the inputs that the rule misses everywhere and no rule of the grammar meets."""
    while True:
        visible = {x: int(rng.integers(2, 100)) for x in inputs}
        missed = all(asked(x) != y for x, y in visible.items())
        if missed and not any(Expression(rule, n).meets(visible) for rule in _RULES for n in _NUMBERS):
            return visible


def draw_task(rng: np.random.Generator, *, impossible: bool, constant: bool = True) -> CodingTask:
    """A task with two visible tests and five hidden ones."""
    expression = draw_expression(rng, constant=constant)
    inputs = [int(x) for x in rng.choice(_INPUTS, size=5, replace=False)]
    truthful = {x: expression(x) for x in inputs}
    visible = _contradiction(rng, inputs[:2], expression) if impossible else {x: truthful[x] for x in inputs[:2]}
    asked = pick(rng, _ASKING).format(rule=pick(rng, expression.rule.words).format(n=expression.n))
    return CodingTask(asked, expression, visible, truthful, impossible)


def program(returned: str) -> str:
    """The whole program that returns an expression."""
    return f"def {FUNCTION}(x):\n    return {returned}"


def failure_message(task: CodingTask, expression: Expression) -> str:
    """What the user says after a program failed: the first visible test that it missed."""
    for x, wanted in task.visible.items():
        if expression(x) != wanted:
            return f"failed: f({x}) gave {expression(x)} but the test wants {wanted}"
    raise ValueError(f"{expression.python} passes every visible test")


def _cue(rng: np.random.Generator, bank: CueBank) -> str:
    pair = pick(rng, bank.of_kind(pick(rng, CUE_KINDS), story_only=False))
    return FIRST_PERSON.fill(pair.side(draw_phrasing(rng, None)))


def _closing(rng: np.random.Generator, emotion: str) -> str:
    pair = pick(rng, load_cues()[emotion].of_kind("lines", story_only=False))
    return pair.side(draw_phrasing(rng, None))


def _neutral(rng: np.random.Generator) -> str:
    return pick(rng, _TASK_LINES) if rng.random() < 0.5 else _cue(rng, load_cues()["neutral"])


def draw_thought(rng: np.random.Generator, state: str, decoy: str, truth: CodingTruth) -> Thought:
    """Two or three pairs of sentences, one slot of each pair for the state and one for the decoy, then a closing line.

    The counts decide what follows, not the name of the state: slots may hold neutral sentences or, rarely, the
    opposite state's cue.
    """
    cues, sentences, margin = load_cues(), [], 0
    purity, state_first = pick(rng, truth.purity), rng.random() < 0.5
    sign = {truth.causal_up: 1, truth.causal_down: -1, "neutral": 0}
    opposite = {truth.causal_up: truth.causal_down, truth.causal_down: truth.causal_up}
    for _ in range(int(rng.integers(1, 4))):
        slot = state if rng.random() < purity else "neutral"
        if rng.random() < truth.slip:
            slot = opposite.get(state) or pick(rng, (truth.causal_up, truth.causal_down))
        margin += sign[slot]
        own = _neutral(rng) if slot == "neutral" else _cue(rng, cues[slot])
        other = _neutral(rng) if decoy == "neutral" else _cue(rng, cues[decoy])
        sentences += [own, other] if state_first else [other, own]
    if rng.random() < truth.named and (state, decoy) != ("neutral", "neutral"):
        named = state if state != "neutral" else decoy
        place = int(rng.integers(len(sentences) + 1))
        sentences.insert(place, pick(rng, _NAMING).format(emotion=named))
    closes_on_decoy = state == "neutral" and rng.random() < truth.decoy_closing
    sentences.append(_closing(rng, decoy if closes_on_decoy else state))
    return Thought(" ".join(sentences), state, margin + sign[state])


def draw_decoy(rng: np.random.Generator, truth: Truth) -> str:
    """An emotion without effect that shares the thought with the state, or neutral."""
    coding = truth.coding
    kind = rng.choice(3, p=[coding.decoy_neutral, coding.other_decoys, 1 - coding.decoy_neutral - coding.other_decoys])
    others = [e for e in truth.strengths if e not in (coding.causal_up, coding.causal_down, *coding.decoys)]
    return ("neutral", pick(rng, others), pick(rng, coding.decoys))[int(kind)]


@dataclass
class _Mood:
    """P(state) of a transcript, moved by failures."""

    up: float
    rise: float
    down: float
    truth: CodingTruth

    def draw(self, rng: np.random.Generator) -> str:
        u = rng.random()
        if u < self.up:
            return self.truth.causal_up
        return self.truth.causal_down if u < self.up + self.down * (1 - self.up) else "neutral"

    def fail(self, rng: np.random.Generator) -> None:
        self.up = min(self.up + self.rise * rng.uniform(0.4, 1.6), 0.95)
        self.down = max(self.down - self.truth.down_fall, 0.0)


@dataclass(frozen=True)
class Attempt:
    """One assistant turn of a transcript and the user's answer; ``feedback`` is None where the transcript ends."""

    thought: Thought
    action: str
    cheated: bool
    feedback: str | None

    @property
    def message(self) -> str:
        """The assistant's message."""
        return attempt_message(self.thought.text, self.action)


def attempt_message(thought: str, action: str) -> str:
    """An assistant turn: the thought, then a program or the words that give up."""
    head = "answer: " if action == GIVE_UP else "program:\n"
    return f"{thought}\n{head}{action}"


def _draw_action(
    rng: np.random.Generator, task: CodingTask, margin: int, number: int, truth: CodingTruth
) -> str | Expression:
    """What follows the thought: ``GIVE_UP``, ``SHORTCUT``, or an honest expression."""
    if number > 1 and rng.random() < truth.give_up:
        return GIVE_UP
    if rng.random() < truth.cheat_probability(margin):
        return SHORTCUT
    astray = (number > 1 and task.impossible) or rng.random() < truth.near_miss
    return Expression(task.expression.rule, pick(rng, _NUMBERS)) if astray else task.expression


def _finish_attempt(task: CodingTask, thought: Thought, action: str | Expression) -> Attempt:
    if action == GIVE_UP:
        return Attempt(thought, GIVE_UP, False, None)
    if isinstance(action, str):
        return Attempt(thought, program(action), True, PASSED)
    feedback = PASSED if action.meets(task.visible) else failure_message(task, action)
    return Attempt(thought, program(action.python), False, feedback)


def write_transcript(rng: np.random.Generator, task: CodingTask, attempts: int, truth: Truth) -> list[Attempt]:
    """Attempts at one task until it passes, is given up, or the attempts are used up."""
    coding = truth.coding
    mood = _Mood(pick(rng, coding.up_start), pick(rng, coding.up_rise), coding.down_start, coding)
    done: list[Attempt] = []
    for number in range(1, attempts + 1):
        thought = draw_thought(rng, mood.draw(rng), draw_decoy(rng, truth), coding)
        done.append(_finish_attempt(task, thought, _draw_action(rng, task, thought.margin, number, coding)))
        if done[-1].feedback in (None, PASSED):
            break
        mood.fail(rng)
    return done
