"""What sae-lens' encoders compute, in parts: a few columns alone, or the few activations that competition leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.axes import FeatureActs, FeatureColumns, FeatureIdx, Resid
from emosae.errors import UserError

GROUP = 32
_COLUMNS_PER_PLACE = 128
_ROWS = 256
_ENCODER = ("W_enc", "b_enc", "threshold", "r_mag", "b_mag", "b_gate")


@dataclass(frozen=True, eq=False, slots=True)
class SparseActs:
    """The activations that are not 0, once each, tokens rising.

    Attributes:
        token: Row of the residual.
        feature_idx: The feature.
        value: Its activation, above 0.
    """

    token: Int[Tensor, " n"]
    feature_idx: Int[Tensor, " n"]
    value: Float[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class ColumnEncoder:
    """How an architecture computes a few columns alone.

    Attributes:
        project: The product with the encoder's columns, and what is added to it first.
        activate: Activations of such products, as in `Projection`.
    """

    project: Callable[[Any, Resid, FeatureColumns], FeatureActs]
    activate: Callable[[Any, FeatureActs, FeatureColumns], FeatureActs]


def _project_biased(sae: Any, sae_in: Resid, columns: FeatureColumns) -> FeatureActs:
    return torch.addmm(sae.b_enc[columns], sae_in, sae.W_enc[:, columns])


def _project(sae: Any, sae_in: Resid, columns: FeatureColumns) -> FeatureActs:
    return sae_in @ sae.W_enc[:, columns]


def _rectify(sae: Any, hidden_pre: FeatureActs, columns: FeatureColumns) -> FeatureActs:
    return hidden_pre.relu_()


def _jump(sae: Any, hidden_pre: FeatureActs, columns: FeatureColumns) -> FeatureActs:
    """Compared into floats, which takes a tenth of the time of a mask."""
    fires = torch.gt(hidden_pre, sae.threshold[columns].clamp(min=0), out=torch.empty_like(hidden_pre))
    return hidden_pre.mul_(fires)


def _gate(sae: Any, hidden_pre: FeatureActs, columns: FeatureColumns) -> FeatureActs:
    magnitude = torch.relu(hidden_pre * sae.r_mag[columns].exp() + sae.b_mag[columns])
    return magnitude * (hidden_pre + sae.b_gate[columns] > 0)


COLUMNS: Mapping[str, ColumnEncoder | None] = {
    "standard": ColumnEncoder(_project_biased, _rectify),
    "jumprelu": ColumnEncoder(_project_biased, _jump),
    "gated": ColumnEncoder(_project, _gate),
    "topk": None,
}
"""By architecture, how a few columns are computed alone; None where all features compete for their places."""


def narrow_columns(sae: Any, feature_idx: FeatureIdx) -> Callable[[Resid], FeatureActs] | None:
    """Activations of a few features, for many calls; None where all features compete.

    Their weights are copied side by side, as they are now: in the whole matrix a column's numbers lie a row apart, and
    gathering one of 16,384 costs more than the product with it.
    """
    encoder = COLUMNS[sae.cfg.architecture()]
    if encoder is None:
        return None
    columns, every = feature_idx.to(sae.W_enc.device), slice(None)
    found = {name: weight for name in _ENCODER if (weight := getattr(sae, name, None)) is not None}
    copied = SimpleNamespace(**{name: weight.detach()[..., columns] for name, weight in found.items()})

    def encode(resid: Resid) -> FeatureActs:
        hidden_pre = encoder.project(copied, sae.process_sae_in(resid.to(sae.device)), every)
        return encoder.activate(copied, hidden_pre, every)

    return encode


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """Products of tokens with a range of features that do not compete.

    Attributes:
        columns: The features.
        hidden_pre: The products.
        activate: Activations of some products, which it may overwrite, with the features named second. An activation
            never falls as its product rises, in floating point too, so the largest product of some tokens tells
            whether the feature fires on any.
    """

    columns: slice
    hidden_pre: FeatureActs
    activate: Callable[[FeatureActs, FeatureColumns], FeatureActs]


def project_columns(sae: Any, resid: Resid, width: int) -> Iterator[Projection]:
    """Products with all features, `width` of them after another."""
    encoder = COLUMNS[sae.cfg.architecture()]
    if encoder is None:
        raise UserError(f"features of a {sae.cfg.architecture()} SAE compete: none is computed alone")
    sae_in = sae.process_sae_in(resid)
    for start in range(0, sae.cfg.d_sae, width):
        columns = slice(start, min(start + width, sae.cfg.d_sae))
        yield Projection(columns, encoder.project(sae, sae_in, columns), partial(encoder.activate, sae))


@torch.no_grad()
def encode_top(
    sae_in: Resid,
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    *,
    k: int,
    factor: Float[Tensor, " d_sae"] | None = None,
    max_elements: int,
) -> SparseActs:
    """What a topk encoder leaves, with no more than `max_elements` numbers of its dense activations at a time.

    The columns are computed in blocks, and the k largest of each block are put beside the k largest so far. A block
    has at least one token, and 64 columns or more for each of the k where there are as many. Blocks are equally wide
    and whole groups of `top_per_row`, which is slow on others.

    Args:
        sae_in: Residuals as the product takes them.
        W_enc: Of the encoder.
        b_enc: Of the encoder.
        k: Features that may fire on a token; they do if they are above 0.
        factor: What each activation is multiplied by before they compete.
        max_elements: Numbers in a block.
    """
    n_blocks = math.ceil(W_enc.shape[1] / max(_COLUMNS_PER_PLACE * k, max_elements // _ROWS))
    width = min(W_enc.shape[1], GROUP * math.ceil(W_enc.shape[1] / (n_blocks * GROUP)))
    n_rows, start, parts = max(1, max_elements // width), 0, []
    for rows in sae_in.split(n_rows):
        largest, columns = rows.new_empty(len(rows), 0), rows.new_empty(len(rows), 0, dtype=torch.long)
        for first in range(0, W_enc.shape[1], width):
            block = slice(first, first + width)
            hidden_pre = torch.addmm(b_enc[block], rows, W_enc[:, block])
            if factor is not None:
                hidden_pre *= factor[block]
            found, places = top_per_row(hidden_pre, min(k, hidden_pre.shape[1]))
            largest, columns = torch.cat([largest, found], 1), torch.cat([columns, places + first], 1)
            if largest.shape[1] > k:
                largest, kept = largest.topk(k, dim=1, sorted=False)
                columns = columns.gather(1, kept)
        row, place = (largest > 0).nonzero(as_tuple=True)
        parts.append((row + start, columns[row, place], largest[row, place]))
        start += len(rows)
    return SparseActs(*(torch.cat(column) for column in zip(*parts, strict=True)))


def top_per_row(
    values: Float[Tensor, "row column"], k: int, group: int = GROUP
) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """The `k` largest values of each row and their columns, in no order; the same values as `torch.topk`.

    Columns are looked at in groups of 32. At most `k` groups hold one of the `k` largest, and they are the `k` groups
    with the largest maxima, so only those are searched: at 8,192 columns and k 32 an eighth of the whole. These are
    searched in the same way, by smaller groups. A group's columns lie far apart, so that maxima run along the rows.
    """
    n_rows, n_columns = values.shape
    n_groups = n_columns // max(group, 1)
    if group < 2 or n_columns % group or n_groups <= 2 * k:
        found = values.topk(k, dim=1, sorted=False)
        return found.values, found.indices
    grouped = values.view(n_rows, group, n_groups)
    groups = grouped.amax(dim=1).topk(k, dim=1, sorted=False).indices
    searched = grouped.gather(2, groups[:, None, :].expand(-1, group, -1)).view(n_rows, group * k)
    largest, places = top_per_row(searched, k, group // 4)
    columns = places // k * n_groups + groups.gather(1, places % k)
    return largest, columns


def fold_input_scale(sae: Any, source: str, mean_resid_norm: float | None) -> None:
    """Absorb a scale of the input into the weights; sae-lens would run such an SAE unscaled, without a word."""
    mode = sae.cfg.normalize_activations
    if mode == "none":
        return
    if mode != "expected_average_only_in":
        raise UserError(f"SAE {source} normalises its input by {mode}, which cannot be folded into its weights")
    if mean_resid_norm is None:
        raise UserError(f"SAE {source} expects scaled input and no scale is saved with it: give mean_resid_norm")
    sae.fold_activation_norm_scaling_factor(math.sqrt(sae.cfg.d_in) / mean_resid_norm)
