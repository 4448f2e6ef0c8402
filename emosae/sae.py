"""The door to sae-lens: open a sparse autoencoder, refuse what it would get wrong, encode, decode, measure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from emosae.axes import Direction, FeatureActs, FeatureColumns, Resid
from emosae.encoders import COLUMNS, Projection, SparseActs, encode_top, fold_input_scale, project_columns
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.releases import load_release, published_quality
from emosae.topk_columns import encode_few

RECORD_NAME = "emosae.json"
BLOCK_ELEMENTS = 2**22


@runtime_checkable
class Dictionary(Protocol):
    """What emosae asks of an SAE. The sae-lens adapter and the toy in tests both satisfy it."""

    @property
    def name(self) -> str:
        """Name that tables and pages use."""
        ...

    @property
    def hook_name(self) -> str:
        """Published name of the place in the model whose residuals it reads."""
        ...

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def d_sae(self) -> int:
        """Number of features."""
        ...

    def encode(self, resid: Resid, /, feature_idx: FeatureColumns | None = None) -> FeatureActs:
        """Activations of all features, of named columns or of a range: never negative; at 0 it does not fire."""
        ...

    def decode(self, feature_acts: FeatureActs, /) -> Resid:
        """Residuals rebuilt from activations of all features."""
        ...

    def direction(self, feature_idx: int, /) -> Direction:
        """decode(e_j) - decode(0): what one unit of the feature adds, in residual units."""
        ...


@dataclass(frozen=True, slots=True)
class SaeQuality:
    """How well a dictionary rebuilds some residuals.

    Attributes:
        fvu: Squared error over squared distance from the mean: 0 is exact, 1 is no better than the mean, and
            there is no upper end.
        l0: Features that fire on a token, on average.
        dead_fraction: Share of features that fire on none of these tokens, in [0, 1]; with few tokens also
            merely rare features count.
        mean_resid_norm: Average length of a residual, the unit in which doses are reported.
        n_tokens: Tokens measured.
    """

    fvu: float
    l0: float
    dead_fraction: float
    mean_resid_norm: float
    n_tokens: int


@dataclass(frozen=True, eq=False, slots=True)
class SaeLensDictionary:
    """A sae-lens SAE with a linear decoder and activations that are never negative.

    Attributes:
        recorded: `fvu` and `l0` that whoever trained it wrote down; empty if nobody did.
        spec: What emosae was asked to train, if it did.
    """

    sae: Any
    name: str
    hook_name: str
    recorded: Mapping[str, float] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        return self.sae.cfg.d_in

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.sae.cfg.d_sae

    @property
    def architecture(self) -> str:
        """sae-lens' name: standard, jumprelu (also what batchtopk is saved as), gated or topk."""
        return self.sae.cfg.architecture()

    @property
    def prepend_bos(self) -> bool | None:
        """Whether it was trained on text behind BOS, by its own config; None if that does not say."""
        return self.sae.cfg.metadata.prepend_bos

    @property
    def neuronpedia_id(self) -> str:
        """Where its features are shown on Neuronpedia, as model/layer-source; empty if nowhere."""
        return self.sae.cfg.metadata.neuronpedia_id or ""

    @property
    def weight_hash(self) -> str:
        """SHA-256 of the weights as they are used, names included."""
        weights = sorted(self.sae.state_dict().items())
        return content_hash(
            *(part for name, weight in weights for part in (name, weight.cpu().float().numpy().tobytes()))
        )

    def encode(self, resid: Resid, /, feature_idx: FeatureColumns | None = None) -> FeatureActs:
        """Activations of all features, of the named columns in the order in which they are named, or of a range.

        Columns cost only themselves, except with topk, where every feature competes for its place. They lie where
        the weights do.
        """
        resid = resid.to(self.sae.device)
        if feature_idx is None:
            return self.sae.encode(resid)
        if isinstance(feature_idx, Tensor):
            feature_idx = feature_idx.to(resid.device)
        encoder = COLUMNS[self.architecture]
        if encoder is None:
            return self.sae.encode(resid)[:, feature_idx]
        hidden_pre = encoder.project(self.sae, self.sae.process_sae_in(resid), feature_idx)
        return encoder.activate(self.sae, hidden_pre, feature_idx)

    def project(self, resid: Resid, /, *, width: int) -> Iterator[Projection]:
        """Products with `width` features after another; not for topk, whose features compete."""
        return project_columns(self.sae, resid.to(self.sae.device), width)

    def decode(self, feature_acts: FeatureActs, /) -> Resid:
        """Residuals rebuilt from activations of all features."""
        return self.sae.decode(feature_acts)

    def direction(self, feature_idx: int, /) -> Direction:
        """decode(e_j) - decode(0), taken from the decoder's row so that no bias cancels in floating point."""
        row = self.sae.W_dec[feature_idx]
        return row / row.norm() if getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False) else row


class TopKDictionary(SaeLensDictionary):
    """A sae-lens SAE in which the k strongest features fire on a token, if they are above 0."""

    __slots__ = ()

    def encode(self, resid: Resid, /, feature_idx: FeatureColumns | None = None) -> FeatureActs:
        """Activations as in other SAEs; a few named features cost little where they do not fire."""
        if not isinstance(feature_idx, Tensor):
            return super().encode(resid, feature_idx)
        sae_in = self.sae.process_sae_in(resid.to(self.sae.device))
        return encode_few(self.sae, sae_in, feature_idx.to(sae_in.device))

    def encode_sparse(self, resid: Resid, /, *, max_elements: int) -> SparseActs:
        """All that fires, with about `max_elements` dense activations at a time, however many features there are."""
        sae, sae_in = self.sae, self.sae.process_sae_in(resid.to(self.sae.device))
        factor = sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else None
        return encode_top(sae_in, sae.W_enc, sae.b_enc, k=sae.cfg.k, factor=factor, max_elements=max_elements)


