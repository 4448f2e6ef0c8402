"""Parts of a dial in a small random model: both write what the whole writes, cached or not, and arms are read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from babble import Babble
from in_process import InProcess
from planted import planted_sae
from tiny_models import D_IN, save_tiny_model

from emosae.generation import generate
from emosae.interventions import Intervention, edit_fns
from emosae.lm import LanguageModel, open_lm
from emosae.prompts import Prompt
from emosae.scenarios.conditions import NONE, FeatureSet, up_arm
from emosae.scenarios.impossible_code import Protocol, run_episodes
from emosae.scenarios.part_arms import build_part_arms, gather_arms, tabulate_part_arms, tabulate_parts
from emosae.scenarios.subspace import draw_subspace, turn_part
from emosae.scenarios.tasks import Task
from emosae.store import Stage

pytestmark = pytest.mark.integration
DOSE = 1.0
DIAL = FeatureSet("desperate", planted_sae(D_IN, 12, hook_name="blocks.1.hook_resid_post"), (3, 5), resid_norm=4.0)
EMOTION = draw_subspace(4, D_IN, np.random.default_rng(1))
TASKS = [
    Task("one", "a cat", "f", ("assert f(1) == 1",), ("assert f(1) == 9",), "why"),
    Task("two", "the dog ran", "f", ("assert f(1) == 2",), ("assert f(1) == 9",), "why"),
]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_lm(save_tiny_model(tmp_path_factory.mktemp("qwen2"), "qwen2", chat=True))


def write(lm: LanguageModel, *interventions: Intervention, **options: Any) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    prompts = [Prompt(tuple(rng.integers(2, 300, n).tolist())) for n in (3, 7, 5, 12)]
    rngs = [np.random.default_rng([0, index]) for index in range(len(prompts))]
    options = {"max_new_tokens": 16, "stop_ids": (), "temperature": 1.0} | options
    return [tuple(row.ids) for row in generate(lm, prompts, rngs=rngs, edits=edit_fns(interventions), **options)]


def test_both_parts_write_what_the_whole_writes_and_a_cache_changes_nothing(lm: LanguageModel) -> None:
    inside, outside = (turn_part(DIAL, EMOTION, side, DOSE) for side in ("inside", "outside"))
    whole = write(lm, DIAL.up(DOSE))
    assert write(lm, inside, outside) == whole
    assert len({tuple(text) for text in (whole, write(lm), write(lm, inside), write(lm, outside))}) == 4
    for part in (inside, turn_part(DIAL, EMOTION, "inside", DOSE, equal_norm=True)):
        assert write(lm, part) == write(lm, part, use_cache=False) == write(lm, part, batch_size=2)


def test_arms_are_read_back_until_the_subspace_changes(lm: LanguageModel, tmp_path: Path) -> None:
    protocol, stage, sandbox = Protocol(TASKS, Babble(), n_episodes=8, n_solvable=0), Stage(tmp_path), InProcess()
    main = [run_episodes(lm, arm, protocol, sandbox, stage) for arm in (NONE, up_arm(DIAL, DOSE, "target"))]
    controls = {"random subspace 0": draw_subspace(4, D_IN, np.random.default_rng(2))}
    arms = build_part_arms(DIAL, EMOTION, controls, DOSE, n_episodes=6)
    first = pa.concat_tables([run_episodes(lm, arm, protocol, sandbox, stage) for arm in arms])
    together = gather_arms(pa.concat_tables(main), first, DIAL, DOSE)
    assert {row["n"] for row in tabulate_part_arms(together, DIAL, EMOTION, controls, DOSE).to_pylist()} == {6}
    assert {row["n"] for row in tabulate_parts(together, DIAL, EMOTION).to_pylist()} == {6}

    def times(of: list[Any]) -> list[int]:
        for arm in of:
            run_episodes(lm, arm, protocol, sandbox, stage)
        return [(tmp_path / "arms" / f"{arm.slug}.parquet").stat().st_mtime_ns for arm in of]

    before = times(arms)
    assert times(build_part_arms(DIAL, EMOTION, controls, DOSE, n_episodes=6)) == before
    other = build_part_arms(DIAL, draw_subspace(4, D_IN, np.random.default_rng(3)), controls, DOSE, n_episodes=6)
    assert [new != old for new, old in zip(times(other), before, strict=True)] == [True] * 4 + [False]
