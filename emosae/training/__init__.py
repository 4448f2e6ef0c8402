"""Train sparse autoencoders on harvested residuals with sae-lens' trainer and save them in its format."""

from emosae.sae import SaeQuality, evaluate_sae
from emosae.training.loop import TrainingDiverged, train_sae
from emosae.training.spec import ARCHITECTURES, Architecture, SaeTrainSpec

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "SaeQuality",
    "SaeTrainSpec",
    "TrainingDiverged",
    "evaluate_sae",
    "train_sae",
]
