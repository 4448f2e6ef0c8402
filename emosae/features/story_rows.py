"""What a dictionary does on whole stories, one sparse row each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.activations import TokenBatch
from emosae.axes import FeatureActs, FeatureColumns, Resid
from emosae.encoders import Projection, SparseActs
from emosae.sae import Dictionary

Span = tuple[int, int]


@runtime_checkable
class CompetingDictionary(Dictionary, Protocol):
    """A dictionary whose features compete for a few places: a column costs as much as all, but few fire."""

    def encode_sparse(self, resid: Resid, /, *, max_elements: int) -> SparseActs:
        """All that fires, with no more than about `max_elements` dense activations at a time."""
        ...


@runtime_checkable
class ProjectingDictionary(Dictionary, Protocol):
    """A dictionary that gives the products by themselves, so that only features that fire are activated."""

    def project(self, resid: Resid, /, *, width: int) -> Iterator[Projection]:
        """Products with all features, `width` of them after another."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class StoryRow:
    """The features that fire in a story, rising.

    Attributes:
        feature_idx: The feature.
        mean: Average activation over the story's tokens, summed in float64.
        peak: Strongest activation.
        peak_row: The token of the strongest activation, counted from the first that is pooled; of equal ones the first.
        fraction: Share of the story's tokens at which it fires, in (0, 1].
    """

    feature_idx: Int[np.ndarray, " fired"]
    mean: Float[np.ndarray, " fired"]
    peak: Float[np.ndarray, " fired"]
    peak_row: Int[np.ndarray, " fired"]
    fraction: Float[np.ndarray, " fired"]


@torch.no_grad()
def pool_stories(dictionary: Dictionary, batch: TokenBatch, max_elements: int) -> dict[int, StoryRow]:
    """The rows of whole stories, by the index of each.

    Features that stand alone are computed a few columns at a time for all tokens, at most `max_elements` numbers but
    at least one column. Those that compete are found first and then sorted. How blocks are cut changes no firing and,
    but for the noise of a matrix product, no number.
    """
    story, lengths = batch.story.unique_consecutive(return_counts=True)
    stops = lengths.cumsum(0).tolist()
    spans = dict(zip(story.tolist(), zip([0, *stops[:-1]], stops, strict=True), strict=True))
    if isinstance(dictionary, CompetingDictionary):
        return _pool_sparse(dictionary.encode_sparse(batch.resid, max_elements=max_elements), spans, dictionary.d_sae)
    parts: dict[int, list[StoryRow]] = defaultdict(list)
    for projection in _project(dictionary, batch.resid, max(1, max_elements // len(batch.resid))):
        for index, row in _pool_block(projection, spans).items():
            parts[index].append(row)
    return {index: _join_columns(parts[index]) for index in spans}


def _project(dictionary: Dictionary, resid: Resid, width: int) -> Iterator[Projection]:
    """Activations stand in for their own products where a dictionary has no others."""
    if isinstance(dictionary, ProjectingDictionary):
        yield from dictionary.project(resid, width=width)
        return
    for start in range(0, dictionary.d_sae, width):
        columns = slice(start, min(start + width, dictionary.d_sae))
        yield Projection(columns, dictionary.encode(resid, feature_idx=columns), _keep)


def _keep(acts: FeatureActs, _columns: FeatureColumns) -> FeatureActs:
    return acts


def _pool_block(projection: Projection, spans: Mapping[int, Span]) -> dict[int, StoryRow]:
    """The largest product of every story and column first; only columns that fire in a story are activated."""
    largest = torch.stack([projection.hidden_pre[first:stop].amax(0) for first, stop in spans.values()])
    place, column = (projection.activate(largest, projection.columns) > 0).nonzero(as_tuple=True)
    n_fired = place.bincount(minlength=len(spans)).tolist()
    rows = {}
    for (index, (first, stop)), fired in zip(spans.items(), column.split(n_fired), strict=True):
        feature_idx = fired + projection.columns.start
        acts = projection.activate(projection.hidden_pre[first:stop].index_select(1, fired), feature_idx)
        peak = acts.amax(0)
        mean = acts.sum(0, dtype=torch.float64) / len(acts)
        fraction = acts.sign().sum(0, dtype=torch.float32).double() / len(acts)
        rows[index] = _make_row(feature_idx, mean, peak, _find_first(acts, peak), fraction)
    return rows


def _find_first(acts: FeatureActs, peak: Float[Tensor, " d_sae"]) -> Float[Tensor, " d_sae"]:
    """The first token at which each feature has its peak.

    Tokens are numbered downwards and the largest number kept where the peak is: float passes only, no search.
    """
    falling = torch.arange(len(acts), 0, -1, dtype=torch.float32, device=acts.device)
    is_peak = torch.eq(acts, peak, out=torch.empty_like(acts, dtype=torch.float32))
    return len(acts) - is_peak.mul_(falling[:, None]).amax(0)


def _make_row(feature_idx: Tensor, mean: Tensor, peak: Tensor, peak_row: Tensor, fraction: Tensor) -> StoryRow:
    return StoryRow(
        feature_idx=feature_idx.int().cpu().numpy(),
        mean=mean.float().cpu().numpy(),
        peak=peak.float().cpu().numpy(),
        peak_row=peak_row.int().cpu().numpy(),
        fraction=fraction.float().cpu().numpy(),
    )


def _join_columns(parts: Sequence[StoryRow]) -> StoryRow:
    return StoryRow(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(StoryRow)))


def _pool_sparse(acts: SparseActs, spans: Mapping[int, Span], d_sae: int) -> dict[int, StoryRow]:
    token, feature_idx, value = (part.cpu() for part in (acts.token, acts.feature_idx, acts.value))
    cuts = torch.tensor([stop for _, stop in spans.values()])
    edges = [0, *torch.searchsorted(token, cuts).tolist()]
    rows = {}
    for (index, (first, stop)), low, high in zip(spans.items(), edges[:-1], edges[1:], strict=True):
        order = feature_idx[low:high].argsort(stable=True) + low
        fired, place, count = feature_idx[order].unique_consecutive(return_inverse=True, return_counts=True)
        peak = value.new_zeros(len(fired)).scatter_reduce_(0, place, value[order], "amax")
        is_peak = value[order] == peak[place]
        peak_row = token.new_full(fired.shape, stop).scatter_reduce_(0, place[is_peak], token[order][is_peak], "amin")
        total = torch.zeros(len(fired), dtype=torch.float64).index_add_(0, place, value[order].double())
        rows[index] = _make_row(fired, total / (stop - first), peak, peak_row - first, count.double() / (stop - first))
    return rows
