"""What the package ships as its corpus is what docs/corpus.md says of it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from emosae.activations import harvest
from emosae.cli import main
from emosae.lm import open_lm
from emosae.store import Stage
from emosae.stories import SHIPPED, load_stories, load_taxonomy
from emosae.stories.check import check_stories
from emosae.training import SaeTrainSpec, train_sae

VIDEO = ("loving/visiting-an-old-teacher", "guilty/selling-something-at-a-pawn-shop")


def shipped_rows(name: str) -> list[dict[str, Any]]:
    text = (files("emosae.stories") / "data" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_cell_has_one_story_and_every_check_passes() -> None:
    stories = load_stories(SHIPPED, SHIPPED)
    felt = [story for story in stories if not story.is_neutral]
    cells = Counter((story.emotion, story.topic) for story in felt)
    assert len(cells) == len(felt) == 32 * 24
    assert len(stories) - len(felt) == 96
    assert set(VIDEO) <= {story.id for story in felt}
    assert {story.emotion for story in felt} <= set(load_taxonomy())
    report = check_stories(stories)
    assert report.violations == {}
    assert report.leakage is not None
    assert report.leakage.accuracy < 0.1


def test_its_topics_are_cut_twelve_four_eight_and_none_is_in_two_parts() -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in shipped_rows("stories"):
        splits[row["topic"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(next(iter(found)) for found in splits.values()) == {"discover": 12, "tune": 4, "confirm": 8}


def test_conversations_have_foils_and_ladders_change_only_a_number() -> None:
    rows = shipped_rows("conversations")
    variants: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        variants[row["kind"]][row.get("variant", "")] += 1
    for kind in ("medicine", "household", "loss", "attachment", "exploit", "news"):
        assert len(variants[kind]) >= 2, kind
        assert min(variants[kind].values()) >= 12, kind
    assert sum(variants["how_to"].values()) >= 12
    assert len(shipped_rows("dialogues")) >= 60
    assert len(shipped_rows("implicit")) == 24
    ladders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "ladder":
            ladders[row["ladder"]].append(row)
    for name, steps in ladders.items():
        assert len(steps) >= 6, name
        assert steps[0]["directions"], name
        assert len({re.sub(r"[\d.,]+", "#", row["text"]) for row in steps}) == 1, name


@pytest.mark.shared
@pytest.mark.integration
def test_it_ranks_the_features_of_a_real_model(shared_dir: Path, tmp_path: Path) -> None:
    model, hook_name = shared_dir / "models/stories260K", "blocks.3.hook_resid_post"
    lm = open_lm(model)
    documents = [lm.document(row["text"]) for row in shipped_rows("stories")[::8]]
    spec = SaeTrainSpec(model_name=lm.name, hook_name=hook_name, d_sae=128, k=8, steps=60, name="resid3")
    sae = train_sae(harvest(lm, documents, [hook_name])[hook_name], spec, Stage(tmp_path / "trained"))
    rank = ["rank", "--model", str(model), "--stories", "shipped", "--neutral", "shipped"]
    given = ["--sae", str(sae), "--selectivity.permutations", "64", "--features.no-random-model"]
    assert main([*rank, *given, "--out", str(tmp_path / "run")]) == 0
    summary = pq.read_table(tmp_path / "run" / "selectivity" / "summary.parquet").to_pylist()
    assert len(summary) == 32
    assert all(0 <= row["auroc_confirm"] <= 1 for row in summary if row["auroc_confirm"] is not None)
