"""What the package ships of the organism: its weights, and two SAEs for other seeds and layers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from emosae.activations import harvest
from emosae.lm import LanguageModel, open_lm
from emosae.organism.corpus import draw_documents
from emosae.organism.evaluation import organism_path
from emosae.store import Stage
from emosae.training import SaeTrainSpec, train_sae

SAE_TEXT_SEED = 555_555
SAE_DOCUMENTS = 4000
SHIPPED_HOOKS = ("blocks.2.hook_resid_post", "blocks.3.hook_resid_post")
SHIPPED_SEED = 1


def sae_training_documents(lm: LanguageModel, count: int = SAE_DOCUMENTS) -> list[list[int]]:
    """Fresh documents of the grammar's mix for SAEs to be trained on, as token ids."""
    return [lm.encode(document.text) for document in draw_documents(SAE_TEXT_SEED, count)]


def train_shipped_saes(model: Path, stage: Stage) -> list[Path]:
    """Two SAEs of another seed than the demo's, one per layer."""
    lm = open_lm(model)
    resid = harvest(lm, sae_training_documents(lm), SHIPPED_HOOKS, progress=True)
    return [
        train_sae(
            resid[hook],
            SaeTrainSpec(
                model_name="emosae-organism",
                hook_name=hook,
                name=f"{hook.replace('.hook_', '.')}.seed{SHIPPED_SEED}",
                seed=SHIPPED_SEED,
                d_sae=1024,
                k=24,
            ),
            stage,
            progress=True,
        )
        for hook in SHIPPED_HOOKS
    ]


def ship_organism(model: Path, saes: Sequence[Path]) -> Path:
    """Replace the weights in the package by these."""
    target = organism_path()
    shutil.rmtree(target.parent, ignore_errors=True)
    shutil.copytree(model, target)
    for sae in saes:
        shutil.copytree(sae, target.parent / "saes" / sae.name)
    return target.parent
