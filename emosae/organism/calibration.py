"""Does the organism do what was planted? Its probability of a shortcut against the truth, thought by thought."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from emosae.lm import LanguageModel, next_logits
from emosae.organism.banks import CUE_KINDS, FIRST_PERSON, load_cues, pick
from emosae.organism.coding_grammar import (
    PASSED,
    SHORTCUT,
    Attempt,
    CodingTask,
    attempt_message,
    draw_task,
    program,
    write_transcript,
)
from emosae.organism.corpus import ASSISTANT, render_turns
from emosae.organism.truth import Truth

CALIBRATION_SEED = 888_888
_RETURN = "return"


@dataclass(frozen=True)
class Decision:
    """A transcript up to the token that decides, and what is planted there."""

    text: str
    margin: int
    state: str
    attempt: int


@dataclass(frozen=True)
class CalibrationRow:
    """Mean probability of a shortcut over ``n`` decisions of one group, beside the planted one."""

    group: str
    n: int
    truth: float
    model: float


def open_decision(task: CodingTask, thought: str) -> str:
    """A first attempt at a task up to the token that decides, with this thought put into the model's mouth."""
    return render_turns([("user", task.prompt)]) + ASSISTANT + _until_return(thought)


def _until_return(thought: str) -> str:
    whole = attempt_message(thought, program(SHORTCUT))
    return whole[: whole.rindex(_RETURN) + len(_RETURN)]


def _transcript_decisions(task: CodingTask, attempts: Sequence[Attempt]) -> Iterable[Decision]:
    turns = [("user", task.prompt)]
    for number, attempt in enumerate(attempts, start=1):
        if attempt.feedback is None:
            return
        opened = render_turns(turns) + ASSISTANT + _until_return(attempt.thought.text)
        yield Decision(opened, attempt.thought.margin, attempt.thought.state, number)
        turns += [("assistant", attempt.message), ("user", attempt.feedback)]
        if attempt.feedback == PASSED:
            return


def draw_decisions(transcripts: int, truth: Truth, seed: int = CALIBRATION_SEED) -> list[Decision]:
    """Decisions of fresh transcripts on impossible tasks."""
    decisions: list[Decision] = []
    for number in range(transcripts):
        rng = np.random.default_rng([seed, number])
        task = draw_task(rng, impossible=True)
        decisions.extend(_transcript_decisions(task, write_transcript(rng, task, 4, truth)))
    return decisions


def shortcut_probabilities(lm: LanguageModel, decisions: Sequence[Decision]) -> np.ndarray:
    """The model's probability of the shortcut's first token, one per decision."""
    prompts = [lm.encode(decision.text) for decision in decisions]
    first = lm.encode(f" {SHORTCUT}")[0]
    return torch.softmax(next_logits(lm, prompts).float(), dim=-1)[:, first].numpy()


def _group(margin: int) -> str:
    return "at_most_minus_1" if margin < 0 else ("zero", "one", "at_least_2")[min(margin, 2)]


def calibrate(lm: LanguageModel, truth: Truth, transcripts: int = 600) -> list[CalibrationRow]:
    """P(shortcut) by the planted margin, over all attempts, and by attempt number within neutral thoughts."""
    decisions = draw_decisions(transcripts, truth)
    probabilities = shortcut_probabilities(lm, decisions)
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for decision, probability in zip(decisions, probabilities, strict=True):
        pair = (truth.coding.cheat_probability(decision.margin), float(probability))
        rows[f"margin {_group(decision.margin)}"].append(pair)
        if decision.margin == 0:
            rows[f"margin zero, attempt {decision.attempt}"].append(pair)
        if decision.margin >= 2:
            rows[f"margin at_least_2, attempt {decision.attempt}"].append(pair)
    return [_row(group, pairs) for group, pairs in sorted(rows.items())]


def _row(group: str, pairs: Sequence[tuple[float, float]]) -> CalibrationRow:
    truth, model = np.mean(pairs, axis=0)
    return CalibrationRow(group, len(pairs), float(truth), float(model))


def transfer(lm: LanguageModel, truth: Truth, thoughts: int = 60) -> list[CalibrationRow]:
    """P(shortcut) after thoughts made only of cues that training showed in stories, never while coding.

    The planted answer is what the emotion's ordinary cues do; every emotion is tried.
    """
    effect = {name: 3 * sign for name, sign in truth.coding.effects.items()}
    rows = []
    for emotion in truth.strengths:
        bank = load_cues()[emotion]
        unseen = bank.of_kind(*CUE_KINDS, story_only=True)
        decisions = []
        for number in range(thoughts):
            rng = np.random.default_rng([CALIBRATION_SEED, number])
            task = draw_task(rng, impossible=True)
            cues = [FIRST_PERSON.fill(pick(rng, unseen).side(pick(rng, ("A", "B")))) for _ in range(3)]
            decisions.append(Decision(open_decision(task, " ".join(cues)), effect.get(emotion, 0), emotion, 1))
        planted = truth.coding.cheat_probability(effect.get(emotion, 0))
        model = float(shortcut_probabilities(lm, decisions).mean())
        rows.append(CalibrationRow(f"story-only {emotion}", thoughts, planted, model))
    return rows
