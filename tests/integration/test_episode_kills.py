"""kill -9 in the middle of an arm or a loop costs its open episodes only, and the tables come out the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from babble import Babble
from in_process import InProcess
from planted import planted_sae
from tiny_models import D_IN, save_tiny_model

from emosae.lm import LanguageModel, Prompt, open_lm
from emosae.scenarios.conditions import NONE, FeatureSet, hide_naming
from emosae.scenarios.episode_journal import EpisodeJournal
from emosae.scenarios.episodes import Episode
from emosae.scenarios.impossible_code import Protocol, run_impossible_code
from emosae.scenarios.loops import Hold, LoopWords, begin_loops, play_loops
from emosae.scenarios.tasks import Task
from emosae.store import Stage

pytestmark = pytest.mark.integration
TASKS = [
    Task("one", "a cat", "f", ("assert f(1) == 1",), ("assert f(1) == 9",), "why"),
    Task("two", "the dog ran", "f", ("assert f(1) == 2",), ("assert f(1) == 9",), "why"),
]
N_EPISODES = 12
ARMS = [NONE, *hide_naming([NONE], ["c", "t"])]
WORDS = LoopWords(again="on ", passed="yes")
SAE = planted_sae(D_IN, 12, hook_name="blocks.1.hook_resid_post")
HOLDS = [Hold(FeatureSet("desperate", SAE, (3, 5), resid_norm=4.0), "target")]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2", chat=True))


def run(lm: LanguageModel, folder: Path) -> None:
    protocol = Protocol(TASKS, Babble(max_new_tokens=8), n_episodes=N_EPISODES, batch_size=4)
    run_impossible_code(lm, ARMS, protocol, InProcess(), Stage(folder))


def run_loops(lm: LanguageModel, folder: Path) -> None:
    protocol = Protocol(TASKS, Babble(max_new_tokens=8), n_episodes=N_EPISODES, batch_size=4)
    play_loops(begin_loops(lm, protocol, InProcess(), WORDS), HOLDS, [HOLDS[0].features], WORDS, Stage(folder))


def run_and_kill(lm: LanguageModel, folder: Path, n_noted: int, run: Callable[[LanguageModel, Path], None]) -> None:
    """Run in a fork of this process that is killed by itself once so many episodes are noted."""
    process = os.fork()
    if not process:
        try:
            note, noted = EpisodeJournal.note, []

            def note_and_die(journal: EpisodeJournal, episode: Episode) -> None:
                note(journal, episode)
                noted.append(episode)
                if len(noted) == n_noted:
                    os.kill(os.getpid(), signal.SIGKILL)

            setattr(EpisodeJournal, "note", note_and_die)  # noqa: B010
            run(lm, folder)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def test_a_kill_costs_the_open_episodes_only(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lm, tmp_path / "whole")
    whole = Stage(tmp_path / "whole")
    assert {len(texts) for texts in whole.read_table("rollouts")["texts"].to_pylist()} == {1, 2, 3}
    played: list[Episode] = []
    note = EpisodeJournal.note
    monkeypatch.setattr(EpisodeJournal, "note", lambda journal, one: (played.append(one), note(journal, one)))
    for n_noted in (1, 5, N_EPISODES, N_EPISODES + 4):
        killed = Stage(tmp_path / str(n_noted))
        run_and_kill(lm, killed.path, n_noted, run)
        for torn in killed.path.glob("arms/*.jsonl"):
            torn.write_bytes(torn.read_bytes() + b'{"inputs":"')
        played.clear()
        run(lm, killed.path)
        assert len(played) == 2 * N_EPISODES - n_noted
        for table in ("rollouts", "summary", "contrasts", "slopes"):
            assert repr(killed.read_table(table).to_pylist()) == repr(whole.read_table(table).to_pylist()), n_noted
        assert not list(killed.path.glob("arms/*.jsonl"))


def test_a_kill_in_a_loop_costs_the_open_episodes_only(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Episode] = []
    note = EpisodeJournal.note
    monkeypatch.setattr(EpisodeJournal, "note", lambda journal, one: (played.append(one), note(journal, one)))
    run_loops(lm, tmp_path / "whole")
    whole, n_played = Stage(tmp_path / "whole"), len(played)
    rows = whole.read_table("loops").to_pylist()
    assert {(row["condition"], row["dial"]) for row in rows} == {
        (loop, held) for loop in ("failures", "no failures") for held in ("-", "desperate")
    }
    assert n_played == sum(row["n_attempts"] > 1 for row in rows) > 2 * N_EPISODES
    n_first = sum(row["n_attempts"] > 1 for row in rows if (row["condition"], row["dial"]) == ("failures", "-"))
    for n_noted in (1, n_first, n_first + 3, n_played - 1, n_played):
        killed = Stage(tmp_path / str(n_noted))
        run_and_kill(lm, killed.path, n_noted, run_loops)
        for torn in killed.path.glob("loops/*.jsonl"):
            torn.write_bytes(torn.read_bytes() + b'{"inputs":"')
        played.clear()
        run_loops(lm, killed.path)
        assert len(played) == n_played - n_noted
        for table in ("loops", "closings"):
            assert repr(killed.read_table(table).to_pylist()) == repr(whole.read_table(table).to_pylist()), n_noted
        assert not list(killed.path.glob("loops/*.jsonl"))


def test_what_was_noted_of_other_inputs_is_passed_over(lm: LanguageModel, tmp_path: Path) -> None:
    run_and_kill(lm, tmp_path, 5, run)
    [journal] = tmp_path.glob("arms/*.jsonl")
    name = f"arms/{journal.stem}"
    assert len(Stage(tmp_path).read_lines(name)) == 5
    [own, *_] = {line["inputs"] for line in Stage(tmp_path).read_lines(name)}
    for inputs_hash, n_known in ((own, 5), ("other", 0)):
        episodes = [Episode(task, number, Prompt((2,))) for number in range(N_EPISODES // 2) for task in TASKS]
        assert EpisodeJournal(Stage(tmp_path), name, inputs_hash).restore(episodes) == n_known
        assert sum(one.is_over for one in episodes) == n_known