def open_sae(
    source: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    name: str | None = None,
    hook_name: str | None = None,
    mean_resid_norm: float | None = None,
) -> SaeLensDictionary:
    """Open an SAE from a directory in sae-lens' format or from a published "release:id".

    Args:
        source: Directory, or release and id with a colon between them.
        device: Where its weights live.
        dtype: Type of its weights and activations.
        name: What tables and pages call it; the folder's name or "release:id" if None.
        hook_name: Only for an SAE whose own config does not say where it belongs.
        mean_resid_norm: Average residual norm at its hook, to fold into an SAE that expects scaled input and
            was saved without the scale.

    Refused: transcoders, attention-head SAEs, signed or sequential codes, input normalisation that is not a plain
    scale, and weights that are not finite.
    """
    path, is_folder = Path(source), Path(source).is_dir()
    release, _, sae_id = str(source).partition(":")
    sae = _load(str(source), device, dtype)
    _refuse_unfit(sae, str(source))
    fold_input_scale(sae, str(source), mean_resid_norm)
    hook_name = hook_name or sae.cfg.metadata.hook_name
    if not hook_name:
        raise UserError(f"SAE {source} does not say which hook it reads: name it with hook_name")
    record = _read_record(path)
    recorded = {key: float(value) for key, value in record.get("quality", {}).items() if key in ("fvu", "l0")}
    kind = TopKDictionary if sae.cfg.architecture() == "topk" else SaeLensDictionary
    return kind(
        sae=sae.eval().requires_grad_(False),
        name=name or (path.name if is_folder else str(source)),
        hook_name=hook_name,
        recorded=recorded if is_folder else published_quality(release, sae_id),
        spec=record.get("spec", {}),
    )


def _load(source: str, device: str, dtype: str) -> Any:
    path, (release, _, sae_id) = Path(source), source.partition(":")
    if path.is_dir():
        missing = [name for name in ("cfg.json", "sae_weights.safetensors") if not (path / name).is_file()]
        if missing:
            raise UserError(f"{path} is no SAE in sae-lens' format: it has no {' and no '.join(missing)}")
    elif not (release and sae_id):
        raise UserError(f"SAE {source} is neither a directory nor a published release:id")
    from sae_lens import SAE
    from safetensors import SafetensorError

    try:
        if path.is_dir():
            return SAE.load_from_disk(path, device=device, dtype=dtype)
        return load_release(release, sae_id, device=device, dtype=dtype)
    except (KeyError, ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"SAE {source} cannot be loaded: {reason}") from error


def _refuse_unfit(sae: Any, source: str) -> None:
    architecture = sae.cfg.architecture()
    if architecture not in COLUMNS:
        raise UserError(
            f"SAE {source} is a {architecture}: emosae reads {', '.join(COLUMNS)} (and batchtopk saved as jumprelu)"
        )
    if sae.cfg.reshape_activations != "none":
        raise UserError(f"SAE {source} reads attention heads ({sae.cfg.reshape_activations}), not the residual stream")
    for key, weight in sae.state_dict().items():
        bad = weight.isnan() if key == "threshold" else ~weight.isfinite()  # an infinite threshold: never fires
        if bad.any():
            raise UserError(f"SAE {source} has {int(bad.sum())} weights in {key} that are not finite")


def _read_record(path: Path) -> dict[str, Any]:
    record = path / RECORD_NAME
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def encode_blocks(
    dictionary: Dictionary, resid: Resid, *, max_elements: int = BLOCK_ELEMENTS
) -> Iterator[tuple[int, FeatureActs]]:
    """All activations, a few tokens at a time: the index of a block's first token, and the block.

    A block holds at most `max_elements` numbers (and at least one token), however many features there are.
    """
    rows = max(1, max_elements // dictionary.d_sae)
    for start in range(0, len(resid), rows):
        yield start, dictionary.encode(resid[start : start + rows])


@torch.no_grad()
def evaluate_sae(dictionary: Dictionary, resid: Resid, *, max_elements: int = BLOCK_ELEMENTS) -> SaeQuality:
    """Measure a dictionary on residuals, summing in float64."""
    if len(resid) == 0:
        raise UserError(f"SAE {dictionary.name}: no residuals to measure it on")
    error = norm = fired = 0.0
    squares, total = 0.0, torch.zeros(dictionary.d_in, dtype=torch.float64)
    alive = torch.zeros(dictionary.d_sae, dtype=torch.bool)
    for start, acts in encode_blocks(dictionary, resid, max_elements=max_elements):
        block = resid[start : start + len(acts)].to(acts.device).double()
        error += (dictionary.decode(acts).double() - block).square().sum().item()
        squares += block.square().sum().item()
        norm += block.norm(dim=1).sum().item()
        total += block.sum(0).cpu()
        fired += (acts > 0).sum().item()
        alive |= (acts > 0).any(0).cpu()
    n_tokens = len(resid)
    variance = squares - total.square().sum().item() / n_tokens
    fvu = error / variance if variance > 0 else math.inf
    dead_fraction = 1 - alive.sum().item() / dictionary.d_sae
    return SaeQuality(fvu, fired / n_tokens, dead_fraction, norm / n_tokens, n_tokens)
