"""A variant is trained once, goes on after a kill, and is taken for an organism by a run that is told its folder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import emosae.organism.recipe as recipes
import emosae.organism.variants as variants
from emosae.config import ModelSection, RunConfig, TrainingSection
from emosae.organism.coding_format import OrganismCodeFormat
from emosae.organism.corpus import draw_documents
from emosae.organism.recipe import Recipe
from emosae.organism.shipping import SAE_TEXT_SEED
from emosae.organism.truth import load_truth
from emosae.pipeline.inputs import Inputs
from emosae.store import Stage, Store

pytestmark = pytest.mark.integration


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Four steps on two documents each, judged by few."""
    monkeypatch.setattr(variants, "calibrate", partial(variants.calibrate, transcripts=4))
    monkeypatch.setattr(recipes, "validation_loss", lambda *_: 0.0)
    return replace(variants.variant_recipe(steps=4), documents_per_step=2, checkpoint_every=1)


def test_a_killed_training_ends_with_the_weights_of_a_quiet_one_and_is_not_done_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, killed = Stage(tmp_path / "quiet"), Stage(tmp_path / "killed")
    variants.train_variant("afraid", recipe, quiet, progress=False)
    steps, real = [], recipes._train_step

    def train_step(*args) -> float:
        steps.append(args[-1])
        if len(steps) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(recipes, "_train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        variants.train_variant("afraid", recipe, killed, progress=False)
    variants.train_variant("afraid", recipe, killed, progress=False)
    assert steps == [0, 1, 2, 2, 3]
    variants.train_variant("afraid", recipe, killed, progress=False)
    assert steps == [0, 1, 2, 2, 3]
    one, other = (stage.substage("model").read_tensors("model") for stage in (quiet, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    variants.train_variant("none", recipe, killed, progress=False)
    assert steps == [0, 1, 2, 2, 3, 0, 1, 2, 3]


def test_a_run_that_is_told_a_variants_folder_knows_it_for_an_organism(recipe: Recipe, tmp_path: Path) -> None:
    model = variants.train_variant("none", recipe, Stage(tmp_path / "variant"), progress=False)
    few = TrainingSection(documents=200)
    shipped = Inputs(RunConfig(training=few), Store(tmp_path / "shipped"))
    inputs = Inputs(RunConfig(training=few, model=ModelSection(name=str(model))), Store(tmp_path / "run"))
    assert inputs.truth == load_truth("none")
    assert shipped.truth == load_truth()
    assert isinstance(inputs.code_format, OrganismCodeFormat)
    assert inputs.model_title == "a variant of the embedded organism"
    assert inputs.lm.weight_hash != shipped.lm.weight_hash
    draws = draw_documents(SAE_TEXT_SEED, 200, load_truth("none"))
    own = [inputs.lm.encode(document.text) for document in draws]
    assert inputs.sae_documents() == own
    assert shipped.sae_documents() != own
