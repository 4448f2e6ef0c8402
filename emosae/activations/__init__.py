"""Residual-stream vectors of a model that reads text, in memory, on disk, and as streams of batches."""

from emosae.activations.reading import HARVEST_POLICY, TokenBatch, find_real_tokens, harvest, read_tokens
from emosae.activations.streams import ActivationStream, Cursor, MemoryStream

__all__ = [
    "HARVEST_POLICY",
    "ActivationStream",
    "Cursor",
    "MemoryStream",
    "TokenBatch",
    "find_real_tokens",
    "harvest",
    "read_tokens",
]
