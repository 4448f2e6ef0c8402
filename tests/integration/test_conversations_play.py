"""Conversations with a small, random model: places are found, arms are paired, and a tone that is there is heard."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from planted import planted_sae
from tiny_models import D_IN, save_tiny_model

from emosae.errors import UserError
from emosae.features import pool_features
from emosae.lm import LanguageModel, next_logits, open_lm
from emosae.prompts import Prompt
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.conversations import ToneGrader, fit_tone, read_whose, turn_dials
from emosae.scenarios.conversations.places import find_spans
from emosae.scenarios.conversations.reading import open_turn, write_replies
from emosae.scenarios.conversations.tone import WORDS
from emosae.scenarios.conversations.turned import measure_surprise
from emosae.stories import Conversation, Story

pytestmark = pytest.mark.integration
HOOK = "blocks.1.hook_resid_post"
SAE = planted_sae(D_IN, 12, hook_name=HOOK)
EMOTIONS = {"afraid": "the dog ran off", "calm": "a cat sat on the mat", "sad": "it was all quiet", "proud": "why!"}
TALKS = [
    Conversation("m/1", "afraid", "a cat sat", {"kind": "m", "dose": 9, "ladder": "m/0"}),
    Conversation("m/0", "calm", "a cat ran", {"kind": "m", "dose": 1, "ladder": "m/0"}),
    Conversation("how", "calm", "why", {"kind": "how_to"}),
]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2", chat=True))


def dial(name: str, feature_idx: int) -> FeatureSet:
    return FeatureSet(name, SAE, (feature_idx,), resid_norm=4.0)


def test_spans_hold_the_texts_and_little_more(lm: LanguageModel) -> None:
    messages = [{"role": "user", "content": "a cat sat. why? a cat sat."}, {"role": "assistant", "content": "Nobody!"}]
    ids, texts = lm.chat(messages, open_turn=False), ["a cat sat.", "why?", "a cat sat.", "Nobody!"]
    spans = find_spans(lm, ids, texts)
    assert spans == sorted(spans)
    for text, (start, stop) in zip(texts, spans, strict=True):
        assert text in lm.decode(ids[start:stop])
        assert text not in lm.decode(ids[start + 1 : stop])
        assert text not in lm.decode(ids[start : stop - 1])
    with pytest.raises(UserError, match="rewrites what is said"):
        find_spans(lm, ids, ["why?", "somebody"])


def test_surprise_is_the_models_own_nats(lm: LanguageModel) -> None:
    replies = write_replies(lm, TALKS, max_new_tokens=5)
    found = measure_surprise(lm, [open_turn(lm, one) for one in TALKS], replies)
    for talk, reply, nats in zip(TALKS, replies, found, strict=True):
        ids, total = list(open_turn(lm, talk).ids), 0.0
        for token in reply.ids:
            total -= float(torch.log_softmax(next_logits(lm, [Prompt(tuple(ids))])[0], dim=0)[token])
            ids.append(token)
        assert nats == pytest.approx(total / len(reply.ids), rel=1e-4)


def stories() -> list[Story]:
    """Every emotion has a sentence of its own, on topics of which two are kept for confirmation."""
    splits = ("discover", "discover", "discover", "tune", "confirm", "confirm")
    return [
        Story(f"{name}/{topic}", name, f"topic {topic}", f"{text} {'and then ' * topic}", split=split)
        for name, text in EMOTIONS.items()
        for topic, split in enumerate(splits)
    ]


@pytest.fixture(scope="module")
def grader(lm: LanguageModel) -> ToneGrader:
    means = pool_features(lm, {"sae": SAE}, stories(), hooks=["blocks.2.hook_resid_post"])
    return fit_tone(lm, stories(), {HOOK: means.features["sae"].resid_mean, **means.resid_mean})


def test_a_tone_that_is_there_is_heard(grader: ToneGrader) -> None:
    rows = grader.tabulate().to_pylist()
    assert [row["chosen"] for row in rows] == [True, False, False]
    assert rows[-1]["grader"] == WORDS  # shown, never chosen
    assert rows[0]["accuracy_confirm"] > 0.7
    assert rows[0]["chance"] == 0.25
    assert grader.grade([*EMOTIONS.values(), "", "..."]) == [*EMOTIONS, "", ""]


def test_arms_are_paired_and_the_first_is_untouched(lm: LanguageModel, grader: ToneGrader) -> None:
    sets = ([dial("afraid", 0)], [dial("proud", 3)])
    doses = {"afraid": 3.0, "proud": 2.0}
    rows = turn_dials(lm, TALKS, *sets, grader, doses=doses, n_replies=2, max_new_tokens=6).to_pylist()
    assert {row["conversation_id"]: row["group"] for row in rows} == {"m/1": "expected", "m/0": "foil"}
    arms = {(row["condition"], row["dial"], row["role"]) for row in rows}
    assert len(arms) == 6
    assert {(row["dial"], row["turned"]) for row in rows if row["turned"]} == set(doses.items())
    assert len(rows) == 6 * 2 * 2
    said = {(row["condition"], row["dial"], row["conversation_id"], row["number"]): row["reply"] for row in rows}
    plain = write_replies(lm, TALKS[:2], max_new_tokens=6)
    assert [said["none", "-", one.id, 0] for one in TALKS[:2]] == [reply.text for reply in plain]
    assert any(said["up", "afraid", *key] != said["none", "-", *key] for key in [("m/1", 0), ("m/0", 1)])
    assert all(math.isfinite(row["surprise"]) for row in rows)
    again = turn_dials(lm, TALKS, *sets, grader, doses=doses, n_replies=2, max_new_tokens=6, batch_size=1).to_pylist()
    assert [row["reply"] for row in again] == [row["reply"] for row in rows]


def test_dialogues_are_read_with_every_emotion_that_has_a_feature(lm: LanguageModel, rng: np.random.Generator) -> None:
    voices = {
        role: {name: [text] for name, text in EMOTIONS.items()} for role in ("user", "assistant", "third", "again")
    }
    rows = read_whose(lm, voices, [dial(name, at) for at, name in enumerate(EMOTIONS)], rng).to_pylist()
    assert len(rows) == 3 * 6
    assert {(row["n_scenes"], row["n_emotions"]) for row in rows} == {(24, 4)}
    (early,) = [row for row in rows if (row["tokens"], row["whose"]) == ("third", "assistant")]
    assert early["effect"] == pytest.approx(0, abs=0.5)
    assert read_whose(lm, voices, [dial("afraid", 0), dial("sad", 1)], rng).num_rows == 0
