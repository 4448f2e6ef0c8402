"""Pool a dictionary's activations per story, in bounded memory beside the sparse tables that come out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor

from emosae.activations import TokenBatch, find_real_tokens, read_tokens
from emosae.errors import UserError
from emosae.features.records import StoryFeatures
from emosae.features.story_rows import StoryRow, pool_stories
from emosae.features.strongest import StoryTexts, tabulate_top
from emosae.lm import LanguageModel
from emosae.sae import Dictionary
from emosae.stories import Story

MEMORY_MB = 128.0
_BYTES_PER_ACT = 24
_COPIES = 2

Group = dict[str, TokenBatch]


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
    memory_mb: float = MEMORY_MB,
    progress: bool = False,
) -> Pooled:
    """Pool every dictionary's activations per story, in one pass of the model for all hooks.

    Beside the model's own forward pass and the result, whose size is that of its sparse entries, arrays of at most
    `memory_mb` megabytes are held, however many stories and features there are: one half are residuals that wait,
    the other dense activations of whole stories at some features. A single story at one feature is always held, so
    that a long story can exceed a budget smaller than itself. The budget and `batch_tokens` move results by no more
    than the rounding of a matrix product in float32, under 1e-5 of a number.

    Args:
        lm: The model that reads.
        dictionaries: SAEs by the name that tables will carry; several may share a hook.
        stories: What is read, each alone behind its BOS.
        hooks: Further hooks where residuals are averaged.
        skip_tokens: Real tokens at the start of each story that are not pooled.
        batch_tokens: Tokens in a forward pass; `lm.batch_tokens` if none.
        memory_mb: Budget of temporary memory in units of 2**20 bytes.
        progress: Whether to show a bar.

    Refused: stories with no token left, dictionaries of another width than the model, residuals that are not finite.
    """
    _refuse_misfits(lm, dictionaries)
    documents = [lm.document(story.text) for story in stories]
    _refuse_short_stories(lm, stories, documents, skip_tokens)
    read = {dictionary.hook_name for dictionary in dictionaries.values()}
    hook_names = sorted(read | set(hooks))
    most_tokens, max_elements = share_memory(memory_mb, lm.d_in, len(hook_names))
    pages = read_tokens(
        lm, documents, hook_names, skip_tokens=skip_tokens, batch_tokens=batch_tokens, progress=progress
    )
    rows: dict[str, dict[int, StoryRow]] = {name: {} for name in dictionaries}
    resid_mean = {hook_name: torch.zeros(len(stories), lm.d_in) for hook_name in hook_names}
    for group in _group_stories(pages, skip_tokens, most_tokens):
        for hook_name, batch in group.items():
            _average_resid(batch, resid_mean[hook_name], hook_name, stories)
        for name, dictionary in dictionaries.items():
            rows[name] |= pool_stories(dictionary, group[dictionary.hook_name], max_elements)
    texts = StoryTexts.of(lm, stories, documents, skip_tokens)
    tables = {
        name: _assemble(name, dictionary, rows.pop(name), texts, resid_mean[dictionary.hook_name])
        for name, dictionary in dictionaries.items()
    }
    return Pooled(tables, {hook_name: resid_mean[hook_name] for hook_name in hooks if hook_name not in read})


def share_memory(memory_mb: float, d_in: int, n_hooks: int) -> tuple[int, int]:
    """Tokens that may wait for their dictionaries, and dense activations at a time.

    Half of the memory is for the activations: 24 bytes each, with all that is computed from them. The other half is
    for float32 residuals: one copy for every hook as they come from the model, one as they are joined, and two of one
    hook inside a dictionary. There are never more tokens than would make a square of the activations.
    """
    half = memory_mb * 2**20 / 2
    max_elements = max(1, int(half / _BYTES_PER_ACT))
    fitting = int(half / (4 * d_in * (2 * n_hooks + _COPIES)))
    return max(1, min(fitting, math.isqrt(max_elements))), max_elements


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


def _group_stories(pages: Iterator[tuple[int, dict[str, Tensor]]], skip_tokens: int, most: int) -> Iterator[Group]:
    """Whole stories, together until the next would make them more than `most` tokens; a longer one goes alone."""
    waiting: list[tuple[int, dict[str, Tensor]]] = []
    held = 0
    for index, resid in pages:
        length = len(next(iter(resid.values())))
        if waiting and held + length > most:
            group, waiting, held = _join_stories(waiting, skip_tokens), [], 0
            yield group
        waiting.append((index, resid))
        held += length
    if waiting:
        yield _join_stories(waiting, skip_tokens)


def _join_stories(waiting: list[tuple[int, dict[str, Tensor]]], skip_tokens: int) -> Group:
    lengths = [len(next(iter(resid.values()))) for _, resid in waiting]
    story = torch.tensor([index for index, _ in waiting]).repeat_interleave(torch.tensor(lengths))
    token_pos = torch.cat([torch.arange(length) for length in lengths]) + skip_tokens
    return {
        hook_name: TokenBatch(torch.cat([resid[hook_name] for _, resid in waiting]), story, token_pos)
        for hook_name in waiting[0][1]
    }


def _average_resid(
    batch: TokenBatch, means: Float[Tensor, "story d_in"], hook_name: str, stories: Sequence[Story]
) -> None:
    """Write the average residual of each story of the batch into its row, summed in float64."""
    story, lengths = batch.story.unique_consecutive(return_counts=True)
    for index, resid in zip(story.tolist(), batch.resid.split(lengths.tolist()), strict=True):
        mean = resid.sum(0, dtype=torch.float64) / len(resid)
        if not mean.isfinite().all():
            raise UserError(f"{hook_name}: residuals of story {stories[index].id} are not finite; read in float32")
        means[index] = mean.float().cpu()


def _assemble(
    name: str,
    dictionary: Dictionary,
    rows: Mapping[int, StoryRow],
    texts: StoryTexts,
    resid_mean: Float[Tensor, "story d_in"],
) -> StoryFeatures:
    """One table from the rows of all stories, in their order: nothing is sorted, each number is copied once."""
    ordered = [rows[index] for index in range(len(rows))]
    indptr = np.cumsum([0, *(len(row.feature_idx) for row in ordered)], dtype=np.int64)
    feature_idx = np.concatenate([row.feature_idx for row in ordered])

    def table(column: str) -> csr_array:
        value = np.concatenate([getattr(row, column) for row in ordered])
        return csr_array((value, feature_idx, indptr), shape=(len(ordered), dictionary.d_sae))

    peaks = table("peak")
    peak_pos = np.concatenate([row.peak_row for row in ordered]) + texts.skip_tokens
    return StoryFeatures(
        sae=name,
        hook_name=dictionary.hook_name,
        story_ids=texts.story_ids,
        n_tokens=texts.n_tokens - texts.skip_tokens,
        mean=table("mean"),
        max=peaks,
        fraction=table("fraction"),
        top=tabulate_top(peaks, peak_pos, texts),
        resid_mean=resid_mean,
    )
