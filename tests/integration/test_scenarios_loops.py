"""Loops with a real, small, random model: what is held is held, and nothing before it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from babble import Babble
from in_process import InProcess
from planted import planted_sae
from tiny_models import D_IN, save_tiny_model
from turns import write_turn

from emosae.generation import generate
from emosae.hooks import Prompt
from emosae.interventions import hold_features
from emosae.lm import LanguageModel, open_lm, read_resid
from emosae.scenarios.closings import play_closings
from emosae.scenarios.conditions import NONE, FeatureSet
from emosae.scenarios.episodes import MIN_ROOM, find_suffix
from emosae.scenarios.impossible_code import Protocol, run_episodes
from emosae.scenarios.loops import (
    Hold,
    LoopWords,
    begin_loops,
    hold_first_values,
    play_loops,
    read_first_thoughts,
)
from emosae.scenarios.playing import play
from emosae.scenarios.tasks import Task
from emosae.scenarios.trajectory import measure_firing
from emosae.store import Stage
from emosae.turn_memory import KeptRow

pytestmark = pytest.mark.integration
HOOK = "blocks.1.hook_resid_post"
SAE = planted_sae(D_IN, 12, hook_name=HOOK)
FEATURES = FeatureSet("desperate", SAE, (3, 5), resid_norm=4.0)
OTHERS = FeatureSet("proud", SAE, (1,), resid_norm=4.0)
WORDS = LoopWords(again="on ", passed="yes")
TASKS = [
    Task("one", "a cat", "f", ("assert f(1) == 1",), ("assert f(1) == 9",), "why"),
    Task("two", "the dog ran", "f", ("assert f(1) == 2",), ("assert f(1) == 9",), "why"),
    Task("three", "on", "f", ("assert f(1) == 1",), ("assert f(1) == 1",), None, "-"),
]
PROTOCOL = Protocol(TASKS, Babble(), n_episodes=12, n_solvable=6, traced=(FEATURES,))


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2", chat=True))


@pytest.fixture(scope="module")
def rows(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[dict]]:
    stage = Stage(tmp_path_factory.mktemp("loops"))
    holds = [Hold(FEATURES, "target"), Hold(OTHERS, "decoy")]
    table = play_loops(begin_loops(lm, PROTOCOL, InProcess(), WORDS), holds, [FEATURES], WORDS, stage)
    found: dict[tuple[str, str], list[dict]] = {}
    for row in table.to_pylist():
        found.setdefault((row["condition"], row["dial"]), []).append(row)
    return found


def test_all_loops_share_their_first_attempt_and_no_other(rows: dict[tuple[str, str], list[dict]]) -> None:
    assert set(rows) == {(loop, held) for loop in ("failures", "no failures") for held in ("-", "desperate", "proud")}
    untouched = rows["failures", "-"]
    firsts = [row["texts"][0] for row in untouched if row["impossible"]]
    assert len(set(firsts)) > 6
    seconds = set()
    for table in rows.values():
        impossible = [row for row in table if row["impossible"]]
        assert [row["texts"][0] for row in impossible] == firsts
        assert [row["n_attempts"] > 1 for row in impossible] == [row["n_attempts"] > 1 for row in untouched[:12]]
        seconds.add(tuple(tuple(row["texts"][1:]) for row in impossible))
    assert len(seconds) == len(rows)


def test_a_loop_left_alone_is_the_unsteered_arm(
    lm: LanguageModel, rows: dict[tuple[str, str], list[dict]], tmp_path: Path
) -> None:
    """The same text token by token: the same randomness, and going on from a copy changes nothing."""
    arm = run_episodes(lm, NONE, PROTOCOL, InProcess(), Stage(tmp_path)).to_pylist()
    assert [row["texts"] for row in rows["failures", "-"]] == [row["texts"] for row in arm]
    for mine, theirs in zip(rows["failures", "-"], arm, strict=True):
        assert mine["trace_desperate"] == pytest.approx(theirs["trace_desperate"], rel=1e-4, abs=1e-5, nan_ok=True)


def test_held_features_keep_their_first_value_and_nothing_else_changes(lm: LanguageModel) -> None:
    for loop in begin_loops(lm, PROTOCOL, InProcess(), WORDS):
        episodes = [replace(one, prompt=replace(one.prompt, label=at)) for at, one in enumerate(loop.episodes)]
        edits = hold_first_values(lm, episodes, FEATURES)
        first = {at: torch.zeros(2) for at in range(len(episodes))}
        for place, acts in read_first_thoughts(lm, episodes, SAE, FEATURES.feature_idx):
            start, stop = episodes[place].turns[0].thought_span
            [(_, resid)] = read_resid(lm, [episodes[place].prompt], [HOOK])
            untouched = SAE.encode(resid[HOOK])
            if stop > start:
                torch.testing.assert_close(acts, untouched[start:stop][:, [3, 5]])
            first[place] = acts.mean(dim=0)
        play(replace(loop.setting, edits=edits), episodes)
        assert any(len(one.turns) == 3 for one in episodes)
        for place, one in enumerate(episodes):
            [(_, held)], [(_, free)] = (read_resid(lm, [one.prompt], [HOOK], edits=by) for by in (edits, {}))
            late = torch.tensor([n > 1 and mine for n, mine in zip(one.prompt.turns, one.prompt.flags, strict=True)])
            before, acts = SAE.encode(free[HOOK][late]), SAE.encode(held[HOOK][late])
            fires = before[:, [3, 5]] > 0  # where a feature is off, its encoder's own deficit is read besides
            wanted = first[place].expand_as(fires)
            torch.testing.assert_close(acts[:, [3, 5]][fires], wanted[fires], rtol=1e-4, atol=1e-5)
            added = (wanted - before[:, [3, 5]]) @ SAE.W_dec[[3, 5]]
            torch.testing.assert_close(held[HOOK][late], free[HOOK][late] + added, rtol=1e-4, atol=1e-5)
            others = [index for index in range(12) if index not in (3, 5)]
            torch.testing.assert_close(acts[:, others], before[:, others], rtol=1e-4, atol=1e-5)
            assert torch.equal(held[HOOK][~late], free[HOOK][~late])


def test_every_label_has_its_own_values_with_and_without_a_cache(lm: LanguageModel) -> None:
    """Three labels on one text: a cache, what is held of a turn, and the row that they stand in do not mix them up."""
    values = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    edits = {HOOK: hold_features(SAE, FEATURES.feature_idx, values, from_turn=1)}
    begun = Prompt(tuple(lm.encode("a cat sat on the mat")))

    def write(labels: Sequence[int], *, use_cache: bool) -> dict[int, list[tuple[int, ...]]]:
        prompts = [replace(begun, label=label) for label in labels]
        pasts: list[KeptRow | None] = [None] * len(labels)
        found: dict[int, list[tuple[int, ...]]] = {label: [] for label in labels}
        for turn in range(2):
            rngs = [np.random.default_rng(turn) for _ in labels]
            if use_cache:
                said, pasts = write_turn(lm, prompts, pasts, max_new_tokens=8, rngs=rngs, edits=edits)
            else:
                said = generate(lm, prompts, max_new_tokens=8, rngs=rngs, edits=edits, use_cache=False, stop_ids=())
            for at, (label, one) in enumerate(zip(labels, said, strict=True)):
                found[label].append(one.ids)
                prompts[at] = prompts[at].then(one.ids, lm.encode("why"))
        return found

    cached = write([0, 1, 2], use_cache=True)
    assert cached == write([2, 0, 1], use_cache=True) == write([0, 1, 2], use_cache=False)
    assert len({tuple(turns) for turns in cached.values()}) == 3
    assert cached[1] == write([1], use_cache=True)[1]


def test_what_is_held_of_a_turn_is_not_of_another_label(lm: LanguageModel) -> None:
    prompt = Prompt((5, 6, 7), label=3)
    [said], [kept] = write_turn(lm, [prompt], [None], max_new_tokens=4, rngs=[np.random.default_rng(0)], edits={})
    longer = prompt.then(said.ids, [9])
    assert kept is not None
    assert kept.opens(longer)
    assert not kept.opens(replace(longer, label=4))


def test_without_failures_the_request_is_put_again(lm: LanguageModel) -> None:
    failing, unfailing = begin_loops(lm, PROTOCOL, InProcess(), WORDS)
    went_on = [one for one in unfailing.episodes if not one.is_over]
    assert went_on
    for one in went_on:
        assert list(one.prompt.ids[-len(find_suffix(lm, f"on {one.task.prompt}")) :]) == find_suffix(
            lm, f"on {one.task.prompt}"
        )
    again = [one for one in failing.episodes if one.task.is_impossible]
    assert [one.turns for one in again] == [one.turns for one in unfailing.episodes]


def test_closings_are_one_more_turn_behind_good_and_bad_news(lm: LanguageModel) -> None:
    lm = replace(lm, context=160)  # its positions rotate and have no end
    failing, _ = begin_loops(lm, PROTOCOL, InProcess(), WORDS)
    play(failing.setting, failing.episodes)
    late = [one for one in failing.episodes if len(one.turns) > 1 and one.turns[-1].attempt.passes_visible]
    before = [(one.prompt, len(one.turns)) for one in late]
    table = play_closings(failing.setting, failing.episodes, [FEATURES, OTHERS], "yes").to_pylist()
    assert [(one.prompt, len(one.turns)) for one in late] == before
    assert len(table) >= 2
    by_key = {(one.task.id, one.number): one for one in late}
    for row in table:
        one = by_key[row["task_id"], row["episode"]]
        columns = {"desperate": [3, 5], "proud": [1]}[row["name"]]
        feedback = f"no {one.turns[-2].text.count('a')}"
        for name, message in (("after", "yes"), ("otherwise", feedback)):
            again = replace(one, prompt=one.prompt.then((), find_suffix(lm, message)), turns=[*one.turns])
            again.is_over = False
            play(replace(failing.setting, max_attempts=4), [again], rounds=1)
            [(_, resid)] = read_resid(lm, [again.prompt], [HOOK])
            acts = SAE.encode(resid[HOOK])[:, columns].mean(dim=1)
            start, stop = again.turns[-1].thought_span
            assert start == len(one.prompt) + len(find_suffix(lm, message))
            expected = float(acts[start:stop].mean()) if stop > start else math.nan
            assert row[name] == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
        start, stop = one.turns[-1].thought_span
        expected = float(acts[start:stop].mean()) if stop > start else math.nan
        assert row["before"] == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)


def test_without_room_for_a_turn_there_is_no_closing(lm: LanguageModel) -> None:
    failing, _ = begin_loops(lm, PROTOCOL, InProcess(), WORDS)
    play(failing.setting, failing.episodes)
    late = [one for one in failing.episodes if len(one.turns) > 1 and one.turns[-1].attempt.passes_visible]
    longest = max(len(find_suffix(lm, said)) for said in ("yes", "no 0", "no 1", "no 2"))
    fits = [one for one in late if len(one.prompt) + longest + MIN_ROOM <= lm.context]
    assert len(fits) < len(late)
    assert play_closings(failing.setting, failing.episodes, [FEATURES], "yes").num_rows == len(fits)


def test_firing_is_counted_over_first_thoughts(lm: LanguageModel) -> None:
    failing, _ = begin_loops(lm, PROTOCOL, InProcess(), WORDS)
    rates = measure_firing(lm, failing.episodes, SAE)
    acts = torch.cat([acts for _, acts in read_first_thoughts(lm, failing.episodes, SAE)])
    np.testing.assert_allclose(rates, (acts > 0).double().mean(dim=0).numpy())
    assert 0 < rates.min() < rates.max() < 1


def test_played_loops_are_read_back(lm: LanguageModel, tmp_path: Path) -> None:
    begun = begin_loops(lm, PROTOCOL, InProcess(), WORDS)
    first = play_loops(begun, [Hold(FEATURES, "target")], [FEATURES], WORDS, Stage(tmp_path))
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "loops").iterdir()}
    assert len(stamps) == 4
    second = play_loops(begun, [Hold(FEATURES, "target")], [FEATURES], WORDS, Stage(tmp_path))
    assert second.drop(["trace_desperate"]).to_pylist() == first.drop(["trace_desperate"]).to_pylist()
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "loops").iterdir()} == stamps
    other = replace(FEATURES, feature_idx=(3, 6))
    play_loops(begun, [Hold(other, "target")], [FEATURES], WORDS, Stage(tmp_path))
    changed = {path.name for path in (tmp_path / "loops").iterdir() if path.stat().st_mtime_ns != stamps[path.name]}
    assert len(changed) == 2
    assert all("desperate" in name for name in changed)
