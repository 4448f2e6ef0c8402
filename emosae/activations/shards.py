"""Activation shards, written: residuals of a corpus at several hooks, in files that independent tasks make.

Each file holds the same rows at every hook, and for each row `token_ids`, `story` (index of its document) and
`token_pos` (index among the document's real tokens). The documents are put in random order and dealt out to the tasks;
a shard holds whole documents, and its rows lie in random order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from emosae.activations.reading import find_real_tokens, read_tokens
from emosae.activations.shard_files import (
    ROW_FACTS,
    SHARD_DTYPES,
    Shard,
    ShardSource,
    describe_file,
    describe_model,
    find_shards,
    refuse_foreign,
    refuse_other_size,
    shard_name,
)
from emosae.errors import UserError
from emosae.files import PART_SUFFIX, file_hash
from emosae.lm import LanguageModel
from emosae.store import Stage

ROWS_PER_SHARD = 2**17


@dataclass(frozen=True, slots=True)
class _Planned:
    """A shard to be: its place among the task's shards, and the documents that lie in it."""

    source: ShardSource
    task: int
    number: int
    n_shards: int
    chosen: tuple[int, ...]


def write_shards(
    lm: LanguageModel,
    documents: Sequence[Sequence[int]],
    hook_names: Sequence[str],
    stage: Stage,
    *,
    task: int = 0,
    n_tasks: int = 1,
    dtype: str = "bfloat16",
    rows_per_shard: int = ROWS_PER_SHARD,
    seed: int = 0,
    batch_tokens: int = 8192,
    progress: bool = False,
) -> list[Path]:
    """Write one task's part of the corpus, which no other task writes, and return its files; call again after a kill.

    Rows are those of `harvest` in `dtype`, up to the float noise of other batches. Shards that are finished stay as
    they are; the others come out with the same bytes as if there had been no kill. Holds one shard in memory:
    rows_per_shard x (hooks x d_in x bytes of dtype + 12) bytes.

    Args:
        lm: The model.
        documents: Token ids of all documents, the same in every task.
        hook_names: Where to read; one forward pass serves all.
        stage: The folder, the same for every task.
        task: Which part to write, from 0.
        n_tasks: How many parts there are.
        dtype: Type to store: bfloat16, float16 or float32.
        rows_per_shard: Most rows in a shard. Batches are drawn from one shard after the other, so it is also how far
            rows are mixed.
        seed: Decides which documents and rows lie where.
        batch_tokens: Tokens in a forward pass, padding included.
        progress: Whether to show a bar.

    Refused: documents without text, beyond the model's context or longer than a shard; residuals that are not finite
    in `dtype`; a folder that holds shards of anything else; a finished shard whose size has changed.
    """
    _refuse_misuse(hook_names, dtype, task, n_tasks, len(documents))
    source = plan_source(
        lm,
        documents,
        hook_names,
        n_tasks=n_tasks,
        dtype=dtype,
        rows_per_shard=rows_per_shard,
        seed=seed,
        batch_tokens=batch_tokens,
    )
    plan = _plan_shards(lm, documents, source, task)
    finished = _find_finished(stage, source, task)
    for leftover in stage.path.glob(f".shard-{task}-*{PART_SUFFIX}"):
        leftover.unlink()
    n_texts = sum(len(planned.chosen) for planned in plan)
    with tqdm(total=n_texts, desc=f"task {task}", unit="text", disable=not progress) as bar:
        for planned in plan:
            if planned.number in finished:
                bar.update(len(planned.chosen))
            else:
                _save_shard(stage, planned, _read_shard(lm, documents, planned, bar))
    return [stage.file(shard_name(task, planned.number), ".safetensors") for planned in plan]


def plan_source(
    lm: LanguageModel,
    documents: Sequence[Sequence[int]],
    hook_names: Sequence[str],
    *,
    n_tasks: int = 1,
    dtype: str = "bfloat16",
    rows_per_shard: int = ROWS_PER_SHARD,
    seed: int = 0,
    batch_tokens: int = 8192,
) -> ShardSource:
    """What the shards that `write_shards` writes with the same arguments are of; the model does not read for it."""
    return ShardSource(
        **describe_model(lm),
        model_dtype=lm.dtype,
        hook_names=tuple(dict.fromkeys(hook_names)),
        dtype=dtype,
        documents=_hash_documents(documents),
        seed=seed,
        rows_per_shard=rows_per_shard,
        batch_tokens=batch_tokens,
        n_tasks=n_tasks,
    )


