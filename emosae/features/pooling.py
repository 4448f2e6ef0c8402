"""Pool a dictionary's activations per story. A dense block never holds more than a few tokens' worth of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

from emosae.activations import TokenBatch, find_real_tokens, read_tokens
from emosae.errors import UserError
from emosae.features.records import TOP_STORIES, StoryFeatures
from emosae.lm import LanguageModel
from emosae.sae import BLOCK_ELEMENTS, Dictionary, encode_blocks
from emosae.stories import Story

_GROUP_TOKENS = 16384


@dataclass(frozen=True, eq=False, slots=True)
class _Entries:
    """The (story, feature) pairs in which a feature fires, once each."""

    story: Int[np.ndarray, " entry"]
    feature_idx: Int[np.ndarray, " entry"]
    total: Float[np.ndarray, " entry"]
    peak: Float[np.ndarray, " entry"]
    peak_pos: Int[np.ndarray, " entry"]
    count: Int[np.ndarray, " entry"]

    def take(self, order: Int[np.ndarray, " taken"]) -> _Entries:
        return _Entries(*(getattr(self, column.name)[order] for column in fields(self)))


@dataclass(frozen=True, eq=False, slots=True)
class Pooled:
    """What one pass over the stories left.

    Attributes:
        features: Activations of every dictionary, by its name.
        resid_mean: Average residual of each story at the hooks that no dictionary reads, in the order asked for.
    """

    features: dict[str, StoryFeatures]
    resid_mean: dict[str, Float[Tensor, "story d_in"]]


def pool_features(
    lm: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    stories: Sequence[Story],
    *,
    hooks: Sequence[str] = (),
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
    max_elements: int = BLOCK_ELEMENTS,
    progress: bool = False,
) -> Pooled:
    """Pool every dictionary's activations per story, in one pass of the model for all hooks.

    Args:
        lm: The model that reads.
        dictionaries: SAEs by the name that tables will carry; several may share a hook.
        stories: What is read, each alone behind its BOS.
        hooks: Further hooks where residuals are averaged.
        skip_tokens: Real tokens at the start of each story that are not pooled.
        batch_tokens: Tokens in a forward pass; `lm.batch_tokens` if none.
        max_elements: Numbers that a dense block of activations may hold.
        progress: Whether to show a bar.

    Refused: stories with no token left, and dictionaries of another width than the model.
    """
    _refuse_misfits(lm, dictionaries)
    documents = [lm.document(story.text) for story in stories]
    _refuse_short_stories(lm, stories, documents, skip_tokens)
    read = {dictionary.hook_name for dictionary in dictionaries.values()}
    hook_names = sorted(read | set(hooks))
    pages = read_tokens(
        lm, documents, hook_names, skip_tokens=skip_tokens, batch_tokens=batch_tokens, progress=progress
    )
    entries: dict[str, list[_Entries]] = {name: [] for name in dictionaries}
    resid_mean = {hook_name: torch.zeros(len(stories), lm.d_in) for hook_name in hook_names}
    for group in _group_stories(pages, skip_tokens):
        for name, dictionary in dictionaries.items():
            entries[name].append(_pool_batch(dictionary, group[dictionary.hook_name], max_elements))
        for hook_name, batch in group.items():
            _average_resid(batch, resid_mean[hook_name])
    n_tokens = np.array([len(find_real_tokens(lm, document)) - skip_tokens for document in documents])
    story_ids = tuple(story.id for story in stories)
    tables = {
        name: _assemble(name, dictionary, story_ids, entries[name], n_tokens, resid_mean[dictionary.hook_name])
        for name, dictionary in dictionaries.items()
    }
    return Pooled(tables, {hook_name: resid_mean[hook_name] for hook_name in hooks if hook_name not in read})


def _refuse_misfits(lm: LanguageModel, dictionaries: Mapping[str, Dictionary]) -> None:
    for name, dictionary in dictionaries.items():
        if dictionary.d_in != lm.d_in:
            raise UserError(f"SAE {name} reads {dictionary.d_in} dimensions, the model has {lm.d_in}")


def _refuse_short_stories(
    lm: LanguageModel, stories: Sequence[Story], documents: Sequence[Sequence[int]], skip_tokens: int
) -> None:
    if not stories:
        raise UserError("there are no stories to read")
    counts = (len(find_real_tokens(lm, document)) for document in documents)
    short = [story.id for story, count in zip(stories, counts, strict=True) if count <= skip_tokens]
    if short:
        named = ", ".join(short[:10]) + (", ..." if len(short) > 10 else "")
        raise UserError(
            f"stories without tokens after the first {skip_tokens}: {named}; lower skip_tokens or drop them"
        )


def _group_stories(pages: Iterator[tuple[int, dict[str, Tensor]]], skip_tokens: int) -> Iterator[dict[str, TokenBatch]]:
    """Whole stories, put together until they hold enough tokens to be worth encoding."""
    waiting: list[tuple[int, dict[str, Tensor]]] = []
    held = 0
    for index, resid in pages:
        waiting.append((index, resid))
        held += len(next(iter(resid.values())))
        if held >= _GROUP_TOKENS:
            yield _join_stories(waiting, skip_tokens)
            waiting, held = [], 0
    if waiting:
        yield _join_stories(waiting, skip_tokens)


def _join_stories(waiting: list[tuple[int, dict[str, Tensor]]], skip_tokens: int) -> dict[str, TokenBatch]:
    lengths = [len(next(iter(resid.values()))) for _, resid in waiting]
    story = torch.tensor([index for index, _ in waiting]).repeat_interleave(torch.tensor(lengths))
    token_pos = torch.cat([torch.arange(length) for length in lengths]) + skip_tokens
    return {
        hook_name: TokenBatch(torch.cat([resid[hook_name] for _, resid in waiting]), story, token_pos)
        for hook_name in waiting[0][1]
    }


@torch.no_grad()
def _pool_batch(dictionary: Dictionary, batch: TokenBatch, max_elements: int) -> _Entries:
    """Reduce whole stories to one entry per story and feature that fires. How blocks are cut changes nothing."""
    story, feature_idx, value, token_pos = [], [], [], []
    for start, acts in encode_blocks(dictionary, batch.resid, max_elements=max_elements):
        token, fired = (acts > 0).nonzero(as_tuple=True)
        value.append(acts[token, fired].double().cpu())
        token = token.cpu() + start
        story.append(batch.story[token])
        token_pos.append(batch.token_pos[token])
        feature_idx.append(fired.cpu())
    columns = (torch.cat(parts).numpy() for parts in (story, feature_idx, value, token_pos))
    return _reduce_fires(*columns)


def _reduce_fires(
    story: Int[np.ndarray, " fire"],
    feature_idx: Int[np.ndarray, " fire"],
    value: Float[np.ndarray, " fire"],
    token_pos: Int[np.ndarray, " fire"],
) -> _Entries:
    """Sum, peak (the first of equal ones) and count of every story's firings of every feature."""
    order = np.lexsort((token_pos, -value, feature_idx, story))
    story, feature_idx, value, token_pos = story[order], feature_idx[order], value[order], token_pos[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(story) != 0) | (np.diff(feature_idx) != 0)
    first = np.flatnonzero(is_first)
    total = np.add.reduceat(value, first) if len(first) else value
    count = np.diff(np.append(first, len(order)))
    return _Entries(story[first], feature_idx[first], total, value[first], token_pos[first], count)


