"""Residual-stream vectors of a model that reads text, in memory, on disk, and as streams of batches."""

from emosae.activations.reading import HARVEST_POLICY, TokenBatch, find_real_tokens, harvest, read_tokens
from emosae.activations.shard_files import SHARD_DTYPES, Shard, ShardSource, find_shards, refuse_other_source
from emosae.activations.shard_stream import ShardStream
from emosae.activations.shards import ROWS_PER_SHARD, plan_source, write_shards
from emosae.activations.streams import ActivationStream, Cursor, MemoryStream

__all__ = [
    "HARVEST_POLICY",
    "ROWS_PER_SHARD",
    "SHARD_DTYPES",
    "ActivationStream",
    "Cursor",
    "MemoryStream",
    "Shard",
    "ShardSource",
    "ShardStream",
    "TokenBatch",
    "find_real_tokens",
    "find_shards",
    "harvest",
    "plan_source",
    "read_tokens",
    "refuse_other_source",
    "write_shards",
]
