"""An SAE that does not fit the run's text is refused by the name of its mistake when it is loaded; a good one is not.

The SAEs are trained here on what a tiny model holds while it reads short texts, where a BOS makes a difference.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny_model
from torch import Tensor

from emosae.activations import harvest
from emosae.cli import main
from emosae.errors import UserError
from emosae.features import check_saes
from emosae.features.mistakes import find_mistake
from emosae.lm import LanguageModel, open_lm
from emosae.sae import open_sae
from emosae.store import Stage
from emosae.training import SaeTrainSpec, train_sae

pytestmark = pytest.mark.integration

BEFORE, HOOK, AFTER = (f"blocks.{layer}.hook_resid_post" for layer in (1, 2, 3))
WORDS = (
    "a",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "and",
    "dog",
    "ran",
    "off",
    "then",
    "it",
    "was",
    "all",
    "quiet",
    "again",
)
ARCHITECTURES = ("batchtopk", "standard")


@dataclass(frozen=True)
class World:
    """A model, texts, what it holds at HOOK while it reads them, and SAEs trained on that, by architecture."""

    lm: LanguageModel
    texts: list[str]
    documents: list[list[int]]
    resid: Tensor
    good: dict[str, Path]
    without_bos: dict[str, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, rng = tmp_path_factory.mktemp("world"), random.Random(0)
    lm = open_lm(save_tiny_model(folder / "model", "llama"))
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(2, 4))) for _ in range(500)]
    documents = [lm.document(text) for text in texts]
    resid = harvest(lm, documents, [HOOK])[HOOK]
    bare = harvest(lm, [document[1:] for document in documents], [HOOK])[HOOK]

    def train(rows: Tensor, where: str) -> dict[str, Path]:
        common = {"model_name": "tiny", "hook_name": HOOK, "d_sae": 64, "k": 4, "steps": 200, "batch_size": 256}
        specs = [SaeTrainSpec(**common, architecture=kind, name=kind) for kind in ARCHITECTURES]  # type: ignore[arg-type]
        return {spec.name: train_sae(rows, spec, Stage(folder / where)) for spec in specs}

    return World(lm, texts, documents, resid, train(resid, "good"), train(bare, "bare"))


def load(world: World, path: Path) -> None:
    check_saes(world.lm, {"mine": open_sae(path, name="mine")}, world.documents)


def edited(path: Path, to: Path, **metadata: object) -> Path:
    """A copy of an SAE whose config says something else."""
    shutil.copytree(path, to)
    config = json.loads((to / "cfg.json").read_text())
    config["metadata"] |= metadata
    (to / "cfg.json").write_text(json.dumps(config))
    return to


def unfolded(path: Path, to: Path, factor: float) -> Path:
    """The same SAE as it would have been saved with its input scale, `factor`, left out."""
    from sae_lens import SAE

    shutil.copytree(path, to)
    sae = SAE.load_from_disk(path)
    sae.fold_activation_norm_scaling_factor(1 / factor)
    sae.save_model(to)
    return to


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_good_sae_is_loaded_in_silence(architecture: str, world: World, recwarn: pytest.WarningsRecorder) -> None:
    load(world, world.good[architecture])
    assert not [warning for warning in recwarn.list if "SAE mine" in str(warning.message)]
    assert find_mistake(world.lm, open_sae(world.good[architecture]), world.documents) is None


@pytest.mark.parametrize("wrong", [BEFORE, AFTER])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shifted_layer_is_named(architecture: str, wrong: str, world: World, tmp_path: Path) -> None:
    path = edited(world.good[architecture], tmp_path / "sae", hook_name=wrong)
    with pytest.raises(UserError, match=rf"^SAE mine reads {HOOK} best: .* at {wrong}, .*metadata\.hook_name"):
        load(world, path)


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_wrong_bos_setting_is_named(architecture: str, says: bool, world: World, tmp_path: Path) -> None:
    path = edited(world.without_bos[architecture], tmp_path / "sae", prepend_bos=says)
    with pytest.raises(UserError, match=rf"^SAE mine was trained on text without BOS: .*prepend_bos = {says}\); take"):
        load(world, path)


@pytest.mark.parametrize("about", ["the origin", "the mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_unfolded_scale_is_named(architecture: str, about: str, world: World, tmp_path: Path) -> None:
    centre = world.resid.mean(0) if about == "the mean" else torch.zeros(())
    factor = math.sqrt(world.resid.shape[1]) / (world.resid - centre).norm(dim=1).mean().item()
    path = unfolded(world.good[architecture], tmp_path / "sae", factor)
    with pytest.raises(UserError, match=r"^SAE mine expects scaled residuals: .*fold_activation_norm_scaling_factor"):
        load(world, path)


def test_a_text_that_is_merely_harder_is_no_mistake(world: World, recwarn: pytest.WarningsRecorder) -> None:
    good = open_sae(world.good["batchtopk"], name="mine")
    easier = replace(good, recorded={"fvu": good.recorded["fvu"] / 2, "l0": good.recorded["l0"] / 1.6})
    check_saes(world.lm, {"mine": easier}, world.documents)
    assert not [warning for warning in recwarn.list if "SAE mine" in str(warning.message)]


def test_texts_of_one_token_tell_nothing(world: World) -> None:
    good = open_sae(world.good["batchtopk"], name="mine")
    assert find_mistake(world.lm, replace(good, hook_name=BEFORE), [world.documents[0][:2]]) is None


def test_rank_refuses_it_in_one_line(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = edited(world.good["batchtopk"], tmp_path / "mine", hook_name=BEFORE)
    lines = [
        json.dumps({"id": str(i), "emotion": ("joy", "fear")[i % 2], "topic": f"t{i % 6}", "text": text})
        for i, text in enumerate(dict.fromkeys(world.texts))
    ]
    (tmp_path / "stories.jsonl").write_text("\n".join(lines[:120]))
    args = ["--model", world.lm.name, "--sae", str(path), "--stories", str(tmp_path / "stories.jsonl")]
    assert main(["rank", *args, "--out", str(tmp_path / "run")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"emosae: error: SAE mine reads {HOOK} best: fvu ")
