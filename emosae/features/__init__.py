"""What the features do on text: pooled per story, at single tokens, and whether the dictionary fits the text at all."""

from emosae.features.fidelity import check_fidelity, check_saes
from emosae.features.firings import measure_firings
from emosae.features.pooling import Pooled, pool_features
from emosae.features.records import TOP_STORIES, StoryFeatures, TokenActs
from emosae.features.spiking import SpikedStories, read_spikable
from emosae.features.tokens import token_acts, token_acts_many
from emosae.features.untrained import pool_untrained

__all__ = [
    "TOP_STORIES",
    "Pooled",
    "SpikedStories",
    "StoryFeatures",
    "TokenActs",
    "check_fidelity",
    "check_saes",
    "measure_firings",
    "pool_features",
    "pool_untrained",
    "read_spikable",
    "token_acts",
    "token_acts_many",
]