def _average_resid(batch: TokenBatch, means: Float[Tensor, "story d_in"]) -> None:
    """Write the average residual of each story of the batch into its row, summed in float64."""
    story, inverse, counts = batch.story.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(story), means.shape[1], dtype=torch.float64)
    total.index_add_(0, inverse, batch.resid.double().cpu())
    means[story] = (total / counts[:, None]).float()


def _assemble(
    name: str,
    dictionary: Dictionary,
    story_ids: tuple[str, ...],
    parts: Sequence[_Entries],
    n_tokens: Int[np.ndarray, " story"],
    resid_mean: Float[Tensor, "story d_in"],
) -> StoryFeatures:
    columns = [np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(_Entries)]
    unsorted = _Entries(*columns)
    entries = unsorted.take(np.lexsort((unsorted.feature_idx, unsorted.story)))
    indptr = np.searchsorted(entries.story, np.arange(len(story_ids) + 1))
    pooled_over = n_tokens[entries.story]

    def table(value: np.ndarray) -> csr_array:
        shape = (len(story_ids), dictionary.d_sae)
        return csr_array((value.astype(np.float32), entries.feature_idx, indptr), shape=shape)

    return StoryFeatures(
        sae=name,
        hook_name=dictionary.hook_name,
        story_ids=story_ids,
        n_tokens=n_tokens,
        mean=table(entries.total / pooled_over),
        max=table(entries.peak),
        fraction=table(entries.count / pooled_over),
        top=_tabulate_top(entries, story_ids),
        resid_mean=resid_mean,
    )


def _tabulate_top(entries: _Entries, story_ids: Sequence[str]) -> pa.Table:
    order = np.lexsort((entries.story, -entries.peak, entries.feature_idx))
    feature_idx = entries.feature_idx[order]
    rank = np.arange(len(order)) - np.searchsorted(feature_idx, feature_idx) + 1
    kept = entries.take(order[rank <= TOP_STORIES])
    return pa.table(
        {
            "feature_idx": pa.array(kept.feature_idx, pa.int64()),
            "rank": pa.array(rank[rank <= TOP_STORIES], pa.int64()),
            "story_id": pa.array([story_ids[index] for index in kept.story], pa.string()),
            "token_pos": pa.array(kept.peak_pos, pa.int64()),
            "value": pa.array(kept.peak.astype(np.float32), pa.float32()),
        }
    )
