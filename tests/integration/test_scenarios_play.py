"""Episodes and conversations with a real, small, random model: what is written, kept and read is consistent."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from babble import Babble
from in_process import InProcess
from planted import PlantedSae, planted_sae
from tiny_models import D_IN, save_tiny_model

from emosae.generation import Prompt
from emosae.interventions import edit_fns
from emosae.lm import LanguageModel, open_lm, read_resid
from emosae.scenarios.conditions import NONE, Condition, FeatureSet, Vector, draw_direction, hide_naming
from emosae.scenarios.conversations import read_conversations
from emosae.scenarios.episodes import Setting, open_episodes
from emosae.scenarios.impossible_code import Protocol, run_impossible_code
from emosae.scenarios.playing import play
from emosae.scenarios.rollouts import trace_features
from emosae.scenarios.tasks import Task
from emosae.store import Stage
from emosae.stories import Conversation

pytestmark = pytest.mark.integration
HOOK = "blocks.1.hook_resid_post"
SAE = planted_sae(D_IN, 12, hook_name=HOOK)
FEATURES = FeatureSet("desperate", SAE, (3, 5), resid_norm=4.0)
TASKS = [
    Task("one", "a cat", "f", ("assert f(1) == 1",), ("assert f(1) == 9",), "why"),
    Task("two", "the dog ran", "f", ("assert f(1) == 2",), ("assert f(1) == 9",), "why"),
    Task("three", "on", "f", ("assert f(1) == 0",), ("assert f(1) == 0",), None, "-"),
]
PUSH = Vector("push", HOOK, draw_direction(D_IN, np.random.default_rng(3)), resid_norm=4.0)
STEERED = Condition("direction", "push", "vector", 1.0, True, "control", (PUSH.steer(1.0),))
FLOORED = Condition("up", "desperate", "sae", 0.5, True, "target", (FEATURES.up(0.5),))


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2", chat=True))


def protocol(**changes: object) -> Protocol:
    return replace(Protocol(TASKS, Babble(), n_episodes=9, n_solvable=4, traced=(FEATURES,)), **changes)


def test_tables_do_not_depend_on_the_batches(lm: LanguageModel, tmp_path: Path) -> None:
    arms = [NONE, STEERED, FLOORED, *hide_naming([NONE], ["c", "t", "x"])]
    prompts = [lm.document("a cat sat on the mat")]
    for name, size in (("large", 256), ("small", 5)):
        stage = Stage(tmp_path / name)
        run_impossible_code(lm, arms, protocol(batch_size=size), InProcess(), stage, neutral_prompts=prompts)
    large, small = (Stage(tmp_path / name).read_table("rollouts") for name in ("large", "small"))
    assert large.drop(["trace_desperate"]).equals(small.drop(["trace_desperate"]))
    texts = [tuple(row["texts"]) for row in large.to_pylist()]
    assert len(set(texts)) > 0.7 * len(texts)
    assert max(map(len, texts)) == 3
    summary = {row["condition"]: row for row in Stage(tmp_path / "large").read_table("summary").to_pylist()}
    assert summary["none"]["kl"] == 0
    assert summary["direction"]["kl"] > 0.01
    assert summary["up"]["n"] == 9


def test_the_trace_is_what_the_model_held_while_it_thought(lm: LanguageModel) -> None:
    for condition in (NONE, FLOORED):
        edits = edit_fns(condition.interventions)
        setting = Setting(lm=lm, code_format=Babble(), sandbox=InProcess(), max_attempts=3, seed=0, edits=edits)
        episodes = open_episodes(setting, TASKS, 6)
        play(setting, episodes)
        traces = trace_features(lm, episodes, [FEATURES], edits)
        for episode, trace in zip(episodes, traces, strict=True):
            [(_, resid)] = read_resid(lm, [episode.prompt], [HOOK], edits=edits)
            [(_, untouched)] = read_resid(lm, [episode.prompt], [HOOK])
            acts = SAE.encode(resid[HOOK])[:, [3, 5]].mean(dim=1)
            raised = (acts - SAE.encode(untouched[HOOK])[:, [3, 5]].mean(dim=1)) > 0
            assert not raised[[not flag for flag in episode.prompt.flags]].any()
            assert raised.any() == (condition is FLOORED and any(episode.prompt.flags))
            assert len(trace["desperate"]) == len(episode.turns)
            for turn, value in zip(episode.turns, trace["desperate"], strict=True):
                start, stop = turn.thought_span
                assert all(episode.prompt.flags[start:stop])
                expected = float(acts[start:stop].mean()) if stop > start else math.nan
                assert value == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)


def test_the_transcript_reads_as_the_chat_template_writes_it(lm: LanguageModel) -> None:
    setting = Setting(lm=lm, code_format=Babble(), sandbox=InProcess(), max_attempts=3, seed=0)
    episodes = open_episodes(setting, TASKS, 9)
    play(setting, episodes)
    assert any(len(episode.turns) > 1 for episode in episodes)
    for episode in episodes:
        messages = [{"role": "user", "content": episode.task.prompt}]
        for turn in episode.turns:
            messages.append({"role": "assistant", "content": turn.text})
            messages.append({"role": "user", "content": f"no {turn.text.count('a')}"})
        ended = episode.turns[-1].attempt.passes_visible or len(episode.turns) == 3  # else there was no more room
        ids = lm.chat(messages[:-1], open_turn=False)[:-1] if ended else lm.chat(messages)
        expected = lm.decode(ids)
        assert lm.decode(episode.prompt.ids) == expected.replace("assistant: ", "assistant:")


CONVERSATIONS = [
    Conversation("x", "afraid", "a cat sat on the mat", {"kind": "medicine", "dose": 100}),
    Conversation("y", "calm", "why", {"kind": "how_to"}),
    Conversation("z", "calm", "the dog ran off"),
]


def reading_features() -> list[FeatureSet]:
    other: PlantedSae = planted_sae(D_IN, 12, seed=1, hook_name="blocks.2.hook_resid_pre", name="other")
    return [FeatureSet("afraid", SAE, (0,), 1.0), FeatureSet("calm", other, (1, 2), 1.0)]


def test_reads_are_taken_where_the_turn_opens_and_over_the_reply(lm: LanguageModel) -> None:
    found = read_conversations(lm, CONVERSATIONS, reading_features(), max_new_tokens=12)
    reads = {(row["conversation_id"], row["emotion"]): row for row in found.reads.to_pylist()}
    replies = {row["conversation_id"]: row for row in found.replies.to_pylist()}
    assert len(reads) == 6
    for conversation in CONVERSATIONS:
        prompt = lm.chat([{"role": "user", "content": conversation.text}])
        reply = lm.encode(replies[conversation.id]["reply"])
        whole = Prompt(tuple(prompt)).then(reply, ())
        for one in reading_features():
            [(_, resid)] = read_resid(lm, [whole], [one.dictionary.hook_name])
            acts = one.dictionary.encode(resid[one.dictionary.hook_name])[:, list(one.feature_idx)].mean(dim=1)
            row = reads[conversation.id, one.name]
            assert row["at_open_token"] == pytest.approx(float(acts[len(prompt) - 1]), rel=1e-4, abs=1e-5)
            if lm.encode(lm.decode(reply)) == reply and reply:
                assert math.isfinite(row["over_reply"])
    assert reads["x", "afraid"]["dose"] == 100
    assert {row["part"] for row in found.messages.to_pylist()} >= {"user", "opening"}


def test_a_reply_depends_on_its_conversation_only(lm: LanguageModel) -> None:
    features = reading_features()
    together = read_conversations(lm, CONVERSATIONS, features, max_new_tokens=12).replies.to_pylist()
    alone = read_conversations(lm, CONVERSATIONS[2:], features, max_new_tokens=12, batch_size=1).replies.to_pylist()
    assert alone == together[2:]
    torch.manual_seed(5)
    assert read_conversations(lm, CONVERSATIONS, features, max_new_tokens=12).replies.to_pylist() == together
    other = read_conversations(lm, CONVERSATIONS, features, max_new_tokens=12, seed=1).replies.to_pylist()
    assert other != together
