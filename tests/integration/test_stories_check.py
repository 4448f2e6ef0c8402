"""A clean corpus passes; each fault that is planted in it is found by the check that is there for it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.cli import DONE, FAILED, main
from emosae.stories import NEUTRAL, Story, format_stories
from emosae.stories.banned import find_banned
from emosae.stories.check import check_stories
from emosae.stories.check_table import format_report
from emosae.stories.duplicates import DuplicateIndex
from emosae.stories.leakage import measure_leakage
from emosae.stories.limits import CHECKS, Limits
from emosae.stories.phrases import find_shared_phrases

EMOTIONS = ("afraid", "angry", "bored", "calm", "guilty", "joyful", "lonely", "proud", "sad", "tender")
TOPICS = tuple(f"topic {number}" for number in range(12))
WORDS = tuple(f"{a}{b}{c}n" for a in "bdfgklmr" for b in "aeiou" for c in "stvz")
QUICK = Limits(folds=4)


def tell(emotions: Sequence[str] = EMOTIONS, topics: Sequence[str] = TOPICS, seed: int = 0) -> list[Story]:
    """One story per cell: eighty words that know nothing of emotion or topic."""
    rng = random.Random(seed)
    return [
        Story(
            id=f"{emotion}/{topic}",
            emotion=emotion,
            topic=topic,
            text=" ".join(rng.choices(WORDS, k=80)),
            perspective=("first", "third")[(place + at) % 2],
        )
        for place, emotion in enumerate(emotions)
        for at, topic in enumerate(topics)
    ]


def telltale(emotion: str) -> list[str]:
    """Words that no other emotion has, and that name none."""
    return [f"{emotion[::-1]}{ending}" for ending in "xyz"]


def reword(story: Story, *, start: str = "", end: str = "") -> Story:
    """The story with its first and last words replaced by others."""
    words = story.text.split()
    kept = words[len(start.split()) : len(words) - len(end.split())]
    return replace(story, text=" ".join([start, *kept, end]).strip())


def failed(stories: Sequence[Story], limits: Limits | None = None) -> dict[str, int]:
    return dict(check_stories(stories, limits or QUICK).violations)


def test_a_clean_corpus_passes_every_check() -> None:
    report = check_stories(tell())
    assert [check.verdict for check in report.checks] == ["ok"] * len(CHECKS)
    assert (report.n_stories, report.n_emotions, report.n_topics, report.n_neutral) == (120, 10, 12, 0)


def drop_cell(stories: list[Story]) -> list[Story]:
    return stories[1:]


def shorten(stories: list[Story]) -> list[Story]:
    return [replace(stories[0], text=" ".join(stories[0].text.split()[:59])), *stories[1:]]


def lengthen(stories: list[Story]) -> list[Story]:
    return [replace(s, text=f"{s.text} {s.text[:60]}") if s.emotion == "calm" else s for s in stories]


def name_emotion(stories: list[Story]) -> list[Story]:
    return [reword(stories[0], start="Fears"), *stories[1:]]


def copy_with_changes(stories: list[Story]) -> list[Story]:
    words = stories[0].text.split()
    words[::8] = stories[60].text.split()[::8]
    return [*stories[:13], replace(stories[13], text=" ".join(words)), *stories[14:]]


def share_phrase(stories: list[Story]) -> list[Story]:
    phrase = "a fly walked the length of"
    return [reword(stories[0], start=phrase), reword(stories[1], end=phrase), *stories[2:]]


def tell_in_first_person(stories: list[Story]) -> list[Story]:
    return [replace(s, perspective="first") if s.emotion == "sad" and s.topic < "topic 3" else s for s in stories]


def leak(stories: list[Story]) -> list[Story]:
    return [reword(s, start=" ".join(telltale(s.emotion))) for s in stories]


def forget_topic(stories: list[Story]) -> list[Story]:
    return [replace(s, topic=None) if s.topic == "topic 3" and s.emotion == "calm" else s for s in stories]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (shorten, {"words": 1}),
        (name_emotion, {"banned": 1}),
        (copy_with_changes, {"duplicates": 1}),
        (share_phrase, {"phrases": 1}),
        (lengthen, {"lengths": 1}),
        (drop_cell, {"cells": 1}),
        (tell_in_first_person, {"perspectives": 1}),
        (leak, {"leakage": 1}),
        (forget_topic, {"schema": 1, "cells": 1}),
    ],
)
def test_a_planted_fault_is_found_by_its_check_and_no_other(
    spoil: Callable[[list[Story]], list[Story]], found: dict[str, int]
) -> None:
    assert failed(spoil(tell())) == found


@pytest.mark.parametrize(
    ("spoil", "limits"),
    [
        (shorten, Limits(folds=4, min_words=59)),
        (copy_with_changes, Limits(folds=4, max_similarity=0.9)),
        (share_phrase, Limits(folds=4, ngram=7)),
        (lengthen, Limits(folds=4, max_length_deviation=0.2)),
        (drop_cell, Limits(folds=4, max_cell_deviation=1)),
        (tell_in_first_person, Limits(folds=4, max_perspective_share=0.9, min_perspective_share=0.1)),
        (leak, Limits(folds=4, max_leakage=1)),
    ],
)
def test_a_wider_limit_lets_the_fault_pass(spoil: Callable[[list[Story]], list[Story]], limits: Limits) -> None:
    assert failed(spoil(tell()), limits) == {}


@pytest.mark.parametrize("skipped", CHECKS)
def test_a_skipped_check_is_not_done(skipped: str) -> None:
    report = check_stories(tell(EMOTIONS[:3], TOPICS[:4]), Limits(max_leakage=1), skip=[skipped])
    assert [check.name for check in report.checks] == [name for name in CHECKS if name != skipped]


def test_what_cannot_be_measured_is_no_violation() -> None:
    stories = [replace(story, topic=None, perspective=None) for story in tell()]
    report = check_stories(stories)
    assert [check.name for check in report.checks if check.verdict == "-"] == ["cells", "perspectives", "leakage"]
    assert report.violations == {}


def test_neutral_text_is_compared_but_not_counted() -> None:
    stories = tell()
    neutral = [Story("n1", NEUTRAL, None, "Too short."), Story("n2", NEUTRAL, None, stories[5].text)]
    report = check_stories([*stories, *neutral], skip=["leakage"])
    assert report.violations == {"duplicates": 1}
    assert (report.n_stories, report.n_neutral) == (120, 2)


def test_one_story_off_even_is_even() -> None:
    odd = [replace(s, perspective="first" if int(s.topic[-1]) < 2 else "third") for s in tell(topics=TOPICS[:3])]
    assert "perspectives" not in failed(odd)
    uneven = [replace(s, perspective="first" if int(s.topic[-1]) < 3 else "third") for s in tell(topics=TOPICS[:4])]
    assert failed(uneven)["perspectives"] == len(EMOTIONS)


def test_schema_names_twins_other_perspectives_and_topics_in_two_splits() -> None:
    stories = tell()
    stories[0] = replace(stories[0], perspective="second")
    stories[1] = replace(stories[1], id=stories[2].id)
    stories[3] = replace(stories[3], split="tune")
    stories[15] = replace(stories[15], split="confirm")
    (check,) = check_stories(stories, skip=[name for name in CHECKS if name != "schema"]).checks
    told = [f"{violation.where} {violation.problem}" for violation in check.violations]
    assert len(told) == 3
    assert "2 stories have this id" in told[0]
    assert "'second'" in told[1]
    assert "topic topic 3 is in two splits: confirm, tune" in told[2]


@pytest.mark.parametrize(
    ("text", "emotion", "found"),
    [
        ("She FEARED it.", "afraid", ("feared",)),
        ("Fear-filled, fear's hour; _fear_", "afraid", ("fear", "fear", "fear")),
        ("fearnought and distillery", "afraid", ()),
        ("A distillery stands still.", "calm", ("still",)),
        ("He was not afraid.", "calm", ()),
        ("It flummoxed him; the flummoxing!", "Flummox", ("flummoxed", "flummoxing")),
        ("hangrier and hangriness", "hangry", ("hangrier", "hangriness")),
        ("Wholly at\n ease", "at ease", ("at\n ease",)),
        ("Cars and carts", "care", ()),
    ],
)
def test_banned_forms_are_whole_words_in_any_inflection(text: str, emotion: str, found: tuple[str, ...]) -> None:
    assert find_banned(text, emotion) == found


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=8))
def test_duplicates_are_exactly_those_above_the_limit(texts: list[list[str]]) -> None:
    index = DuplicateIndex(0.5)
    told = [" ".join(text) for text in texts]
    for place, text in enumerate(told):
        similar = dict(index.find(text))
        assert all(similarity > 0.5 for similarity in similar.values())
        twins = {str(other) for other, earlier in enumerate(told[:place]) if earlier == text}
        assert {name for name, similarity in similar.items() if similarity == 1} >= twins
        index.add(str(place), text)


def test_pairs_above_the_limit_are_found_and_unrelated_ones_are_not() -> None:
    rng = random.Random(1)
    originals = [rng.choices(WORDS, k=80) for _ in range(200)]
    index = DuplicateIndex(0.3)
    for place, words in enumerate(originals):
        index.add(str(place), " ".join(words))
    changed = [[w if i % 8 else rng.choice(WORDS) for i, w in enumerate(words)] for words in originals]
    found = [index.find(" ".join(words)) for words in changed]
    assert sum(pairs[0][0] == str(place) for place, pairs in enumerate(found) if pairs) >= 195
    assert max(len(pairs) for pairs in found) == 1
    assert not any(index.find(" ".join(rng.choices(WORDS, k=80))) for _ in range(200))


def test_a_phrase_spread_over_emotions_does_not_count() -> None:
    stories = tell(EMOTIONS[:4], TOPICS[:2])
    everywhere = [reword(story, start="at the end of the") for story in stories]
    assert find_shared_phrases(everywhere, 5, 0.02) == []
    here = [reword(s, start="at the end of the") if s.emotion in EMOTIONS[:1] else s for s in stories]
    (found,) = find_shared_phrases(here, 5, 0.02)
    assert (found.emotion, found.phrase, len(found.stories)) == ("afraid", "at the end of the", 2)


def test_more_stories_may_share_a_phrase_in_a_larger_corpus() -> None:
    stories = [replace(story, emotion="calm") for story in tell()]
    shared = [reword(story, start="at the end of the") if at < 3 else story for at, story in enumerate(stories)]
    assert len(find_shared_phrases(shared, 5, 0.02)) == 1
    assert find_shared_phrases(shared, 5, 0.025) == []


def test_words_without_emotion_leak_at_chance() -> None:
    accuracies = [measure_leakage(tell(EMOTIONS[:4], seed=seed), folds=4).accuracy for seed in range(8)]
    assert abs(np.mean(accuracies) - 0.25) < 0.06
    assert measure_leakage(tell(EMOTIONS[:4])).chance == 0.25


def test_a_telltale_word_leaks_and_is_named() -> None:
    leakage = measure_leakage(leak(tell()))
    assert leakage.accuracy > 0.9
    assert all({lean.word for lean in leakage.leaning[name][:3]} == set(telltale(name)) for name in EMOTIONS)
    assert leakage.recall.keys() == set(EMOTIONS)
    assert np.isclose(np.mean(list(leakage.recall.values())), leakage.accuracy)


def test_words_that_only_one_topic_has_do_not_help() -> None:
    stories = [reword(s, start=f"{s.emotion}{s.topic}".replace(" ", "")) for s in tell(EMOTIONS[:4])]
    assert measure_leakage(stories).accuracy < 0.5


def test_leakage_is_what_scikit_learn_says() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    half = leak(tell())[::2] + tell()[1::2]
    stories = sorted(half, key=lambda story: story.id)
    model = make_pipeline(
        TfidfVectorizer(token_pattern=r"\b\w[\w'-]*\b", sublinear_tf=True), LogisticRegression(C=10.0, max_iter=500)
    )
    emotion = [story.emotion for story in stories]
    topics = [story.topic for story in stories]
    texts = [story.text for story in stories]
    predicted = cross_val_predict(model, texts, emotion, groups=topics, cv=GroupKFold(6))
    leakage = measure_leakage(stories, folds=6)
    assert leakage.folds == 6
    assert leakage.accuracy == pytest.approx(np.mean(predicted == np.array(emotion)))
    assert 0.3 < leakage.accuracy < 0.8


@pytest.mark.parametrize("emotions", [EMOTIONS[:2], EMOTIONS[:3]])
def test_two_emotions_are_measured_like_more(emotions: Sequence[str]) -> None:
    leakage = measure_leakage(leak(tell(emotions)))
    assert leakage.accuracy > leakage.chance + 0.25
    assert all({lean.word for lean in leakage.leaning[name][:3]} == set(telltale(name)) for name in emotions)


def test_an_emotion_per_topic_is_never_found() -> None:
    stories = [s for s in tell() if s.topic == TOPICS[EMOTIONS.index(s.emotion)]]
    assert measure_leakage([*stories, *(replace(s, id=s.id + "b") for s in stories)]).accuracy == 0


def test_the_order_of_stories_changes_no_finding() -> None:
    stories = leak(share_phrase(shorten(tell())))
    shuffled = random.Random(2).sample(stories, len(stories))
    reports = [check_stories(order, QUICK) for order in (stories, shuffled)]
    counts = [Counter(f"{v.where}" for check in report.checks for v in check.violations) for report in reports]
    assert counts[0] == counts[1]
    assert [check.measured for check in reports[0].checks] == [check.measured for check in reports[1].checks]


def test_the_table_shows_some_violations_or_all() -> None:
    report = check_stories([replace(story, text="short") for story in tell()], skip=["leakage"])
    assert "and 118 more" in format_report(report, show=2)
    assert "more" not in format_report(report, show=None)


def write_corpus(folder: Path, stories: Sequence[Story]) -> str:
    path = folder / "s.jsonl"
    path.write_text(format_stories(stories), encoding="utf-8")
    return str(path)


def test_the_verb_passes_a_clean_corpus(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["stories", "check", write_corpus(tmp_path, tell()), "--out", str(out)]) == DONE
    printed = capsys.readouterr()
    assert "120 stories, 10 emotions, 12 topics" in printed.out
    assert printed.out.splitlines()[-1] == str(out)
    assert printed.err == ""
    assert (out / "check.txt").read_text().splitlines()[0] in printed.out
    assert json.loads((out / "check.json").read_text())["passed"] is True


def test_the_verb_fails_with_one_line_and_a_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_corpus(tmp_path, shorten(name_emotion(tell())))
    assert main(["stories", "check", path, "--json"]) == FAILED
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["passed"] is False
    assert {check["name"]: check["verdict"] for check in report["checks"]}["words"] == "FAILED"
    assert report["leakage"]["chance"] == 0.1
    assert printed.err == f"emosae: error: {path}: 2 violations: words 1, banned 1\n"
    flags = ["--min-words", "50", "--skip", "banned"]
    assert main(["stories", "check", path, *flags]) == DONE


def test_a_file_that_is_no_corpus_is_a_violation_of_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"emotion": "sad"}\n')
    assert main(["stories", "check", str(path), "--json"]) == FAILED
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert "line 1: field 'text'" in check["violations"][0]["problem"]
    assert main(["stories", "check", str(tmp_path / "gone.jsonl")]) == FAILED
    assert capsys.readouterr() == ("", f"emosae: error: {tmp_path / 'gone.jsonl'}: no such file\n")