def _refuse_misuse(hook_names: Sequence[str], dtype: str, task: int, n_tasks: int, n_documents: int) -> None:
    if not hook_names:
        raise UserError("there is no hook to read: name at least one")
    if dtype not in SHARD_DTYPES:
        raise UserError(f"shards of dtype {dtype!r} do not exist: use one of {', '.join(SHARD_DTYPES)}")
    if not 0 <= task < n_tasks:
        raise UserError(f"task {task} does not exist: with n_tasks {n_tasks} they are 0 to {n_tasks - 1}")
    if n_documents < n_tasks:
        raise UserError(f"{n_documents} documents cannot be dealt out to {n_tasks} tasks: use fewer")


def _hash_documents(documents: Sequence[Sequence[int]]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(len(document).to_bytes(8, "little"))
        digest.update(np.asarray(document, dtype="<i8").tobytes())
    return digest.hexdigest()


def _plan_shards(
    lm: LanguageModel, documents: Sequence[Sequence[int]], source: ShardSource, task: int
) -> list[_Planned]:
    own = np.random.default_rng(source.seed).permutation(len(documents))[task :: source.n_tasks].tolist()
    counts = {index: len(find_real_tokens(lm, documents[index])) for index in own}
    most = source.rows_per_shard
    _refuse("without tokens", [index for index in own if counts[index] == 0])
    _refuse(f"longer than rows_per_shard ({most})", [index for index in own if counts[index] > most])
    too_long = [index for index in own if len(documents[index]) > lm.context]
    _refuse(f"of more than the {lm.context} tokens that {lm.name} can read", too_long)
    shards: list[list[int]] = []
    free = 0
    for index in own:
        if counts[index] > free:
            shards.append([])
            free = most
        shards[-1].append(index)
        free -= counts[index]
    return [_Planned(source, task, number, len(shards), tuple(chosen)) for number, chosen in enumerate(shards)]


def _refuse(what: str, indices: Sequence[int]) -> None:
    if indices:
        raise UserError(f"documents {what}: {sorted(indices)[:10]}{' and more' if len(indices) > 10 else ''}")


def _find_finished(stage: Stage, source: ShardSource, task: int) -> set[int]:
    """Numbers of a task's shards that need not be written; one whose file was deleted does."""
    finished = set()
    for shard in find_shards(stage):
        refuse_foreign(stage, shard, source)
        if shard.task == task and shard.file(stage).exists():
            refuse_other_size(stage, shard)
            finished.add(shard.number)
    return finished


def _read_shard(
    lm: LanguageModel, documents: Sequence[Sequence[int]], planned: _Planned, bar: tqdm[Any]
) -> dict[str, Tensor]:
    """A shard's tensors; each document's rows are put straight to their random places."""
    source, dtype = planned.source, SHARD_DTYPES[planned.source.dtype]
    positions = [find_real_tokens(lm, documents[index]) for index in planned.chosen]
    rows = sum(map(len, positions))
    order = torch.from_numpy(np.random.default_rng([source.seed, planned.task, planned.number]).permutation(rows))
    places = order.split([len(kept) for kept in positions])
    tensors = {name: torch.empty(rows, source.d_in, dtype=dtype) for name in source.hook_names}
    tensors |= {name: torch.empty(rows, dtype=torch.int32) for name in ROW_FACTS}
    texts = [documents[index] for index in planned.chosen]
    for which, resid in read_tokens(lm, texts, source.hook_names, batch_tokens=source.batch_tokens):
        index, place, kept = planned.chosen[which], places[which], positions[which]
        for name, values in resid.items():
            tensors[name][place] = _narrow(values, dtype, f"{name}: residuals of document {index}")
        tensors["token_ids"][place] = torch.tensor([texts[which][pos] for pos in kept], dtype=torch.int32)
        tensors["story"][place] = index
        tensors["token_pos"][place] = torch.arange(len(kept), dtype=torch.int32)
        bar.update()
    return tensors


def _narrow(values: Tensor, dtype: torch.dtype, what: str) -> Tensor:
    """Values in the type of the shard. A sum is asked first: one that is finite has no term that is not."""
    narrow = values.to("cpu", dtype)
    if not narrow.sum(dtype=torch.float32).isfinite() and not narrow.isfinite().all():
        if values.isfinite().all():
            raise UserError(f"{what} are too large for {str(dtype).removeprefix('torch.')}; use bfloat16")
        raise UserError(f"{what} are not finite; read in float32")
    return narrow


def _save_shard(stage: Stage, planned: _Planned, tensors: Mapping[str, Tensor]) -> None:
    source, task, number = planned.source, planned.task, planned.number
    path = stage.write_tensors(shard_name(task, number), tensors, describe_file(source, task, number))
    rows, size = len(tensors["story"]), path.stat().st_size
    shard = Shard(source, task, number, planned.n_shards, rows, size, file_hash(path))
    stage.write_json(shard.name, asdict(shard))
