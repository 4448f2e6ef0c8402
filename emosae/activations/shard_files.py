"""Activation shards as files: what one is of, what it must look like, and the refusal of any that does not.

A shard is `shard-r-00000.safetensors`, written by task r, and `shard-r-00000.json` beside it, written last: without
that manifest it is not finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emosae.activations.reading import HARVEST_POLICY
from emosae.errors import UserError
from emosae.files import canonical_json, file_hash
from emosae.lm import LanguageModel
from emosae.store import Stage

SHARD_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SHARD_FORMAT = 1
ROW_FACTS = ("token_ids", "story", "token_pos")

_HEADER_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


@dataclass(frozen=True, slots=True)
class ShardSource:
    """What all shards of a folder have in common; it decides every byte of them, on one machine.

    Attributes:
        model: Name or directory of the model.
        revision: Commit on the hub, or "local".
        weight_hash: SHA-256 of the model's weights.
        model_dtype: Type that the model computed in.
        d_in: Width of the residual stream.
        hook_names: Where it was read.
        dtype: Type that residuals are stored in.
        documents: SHA-256 of the token ids of all documents, of every task.
        seed: Decides which documents and rows lie where.
        rows_per_shard: Most rows in a shard.
        batch_tokens: Tokens in a forward pass; it moves the last bits.
        n_tasks: Tasks that the documents are dealt out to.
        policy: Which tokens are rows.
        format: Version of the layout.
    """

    model: str
    revision: str
    weight_hash: str
    model_dtype: str
    d_in: int
    hook_names: tuple[str, ...]
    dtype: str
    documents: str
    seed: int
    rows_per_shard: int
    batch_tokens: int
    n_tasks: int
    policy: str = HARVEST_POLICY
    format: int = SHARD_FORMAT

    def describe(self) -> dict[str, str]:
        """Every attribute in words."""
        return {name: canonical_json(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard, as its manifest describes it.

    Attributes:
        source: What it is of.
        task: Which task wrote it.
        number: Which of the task's shards it is, from 0.
        n_shards: Shards that the task writes.
        rows: Rows that it holds.
        size: Bytes of its file.
        sha256: SHA-256 of its file.
    """

    source: ShardSource
    task: int
    number: int
    n_shards: int
    rows: int
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of its file and of its manifest, without the ending."""
        return shard_name(self.task, self.number)

    def file(self, stage: Stage) -> Path:
        """Where its tensors lie."""
        return stage.file(self.name, ".safetensors")


def shard_name(task: int, number: int) -> str:
    """Name of a shard's file and manifest, without the ending."""
    return f"shard-{task}-{number:05d}"


def describe_model(lm: LanguageModel) -> dict[str, Any]:
    """What tells a model from others, under the names of `ShardSource`."""
    return {"model": lm.name, "revision": lm.revision, "weight_hash": lm.weight_hash, "d_in": lm.d_in}


def describe_file(source: ShardSource, task: int, number: int) -> dict[str, str]:
    """What a shard's own header says of it, so that a file tells where it belongs without its manifest."""
    return source.describe() | {"shard": f"{task}-{number}"}


def find_shards(stage: Stage) -> list[Shard]:
    """The finished shards of a folder by task and number; only manifests are read. Refused: a broken manifest."""
    found = [_read_manifest(stage, path.name) for path in stage.path.glob("shard-*.json")]
    return sorted(found, key=lambda shard: (shard.task, shard.number))


def _read_manifest(stage: Stage, name: str) -> Shard:
    record = stage.read_json(name)
    try:
        source = ShardSource(**record["source"] | {"hook_names": tuple(record["source"]["hook_names"])})
        if not all(isinstance(record[key], int) for key in ("task", "number", "n_shards", "rows", "size")):
            raise TypeError("a number is not one")
        shard = Shard(**record | {"source": source})
    except (TypeError, KeyError) as broken:
        raise UserError(f"{stage.file(name)}: is no manifest of a shard ({broken}); delete it") from broken
    if f"{shard.name}.json" != name:
        raise UserError(f"{stage.file(name)}: is the manifest of {shard.name}; delete it")
    return shard


def refuse_foreign(stage: Stage, shard: Shard, source: ShardSource) -> None:
    """Refuse by name a shard that is of something else: model, revision, hooks, dtype, documents, ..."""
    _refuse_difference(shard.file(stage), shard.source.describe(), source.describe())


def refuse_other_source(stage: Stage, source: ShardSource) -> None:
    """Refuse by name a shard of a folder that is not of `source`, except that it may hold other hooks, too."""
    for shard in find_shards(stage):
        refuse_foreign(stage, shard, replace(source, hook_names=shard.source.hook_names))


def _refuse_difference(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    differing = [f"{key} is {found.get(key)}, not {value}" for key, value in wanted.items() if found.get(key) != value]
    if differing:
        what = "; ".join(differing)
        raise UserError(f"{path}: is not of these shards ({what}); delete {path.stem}.* or use another folder")


def check_shard(stage: Stage, shard: Shard, *, hashes: bool = True) -> None:
    """Refuse by name a file that is not what its manifest says: size and header (what it is of, dtypes, shapes).

    Args:
        stage: The folder.
        shard: What the file should be.
        hashes: Whether to read the whole file and compare its SHA-256 too.
    """
    path = shard.file(stage)
    refuse_other_size(stage, shard)
    metadata, found = _read_header(stage, shard)
    _refuse_difference(path, metadata, describe_file(shard.source, shard.task, shard.number))
    expected = dict(_expected_header(shard))
    if found != expected:
        raise UserError(f"{path}: holds {found}, its manifest says {expected}; delete {path.stem}.*")
    if hashes and file_hash(path) != shard.sha256:
        raise UserError(f"{path}: its bytes have changed; delete it and run task {shard.task} again")


def _read_header(stage: Stage, shard: Shard) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """What the file says it is of, and type and shape of each of its tensors."""
    with open_shard(stage, shard) as file:
        try:
            metadata = dict(json.loads((file.metadata() or {}).get("metadata", "{}")))
        except (TypeError, ValueError) as broken:
            raise UserError(f"{shard.file(stage)}: its header is broken ({broken}); delete it") from broken
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        return metadata, {name: [part.get_dtype(), *part.get_shape()] for name, part in slices.items()}


def _expected_header(shard: Shard) -> Iterator[tuple[str, list[Any]]]:
    for name in shard.source.hook_names:
        yield name, [_HEADER_DTYPES[shard.source.dtype], shard.rows, shard.source.d_in]
    for name in ROW_FACTS:
        yield name, ["I32", shard.rows]


def refuse_other_size(stage: Stage, shard: Shard) -> None:
    """Refuse by name a file that is missing or has not as many bytes as its manifest says."""
    path = shard.file(stage)
    mend = f"run task {shard.task} again"
    if not path.is_file():
        raise UserError(f"{path}: is missing; {mend}")
    if path.stat().st_size != shard.size:
        raise UserError(f"{path}: has {path.stat().st_size} bytes, not {shard.size}; delete it and {mend}")


def open_shard(stage: Stage, shard: Shard) -> Any:
    """A shard's file, mapped: `safetensors.safe_open`. Its tensors are views; what is not looked at is not read."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(shard.file(stage), framework="pt")
    except (SafetensorError, OSError) as broken:
        raise UserError(f"{shard.file(stage)}: not a readable safetensors file ({broken})") from broken
