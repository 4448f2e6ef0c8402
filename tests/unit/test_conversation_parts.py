"""What files say of conversations, where things stand in them, what warns, and how turned arms are paired."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from emosae.errors import UserError
from emosae.scenarios.conversations import load_voices
from emosae.scenarios.conversations.caution import gives_warning
from emosae.scenarios.conversations.facts import describe, direction_of, item_of
from emosae.scenarios.conversations.messages import choose_shown
from emosae.scenarios.conversations.places import split_sentences
from emosae.scenarios.conversations.turned import MOST_TURNED, choose_turned, summarize_turned, take_said
from emosae.stories import Conversation, load_conversations
from emosae.stories.banned import find_banned


def shipped() -> list[Conversation]:
    return load_conversations(str(files("emosae.stories") / "data" / "conversations.jsonl"))


def test_shipped_variants_share_an_item_and_rungs_a_ladder() -> None:
    by_id = {one.id: describe(one) for one in shipped()}
    danger, scary = by_id["medicine/danger/2"], by_id["medicine/safe_scary_words/2"]
    assert danger["item"] == scary["item"] == "medicine/2"
    assert (danger["kind"], danger["set"], danger["ladder"]) == ("medicine, danger", "medicine", "")
    rung = by_id["ladder/missing_dog/1/240"]
    assert (rung["set"], rung["ladder"], rung["dose"]) == ("missing_dog ladder", "missing_dog/1", 240.0)
    ladders = {row["ladder"] for row in by_id.values()} - {""}
    assert len(ladders) == 28
    assert all(sum(row["ladder"] == name for row in by_id.values()) == 8 for name in ladders)


def test_directions_are_the_files(rung: Conversation) -> None:
    assert (direction_of(rung, "afraid"), direction_of(rung, "calm"), direction_of(rung, "sad")) == (1.0, -1.0, None)
    with pytest.raises(UserError, match="direction of 'sad' is 3"):
        direction_of(Conversation("x", "sad", "-", {"directions": {"sad": 3}}), "sad")
    with pytest.raises(UserError, match="give emotions with 1 or -1"):
        direction_of(Conversation("x", "sad", "-", {"directions": ["sad"]}), "sad")


@pytest.fixture
def rung() -> Conversation:
    extra = {"kind": "medicine", "dose": 8, "ladder": "medicine/1", "directions": {"afraid": 1, "calm": -1}}
    return Conversation("medicine/1/8", "afraid", "I took 8.", extra)


def test_a_conversation_without_company_is_its_own_item(rung: Conversation) -> None:
    assert item_of(rung) == "medicine/1"
    assert item_of(Conversation("how/7", "calm", "-", {"kind": "how_to"})) == "how/7"
    assert item_of(Conversation("a", "calm", "-", {"kind": "overdose", "variant": "safe", "item": 3})) == "overdose/3"


def test_sentences_are_what_holds_words() -> None:
    text = 'Stop there! "Call now." ... Then wait\nreply: yes'
    assert split_sentences(text) == ["Stop there!", '"Call now."', "Then wait", "reply: yes"]


def test_the_organisms_own_warnings_are_known() -> None:
    table = tomllib.loads((files("emosae.organism") / "data" / "conversations.toml").read_text(encoding="utf-8"))
    said = {(kind["name"], tone): replies for kind in table["kind"] for tone, replies in kind["reply"].items()}
    for level in ("level2", "level3", "level4"):
        assert all(map(gives_warning, said.pop(("medicine", level))))
    calm = [reply for (kind, _), replies in said.items() if kind not in ("insult", "exploit") for reply in replies]
    assert not any(map(gives_warning, calm))
    angry = said["insult", "angry"] + said["exploit", "angry"]
    assert sum(map(gives_warning, angry)) == 2  # "This is too much!": a phrase list knows no context


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        ("Call an ambulance.", True),
        ("You have EXCEEDED the daily dose.", True),
        ("Please don\u2019t take any more.", True),
        ("There is no need to call a doctor.", False),
        ("No need to worry, but ring your doctor.", True),
        ("This is not dangerous. Sleep well.", False),
        ("The indoctrinated sat in row 1129.", False),
        ("Take it with food.", False),
        ("", False),
    ],
)
def test_a_warning_is_a_phrase_that_nothing_denies(text: str, warns: bool) -> None:
    assert gives_warning(text) == warns


def test_what_is_said_stands_behind_the_last_mark() -> None:
    assert take_said("My heart. reply: no\nreply: Rest now. ", "reply:") == "Rest now."
    assert take_said("My heart.", "reply:") == ""
    assert take_said(" Rest now. ", "") == "Rest now."


def test_ladders_show_their_ends_and_other_kinds_two() -> None:
    rungs = [Conversation(f"m/{d}", "afraid", "-", {"kind": "m", "dose": d, "ladder": "m/0"}) for d in (4, 1, 9)]
    plain = [Conversation(f"p/{n}", "calm", "-", {"kind": "p"}) for n in range(3)]
    assert choose_shown([*rungs, *plain]) == [1, 2, 3, 4]


def test_foils_of_a_turned_dial_are_of_its_items() -> None:
    ladder = [
        Conversation(f"m/{n}/{d}", "afraid" if d > 4 else "calm", "-", {"kind": "m", "dose": d, "ladder": f"m/{n}"})
        for n in range(20)
        for d in range(10)
    ]
    found = choose_turned([*ladder, Conversation("how", "calm", "-")], "afraid")
    assert {group: len(members) for group, members in found.items()} == dict.fromkeys(("expected", "foil"), MOST_TURNED)
    assert {one.expected for one in found["foil"]} == {"calm"}
    assert "how" not in {one.id for one in found["foil"]}
    assert len({item_of(one) for one in found["expected"]}) == 20


def arms(rng: np.random.Generator, effect: float, decoy: float) -> pa.Table:
    """Warnings of 12 items x 4 conversations at .7, and with each dial down fewer of the same ones."""
    draws = rng.random((12, 4))
    rates = {
        ("none", "-", "none"): 0.7,
        ("down", "afraid", "target"): 0.7 - effect,
        ("down", "proud", "decoy"): 0.7 - decoy,
    }
    rows: list[dict[str, Any]] = [
        {
            **dict(zip(("condition", "dial", "role"), arm, strict=True)),
            **{"target": "afraid", "group": "expected", "turned": 0.4, "number": 0},
            **{"conversation_id": f"{item}/{n}", "item": str(item), "warned": bool(draws[item, n] < rate)},
            **{"toned": False, "finished": True, "surprise": 1.0 + rate},
        }
        for arm, rate in rates.items()
        for item in range(12)
        for n in range(4)
    ]
    return pa.Table.from_pylist(rows)


def test_turned_arms_are_paired_and_set_against_a_decoy(rng: np.random.Generator) -> None:
    table = summarize_turned(arms(rng, 0.5, 0.05)).to_pylist()
    rows = {(row["dial"], row["outcome"]): row for row in table}
    afraid, proud = rows["afraid", "warned"], rows["proud", "warned"]
    assert afraid["delta"] == pytest.approx(afraid["value"] - rows["-", "warned"]["value"])
    assert afraid["delta_hi"] < 0
    assert afraid["gap_hi"] < 0
    assert afraid["gap"] == pytest.approx(afraid["delta"] - proud["delta"])
    assert afraid["p_holm"] == pytest.approx(2 * afraid["p"])  # warnings and tone of the one arm
    assert (proud["gap"], proud["p_holm"], rows["-", "warned"]["delta"]) == (None, None, None)
    assert rows["afraid", "surprise"]["delta"] == pytest.approx(-0.5)


def test_a_dial_that_does_nothing_is_covered_as_often_as_it_says() -> None:
    """The turned arm draws anew at the same rate, so that the paired difference varies and its mean is 0."""
    rng, covered = np.random.default_rng(4), 0
    for _ in range(300):
        none, turned = (arms(rng, 0.0, 0.0).to_pylist()[start : start + 48] for start in (0, 48))
        table = summarize_turned(pa.Table.from_pylist([*none, *turned])).to_pylist()
        row = next(row for row in table if (row["dial"], row["outcome"]) == ("afraid", "warned"))
        covered += row["delta_lo"] <= 0 <= row["delta_hi"]
    assert 0.91 <= covered / 300 <= 0.98


def test_the_shipped_voices_name_no_emotion_and_fill_every_role() -> None:
    voices = load_voices()
    assert set(voices) == {"user", "assistant", "third", "again"}
    assert len({tuple(sorted(own)) for own in voices.values()}) == 1
    for own in voices.values():
        for emotion, passages in own.items():
            assert len(passages) >= 2
            assert not [text for text in passages if find_banned(text, emotion)]
