"""Train sparse autoencoders on residuals with sae-lens' trainer and save them in its format."""

from emosae.sae import SaeQuality, evaluate_sae
from emosae.training.checkpoint import CheckpointPolicy, clear_checkpoints
from emosae.training.loop import TrainingDiverged, train_saes
from emosae.training.single import count_held_out, split_held_out, train_sae
from emosae.training.spec import ARCHITECTURES, Architecture, SaeTrainSpec
from emosae.training.world import World

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "CheckpointPolicy",
    "SaeQuality",
    "SaeTrainSpec",
    "TrainingDiverged",
    "World",
    "clear_checkpoints",
    "count_held_out",
    "evaluate_sae",
    "split_held_out",
    "train_sae",
    "train_saes",
]
