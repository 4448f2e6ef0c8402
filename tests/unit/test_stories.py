"""What is read is what was written, and whatever is wrong is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from emosae.errors import UserError
from emosae.stories import Message, format_stories, load_conversations, load_stories

GOOD = [
    {"emotion": emotion, "topic": topic, "text": f"Text {copy} about {topic}."}
    for emotion in ("calm", "sad")
    for topic in ("A late bus", "rain")
    for copy in range(2)
]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_stories_come_back_in_file_order_with_made_ids(tmp_path: Path) -> None:
    stories = load_stories(write_lines(tmp_path / "s.jsonl", GOOD))
    assert [story.text for story in stories] == [row["text"] for row in GOOD]
    assert [story.id for story in stories[:3]] == ["calm/a-late-bus/0", "calm/a-late-bus/1", "calm/rain/0"]


def test_extra_keys_blank_lines_and_given_ids_are_taken(tmp_path: Path) -> None:
    rows = ["", {**GOOD[0], "id": 7, "story_index": 3}, {**GOOD[1], "id": "x"}, *GOOD[4:6]]
    stories = load_stories(write_lines(tmp_path / "s.jsonl", rows))
    assert [story.id for story in stories] == ["7", "x", "sad/a-late-bus/0", "sad/a-late-bus/1"]


def test_missing_topic_is_none(tmp_path: Path) -> None:
    rows = [{"emotion": emotion, "text": f"{emotion} {copy}"} for emotion in "ab" for copy in range(2)]
    assert {story.topic for story in load_stories(write_lines(tmp_path / "s.jsonl", rows))} == {None}


def test_neutral_text_follows_and_needs_no_emotion(tmp_path: Path) -> None:
    neutral = write_lines(tmp_path / "n.jsonl", [{"text": "The bus stops here."}])
    stories = load_stories(write_lines(tmp_path / "s.jsonl", GOOD), neutral)
    assert [story.is_neutral for story in stories] == [False] * len(GOOD) + [True]


def test_what_is_formatted_reads_back_the_same(tmp_path: Path) -> None:
    rows = [{**row, "split": "tune", "writer": "w"} for row in GOOD]
    stories = load_stories(write_lines(tmp_path / "s.jsonl", rows))
    (tmp_path / "again.jsonl").write_text(format_stories(stories), encoding="utf-8")
    assert load_stories(tmp_path / "again.jsonl") == stories


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([], "s.jsonl: is empty"),
        (["", "  "], "s.jsonl: is empty"),
        ([*GOOD, "{oops"], "line 9: is not JSON"),
        ([*GOOD, "[1]"], "line 9: is a JSON list"),
        ([*GOOD, {"emotion": "sad"}], "line 9: field 'text'"),
        ([*GOOD, {"emotion": "sad", "text": " "}], "line 9: field 'text'"),
        ([*GOOD, {"text": "x"}], "line 9: field 'emotion'"),
        ([*GOOD, {"emotion": 3, "text": "x"}], "line 9: field 'emotion' is int"),
        ([*GOOD, {"emotion": "sad", "text": "x", "topic": []}], "line 9: field 'topic' is list"),
        ([*GOOD, {"emotion": "sad", "text": "x", "id": True}], "line 9: field 'id' is bool"),
        ([*GOOD, {"emotion": "sad", "text": "x", "split": "test"}], "line 9: field 'split' is 'test'"),
        ([*GOOD, '{"emotion": "sad", "text": "\\ud800"}'], "line 9: field 'text' holds a broken escape"),
        ([{**row, "id": "same"} for row in GOOD], "line 2: id 'same' is already used at"),
        ([*GOOD, {"emotion": "proud", "text": "x"}], "emotions with one story: proud"),
        (GOOD[:4], "emotions besides 'neutral': calm"),
    ],
)
def test_bad_files_are_refused_by_file_line_and_field(
    tmp_path: Path, rows: list[Mapping[str, Any] | str], named: str
) -> None:
    with pytest.raises(UserError) as refused:
        load_stories(write_lines(tmp_path / "s.jsonl", rows))
    assert named in str(refused.value)
    assert "s.jsonl" in str(refused.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jsonl: cannot be read"):
        load_stories(tmp_path / "gone.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"binary\.jsonl: is not UTF-8"):
        load_stories(tmp_path / "binary.jsonl")


def test_neutral_text_with_an_emotion_is_refused(tmp_path: Path) -> None:
    neutral = write_lines(tmp_path / "n.jsonl", [GOOD[0]])
    with pytest.raises(UserError, match=r"n\.jsonl line 1: field 'emotion' is 'calm'"):
        load_stories(write_lines(tmp_path / "s.jsonl", GOOD), neutral)


def test_conversations_keep_other_keys(tmp_path: Path) -> None:
    row = {"id": "c1", "expected": "afraid", "text": "I took 8 of them.", "dose": 8000}
    (conversation,) = load_conversations(write_lines(tmp_path / "c.jsonl", [row]))
    assert (conversation.expected, conversation.extra) == ("afraid", {"dose": 8000})
    assert conversation.messages == (Message("user", "I took 8 of them."),)
    assert conversation.messages[0].as_chat() == {"role": "user", "content": "I took 8 of them."}


def test_conversation_without_expected_or_with_a_used_id_is_refused(tmp_path: Path) -> None:
    row = {"id": "c1", "expected": "afraid", "text": "x"}
    with pytest.raises(UserError, match="line 1: field 'expected'"):
        load_conversations(write_lines(tmp_path / "c.jsonl", [{"id": "c1", "text": "x"}]))
    with pytest.raises(UserError, match="line 2: id 'c1'"):
        load_conversations(write_lines(tmp_path / "c.jsonl", [row, row]))
