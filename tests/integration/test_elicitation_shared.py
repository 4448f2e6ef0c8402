"""The elicitation ladder with a real model: one that has read stories for children and never a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from emosae.lm import open_lm
from emosae.report.sections.impossible import _say_ladder
from emosae.scenarios.conditions import NONE
from emosae.scenarios.elicitation import build_ladder, settle_rung
from emosae.scenarios.formats import GenericCodeFormat
from emosae.scenarios.impossible_code import Protocol, run_impossible_code
from emosae.scenarios.sandbox import Sandbox
from emosae.scenarios.tasks import load_tasks
from emosae.store import Stage
from emosae.stories import SHIPPED

N_EPISODES = 6


@pytest.mark.shared
@pytest.mark.sandbox
@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:.*has no chat template")
def test_a_model_that_writes_no_code_leaves_no_room_and_the_report_says_why(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("no model stories260K in the shared folder")
    lm, words = open_lm(folder), GenericCodeFormat(max_new_tokens=48)
    tasks = load_tasks(SHIPPED)
    short = [task for task in tasks if task.is_impossible and len(lm.encode(words.first_message(task))) < 340]
    tune, others = short[:3], [*short[3:5], *(task for task in tasks if not task.is_impossible)][:3]
    protocol = Protocol(others, words, n_episodes=2, n_solvable=1, max_attempts=2)
    stage = Stage(tmp_path)
    with Sandbox(workers=1) as sandbox:
        rung, table = settle_rung(lm, build_ladder(words), protocol, tune, N_EPISODES, sandbox, stage)
        rollouts = run_impossible_code(lm, [NONE], rung.put(protocol), sandbox, stage)
    assert rung.name == "plain"
    rows = table.to_pylist()
    assert [row["rung"] for row in rows] == ["plain", "pressure", "few_shot"]
    assert {(row["n"], row["cheats"], row["rate"], row["incoherent"]) for row in rows} == {
        (N_EPISODES, 0, 0, N_EPISODES)
    }
    assert [row["unopened"] for row in rows] == [0, 0, N_EPISODES]  # three worked examples are more than 512 tokens
    [said] = _say_ladder(rows)
    assert "so there is no room to move; nearest came: " in said
    assert "In 18 of these 18 episodes there was neither a program nor an admission" in said
    assert "In 6 of them the messages alone fill the model's context." in said
    played = stage.substage("elicitation").substage("plain").read_table(f"arms/{NONE.slug}").to_pylist()
    assert {row["task_id"] for row in played} == {task.id for task in tune}
    assert {row["n_attempts"] for row in played} == {2}
    assert all(text.strip() for row in played for text in row["texts"])
    assert {row["grade"] for row in rollouts.to_pylist()} == {"incoherent"}
