"""What a notebook calls: three lines to rank, to read, and to write with a feature turned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import emosae
from emosae.errors import UserError
from emosae.organism.evaluation import evaluation_stories, organism_path, shipped_sae_paths

pytestmark = pytest.mark.integration

EMOTIONS = ("calm", "desperate", "joyful", "sad")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> emosae.FinishedRun:
    folder, taken = tmp_path_factory.mktemp("api"), set()
    with (folder / "stories.jsonl").open("w") as file:
        for story in evaluation_stories(salt="emosae"):
            if story.emotion in EMOTIONS and (story.emotion, story.topic) not in taken:
                taken.add((story.emotion, story.topic))
                row = {"emotion": story.emotion, "topic": story.topic, "text": story.text}
                file.write(json.dumps(row) + "\n")
    sae = shipped_sae_paths()["blocks.3.resid_post.seed1"]
    return emosae.rank(model=organism_path(), sae=sae, stories=folder / "stories.jsonl", out=folder / "run")


def test_a_ranking_is_read_by_the_names_of_its_tables(run: emosae.FinishedRun) -> None:
    assert "selectivity/candidates" in run.tables
    candidates = run.table("selectivity/candidates").to_pylist()
    assert {row["emotion"] for row in candidates} == set(EMOTIONS)
    assert max(row["auroc"] for row in candidates) > 0.9
    with pytest.raises(UserError, match="selectivity/candidates"):
        run.table("selectivity/candidate")
    with pytest.raises(UserError, match="ledger"):
        _ = run.ledger


def test_a_turned_feature_changes_what_is_written_and_an_absent_one_is_named(run: emosae.FinishedRun) -> None:
    plain = [emosae.clamp(run, "calm", dose).go_on("I waited by the", max_new_tokens=40) for dose in (0.4, 0.4, -0.4)]
    assert plain[0] == plain[1] != plain[2]
    assert emosae.clamp(run.path, ("blocks.3.resid_post.seed1", 5), 0.0).answer("Hello.", max_new_tokens=5)
    with pytest.raises(UserError, match="calm, desperate, joyful, sad"):
        emosae.clamp(run, "smug")
    with pytest.raises(UserError, match=r"blocks\.3\.resid_post\.seed1"):
        emosae.clamp(run, ("other", 5))
    with pytest.raises(UserError, match="from 0 to"):
        emosae.clamp(run, ("blocks.3.resid_post.seed1", 10**6))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        emosae.open_run(tmp_path)


def test_the_import_brings_in_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pyarrow', 'transformers', 'sae_lens'} & set(sys.modules)"
    code = f"import sys, emosae; assert emosae.__version__; print(sorted({heavy}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
