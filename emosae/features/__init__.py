"""What the features do on text: pooled per story, at single tokens, and whether the dictionary fits the text at all."""

from emosae.features.fidelity import check_fidelity, check_saes
from emosae.features.pooling import Pooled, pool_features
from emosae.features.records import TOP_STORIES, StoryFeatures, TokenActs
from emosae.features.tokens import token_acts, token_acts_many

__all__ = [
    "TOP_STORIES",
    "Pooled",
    "StoryFeatures",
    "TokenActs",
    "check_fidelity",
    "check_saes",
    "pool_features",
    "token_acts",
    "token_acts_many",
]
