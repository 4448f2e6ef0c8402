"""Input that `emosae rank` cannot use: one line that names it, and nothing in the run directory that looks finished."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CONTEXT, D_IN, save_tiny_model

from emosae.activations import harvest
from emosae.cli import main
from emosae.lm import open_lm
from emosae.store import Stage
from emosae.training import SaeTrainSpec, train_sae

pytestmark = pytest.mark.integration

HOOK = "blocks.2.hook_resid_post"
WORDS = ("a", "cat", "sat", "on", "the", "mat", "and", "dog", "ran", "off", "then", "it", "was", "quiet", "again")
EMOTIONS = ("afraid", "joyful", "sad")
LONG = "word " * 2 * CONTEXT


@dataclass(frozen=True)
class Given:
    """What the verb is given."""

    model: Path
    sae: Path
    rows: list[dict[str, Any]]

    def rank(self, folder: Path) -> int:
        (folder / "stories.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in self.rows))
        files = ["--model", self.model, "--sae", self.sae, "--stories", folder / "stories.jsonl"]
        return main(["rank", *map(str, files), "--out", str(folder / "run"), "--selectivity.permutations", "8"])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder, rng = tmp_path_factory.mktemp("good"), random.Random(0)
    lm = open_lm(save_tiny_model(folder / "model", "llama"))
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(8, 16))) for _ in range(108)]
    spec = SaeTrainSpec(
        model_name="tiny",
        hook_name=HOOK,
        d_sae=32,
        k=4,
        steps=200,
        batch_size=256,
        architecture="standard",
        name="mine",
    )
    resid = harvest(lm, [lm.document(text) for text in texts], [HOOK])[HOOK]
    rows = [
        {"id": f"s{n}", "emotion": EMOTIONS[n % 3], "topic": f"topic {n // 3 % 12}", "text": text}
        for n, text in enumerate(texts)
    ]
    return Given(folder / "model", train_sae(resid, spec, Stage(folder)), rows)


def change_rows(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Callable[[Given, Path], Given]:
    """Every story changed, or left out where the change is None."""
    return lambda given, _: replace(given, rows=[row for row in map(change, map(dict, given.rows)) if row is not None])


def change_story(**fields: Any) -> Callable[[Given, Path], Given]:
    return change_rows(lambda row: row | fields if row["id"] == "s40" else row)


def keep_stories(emotion: str, count: int) -> Callable[[Given, Path], Given]:
    kept = [f"s{EMOTIONS.index(emotion) + 3 * n}" for n in range(count)]
    return change_rows(lambda row: row if row["emotion"] != emotion or row["id"] in kept else None)


def change_weights(what: str, file: str, **change: Any) -> Callable[[Given, Path], Given]:
    """A copy of the model or the SAE with its weights of some names replaced."""

    def changed(given: Given, folder: Path) -> Given:
        copy = Path(shutil.copytree(getattr(given, what), folder / "mine"))
        weights = load_file(copy / file)
        weights |= {name: make(weights[name]) for name, make in change.items()}
        save_file(weights, copy / file, {"format": "pt"})
        return replace(given, **{what: copy})

    return changed


def change_sae_config(**fields: Any) -> Callable[[Given, Path], Given]:
    def changed(given: Given, folder: Path) -> Given:
        copy = Path(shutil.copytree(given.sae, folder / "mine"))
        config = json.loads((copy / "cfg.json").read_text())
        config["metadata"] |= fields
        (copy / "cfg.json").write_text(json.dumps(config))
        return replace(given, sae=copy)

    return changed


def make_wider(given: Given, folder: Path) -> Given:
    """An SAE of another model, with the hook of the same name."""
    resid = torch.randn(400, D_IN + 4, generator=torch.Generator().manual_seed(0))
    spec = SaeTrainSpec(model_name="other", hook_name=HOOK, d_sae=32, k=4, steps=5, batch_size=64, name="mine")
    return replace(given, sae=train_sae(resid, spec, Stage(folder)))


def spoil(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.clone()
    weight.view(-1)[3] = torch.nan
    return weight


REFUSED = {
    "few stories": (keep_stories("joyful", 4), r"fewer than 5 stories .*joyful \(4\)"),
    "one story": (keep_stories("joyful", 1), r"stories\.jsonl: emotions with one story: joyful"),
    "one topic": (
        change_rows(lambda row: row | {"topic": "cats"} if row["emotion"] == "sad" else row),
        r"one topic: sad \(cats\)",
    ),
    "few that fit": (
        change_rows(lambda row: row | {"text": LONG} if row["emotion"] == "sad" and int(row["id"][1:]) > 12 else row),
        r"fewer than 5 stories that can be read: sad \(4\)",
    ),
    "none that fits": (change_rows(lambda row: row | {"text": LONG}), r"that can be read: none: two are needed"),
    "one emotion": (change_rows(lambda row: row | {"emotion": "sad"}), r"stories\.jsonl: .*sad: two are needed"),
    "empty text": (change_story(text=" \n"), r"stories\.jsonl line 41: field 'text' is missing or empty"),
    "no emotion": (change_story(emotion=None), r"stories\.jsonl line 41: field 'emotion' is missing or empty"),
    "the same id": (change_story(id="s7"), r"stories\.jsonl line 41: id 's7' is already used at \S+ line 8"),
    "another width": (make_wider, rf"SAE mine reads {D_IN + 4} dimensions, \S+ has {D_IN}: "),
    "no such hook": (
        change_sae_config(hook_name="blocks.9.hook_resid_post"),
        r"blocks\.9\.hook_resid_post does not exist in \S+: use blocks\.0",
    ),
    "no hook": (change_sae_config(hook_name=None), r"SAE \S+/mine does not say which hook it reads"),
    "NaN in the SAE": (
        change_weights("sae", "sae_weights.safetensors", W_enc=spoil),
        r"SAE \S+/mine has 1 weights in W_enc that are not finite",
    ),
    "NaN in the model": (
        change_weights("model", "model.safetensors", **{"model.layers.1.mlp.up_proj.weight": spoil}),
        r"model \S+/mine cannot be opened: its weights model\.layers\.1\.mlp\.up_proj\.weight are not finite",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_named_in_one_line_and_nothing_looks_finished(
    name: str, good: Given, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bad, named = REFUSED[name]
    assert make_bad(good, tmp_path).rank(tmp_path) == 1
    out, complaint = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in complaint
    [line] = [line for line in complaint.splitlines() if line.startswith("emosae: error: ")]
    assert complaint.endswith(f"{line}\n")
    assert re.search(named, line)
    run = tmp_path / "run"
    assert {path.parent.name for path in run.rglob("stage.json")} <= {"stories"}
    assert list(run.rglob("index.html")) == []


def test_stories_that_are_too_long_are_named_and_left_out(
    good: Given, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert change_story(text=LONG)(good, tmp_path).rank(tmp_path) == 0
    assert f"longer than the {CONTEXT} tokens that the model can read: 1 of 108 texts: s40" in caplog.text
    assert {json.loads(line)["id"] for line in (tmp_path / "run/stories/stories.jsonl").open()} == {
        f"s{n}" for n in range(108) if n != 40
    }
    assert (tmp_path / "run/selectivity/index.html").exists()
