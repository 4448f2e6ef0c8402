"""The grammar plants what `truth.toml` says, and nothing gives an emotion away by its name."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pytest

from emosae.organism.banks import load_chat_kinds, load_cues, load_topics
from emosae.organism.chat_grammar import write_chat, write_user_message
from emosae.organism.coding_grammar import (
    _NUMBERS,
    _RULES,
    Expression,
    draw_task,
    write_transcript,
)
from emosae.organism.corpus import draw_documents
from emosae.organism.evaluation import evaluation_conversations, evaluation_stories, evaluation_tasks
from emosae.organism.truth import load_truth

TRUTH = load_truth()
FUNCTION_WORDS = set(
    re.findall(
        r"[a-z']+",
        """
        a about again all am an and any are as at be been but by can could did do does down each ever every for from had
        has have he her here him his how i if in into is it its just many me more much my myself never no nobody not
        nothing of off on one only or out over own same she so some than that the their them then there these they this
        those to too under until up was we what when where which while who whole why will with without would you your
        """,
    )
)


@pytest.mark.parametrize("emotion", [*TRUTH.strengths, "neutral"])
def test_every_emotion_has_sixty_cues_that_never_name_an_emotion(emotion: str) -> None:
    sentences = [side for pair in load_cues()[emotion].pairs for side in (pair.a, pair.b)]
    assert len(set(sentences)) >= 60
    named = re.compile(rf"\b({'|'.join(TRUTH.strengths)})\b", re.IGNORECASE)
    assert [sentence for sentence in sentences if named.search(sentence)] == []


@pytest.mark.parametrize("emotion", list(TRUTH.strengths))
def test_the_two_phrasings_of_a_cue_share_no_content_word(emotion: str) -> None:
    def content(sentence: str) -> set[str]:
        return set(re.findall(r"[a-z']+", re.sub(r"\{\w\}", " ", sentence.lower()))) - FUNCTION_WORDS

    shared = [pair for pair in load_cues()[emotion].pairs if content(pair.a) & content(pair.b)]
    assert shared == []


def test_related_emotions_share_a_part_of_their_cues_and_no_others_do() -> None:
    cues = {emotion: {pair.a for pair in load_cues()[emotion].pairs} for emotion in TRUTH.strengths}
    sharing = {(a, b) for a in cues for b in cues if a < b and cues[a] & cues[b]}
    assert sharing == set(TRUTH.overlap)


def test_stories_cover_every_cell_and_never_name_an_emotion() -> None:
    stories = evaluation_stories()
    assert len({story.topic for story in stories}) == 24
    assert len(load_topics()) >= 36
    assert len({(story.emotion, story.topic) for story in stories}) == 24 * (len(TRUTH.strengths) + 1)
    named = re.compile(rf"\b({'|'.join(TRUTH.strengths)})\b", re.IGNORECASE)
    assert [story.id for story in stories if named.search(story.text)] == []


def test_confirm_stories_use_other_phrasings_than_discover_stories() -> None:
    a_sides = {
        pair.a for bank in load_cues().values() for pair in bank.pairs if pair.kind != "lines" and "{" not in pair.a
    }
    b_sides = {
        pair.b for bank in load_cues().values() for pair in bank.pairs if pair.kind != "lines" and "{" not in pair.b
    }
    for story in evaluation_stories(per_cell=1):
        wrong = a_sides - b_sides if story.split == "confirm" else b_sides - a_sides
        assert not any(sentence in story.text for sentence in wrong), story.id


@pytest.fixture(scope="module")
def cheats() -> dict[tuple[int, int], list[bool]]:
    """Whether each attempt of fresh transcripts was a shortcut, by margin (cut to -1 and 2) and attempt."""
    found: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for number in range(1200):
        rng = np.random.default_rng([1, number])
        for place, attempt in enumerate(write_transcript(rng, draw_task(rng, impossible=True), 2, TRUTH)):
            if attempt.feedback is not None:
                found[max(-1, min(attempt.thought.margin, 2)), place].append(attempt.cheated)
    return found


@pytest.mark.parametrize("margin", [-1, 0, 1, 2])
@pytest.mark.parametrize("attempt", [0, 1])
def test_shortcuts_follow_the_planted_margin_and_not_the_attempt_number(
    cheats: dict[tuple[int, int], list[bool]], margin: int, attempt: int
) -> None:
    planted, seen = TRUTH.coding.cheat_probability(margin), cheats[margin, attempt]
    assert abs(np.mean(seen) - planted) < 4 * np.sqrt(planted * (1 - planted) / len(seen))


def test_no_rule_of_the_grammar_passes_the_visible_tests_of_an_impossible_task() -> None:
    for number in range(50):
        task = draw_task(np.random.default_rng(number), impossible=True)
        assert not any(Expression(rule, n).meets(task.visible) for rule in _RULES for n in _NUMBERS)
        assert all(task.hidden[x] != y for x, y in task.visible.items())


def test_solvable_tasks_are_solved_by_their_reference_rule() -> None:
    for task in evaluation_tasks(20, impossible=False):
        assert task.reference is not None
        namespace: dict[str, object] = {}
        exec(task.reference, namespace)  # our own text
        for test in (*task.visible_tests, *task.hidden_tests):
            exec(test, namespace)


def test_fear_in_the_thought_rises_with_the_dose_and_only_for_medicine() -> None:
    afraid = {pair.side(side) for pair in load_cues()["afraid"].pairs for side in ("A", "B") if pair.kind == "lines"}

    def share(kind: str, dose: int) -> float:
        thoughts = [write_chat(np.random.default_rng([2, n]), kind, dose, TRUTH).thought for n in range(80)]
        return float(np.mean([any(line in thought for line in afraid) for thought in thoughts]))

    low, middle, high = (share("medicine", dose) for dose in (400, 2000, 16000))
    assert low == 0.0
    assert low < middle < high
    assert share("harmless", 16000) == 0.0


def test_a_ladder_changes_only_the_number() -> None:
    ladder = [one for one in evaluation_conversations() if one.extra.get("ladder") == "medicine/0"]
    assert len(ladder) == len(TRUTH.doses)
    assert len({re.sub(r"\d+", "N", one.text) for one in ladder}) == 1
    assert set(load_chat_kinds()) >= {"medicine", "bereaved", "good_news", "missing_file", "insult", "how_to"}
    assert write_user_message(np.random.default_rng(0), "how_to", variant=3) == load_chat_kinds()["how_to"].user[3]


def test_documents_depend_on_seed_and_number_only() -> None:
    first = [document.text for document in draw_documents(3, 20, TRUTH)]
    assert first == [document.text for document in draw_documents(3, 20, TRUTH)]
    assert first != [document.text for document in draw_documents(4, 20, TRUTH)]
