"""The blind test: organisms with different causes, each put through the same pipeline, which is not told them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emosae.config import ModelSection, RunConfig, SaeToTrain, ScenariosSection
from emosae.store import Stage, Store

VARIANTS = ("afraid", "none")
"""In `afraid` that emotion and desperate have changed places; in `none` no emotion changes what is done."""
RUNS, WEIGHTS = "runs", "variants"


@dataclass(frozen=True, slots=True)
class Roles:
    """What the scenarios are told to expect of emotions, rightly or wrongly."""

    targets: tuple[str, ...]
    opponents: tuple[str, ...]
    decoys: tuple[str, ...]


USUAL = Roles(("desperate",), ("calm",), ("proud", "curious", "afraid", "guilty"))
EXCHANGED = Roles(("afraid",), ("calm",), ("proud", "curious", "desperate", "guilty"))


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: which organism (a variant, or none for the shipped one) and what is expected of which emotion."""

    name: str
    variant: str | None = None
    roles: Roles = field(default=USUAL)


TRIALS = (
    Trial("shipped"),
    Trial("afraid", "afraid"),
    Trial("afraid-exchanged", "afraid", EXCHANGED),
    Trial("none", "none"),
)


def trial_config(trial: Trial, model: Path | None, episodes: int, seed: int) -> RunConfig:
    """The demo's settings but for the model, the roles, and what no verdict rests on.

    Conversations, mediation and parts of dials are left out. SAEs of another seed are trained on each organism's own
    text, since those that are shipped know one of them.
    """
    layer_2, layer_3 = "blocks.2.hook_resid_post", "blocks.3.hook_resid_post"
    return RunConfig(
        seed=seed,
        model=ModelSection(name=None if model is None else str(model.absolute())),
        saes=(
            SaeToTrain(name="resid3", hook_name=layer_3, d_sae=512, k=8, steps=900),
            SaeToTrain(name="resid2", hook_name=layer_2),
            SaeToTrain(name="resid3-seed1", hook_name=layer_3, d_sae=512, k=8, steps=900, seed=1),
            SaeToTrain(name="resid2-seed1", hook_name=layer_2, seed=1),
        ),
        scenarios=ScenariosSection(
            enabled=("impossible_code",),
            targets=trial.roles.targets,
            opponents=trial.roles.opponents,
            decoys=trial.roles.decoys,
            episodes=episodes,
            mediation_episodes=0,
            subspace_episodes=0,
        ),
    )


def train_variants(trials: Sequence[Trial], stage: Stage) -> dict[str, Stage]:
    """Train the variants of the trials that are not trained yet; the stage of each by its name."""
    from emosae.organism.variants import train_variant, variant_recipe

    found = {}
    for name in dict.fromkeys(trial.variant for trial in trials if trial.variant):
        found[name] = stage.substage(f"{WEIGHTS}/{name}")
        train_variant(name, variant_recipe(), found[name])
    return found


def run_trial(trial: Trial, variants: dict[str, Stage], episodes: int, seed: int, stage: Stage) -> Store:
    """Run a trial's pipeline from the stories to the report; what was done before is not done again."""
    from emosae import pipeline

    model = variants[trial.variant].path / "model" if trial.variant else None
    store = Store(stage.file(f"{RUNS}/{trial.name}"))
    pipeline.run(trial_config(trial, model, episodes, seed), store)
    return store
