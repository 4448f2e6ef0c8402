"""What the package ships of the organism: its weights, and two SAEs for other seeds and layers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from emosae.activations import harvest
from emosae.lm import LanguageModel, open_lm
from emosae.organism.corpus import draw_documents
from emosae.organism.evaluation import organism_path
from emosae.organism.truth import Truth, load_truth
from emosae.store import Stage
from emosae.training import SaeTrainSpec, train_sae

SAE_TEXT_SEED = 555_555
SAE_DOCUMENTS = 4000
SHIPPED_SEED = 1
SHIPPED_SAES = (
    SaeTrainSpec(
        model_name="emosae-organism",
        hook_name="blocks.2.hook_resid_post",
        name=f"blocks.2.resid_post.seed{SHIPPED_SEED}",
        seed=SHIPPED_SEED,
        d_sae=1024,
        k=24,
    ),
    SaeTrainSpec(
        model_name="emosae-organism",
        hook_name="blocks.3.hook_resid_post",
        name=f"blocks.3.resid_post.seed{SHIPPED_SEED}",
        seed=SHIPPED_SEED,
        d_sae=512,
        k=8,
    ),
)
"""Layers and widths of the demo's own, of another seed; why so few features fire at layer 3 is in decision 0006."""


def sae_training_documents(lm: LanguageModel, truth: Truth, count: int = SAE_DOCUMENTS) -> list[list[int]]:
    """Fresh documents of the grammar's mix for SAEs to be trained on, as token ids."""
    return [lm.encode(document.text) for document in draw_documents(SAE_TEXT_SEED, count, truth)]


def train_shipped_saes(model: Path, stage: Stage) -> list[Path]:
    """Two SAEs of another seed than the demo's, one per layer."""
    lm = open_lm(model)
    documents = sae_training_documents(lm, load_truth())
    resid = harvest(lm, documents, [spec.hook_name for spec in SHIPPED_SAES], progress=True)
    return [train_sae(resid[spec.hook_name], spec, stage, progress=True) for spec in SHIPPED_SAES]


def ship_organism(model: Path, saes: Sequence[Path]) -> Path:
    """Replace the weights in the package by these."""
    target = organism_path()
    shutil.rmtree(target.parent, ignore_errors=True)
    shutil.copytree(model, target)
    for sae in saes:
        shutil.copytree(sae, target.parent / "saes" / sae.name)
    return target.parent
