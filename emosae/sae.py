"""The door to sae-lens: open a sparse autoencoder, refuse what it would get wrong, encode, decode, measure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from emosae.axes import Direction, FeatureActs, FeatureIdx, Resid
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.releases import load_release, published_quality

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

    def encode(self, resid: Resid, /, feature_idx: FeatureIdx | None = None) -> FeatureActs:
        """Activations, never negative; 0 means that the feature does not fire. All features, or the named columns."""
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


def _relu_columns(sae: Any, sae_in: Tensor, feature_idx: Tensor) -> Tensor:
    return torch.relu(sae_in @ sae.W_enc[:, feature_idx] + sae.b_enc[feature_idx])


def _jumprelu_columns(sae: Any, sae_in: Tensor, feature_idx: Tensor) -> Tensor:
    hidden_pre = sae_in @ sae.W_enc[:, feature_idx] + sae.b_enc[feature_idx]
    return torch.relu(hidden_pre) * (hidden_pre > sae.threshold[feature_idx])


def _gated_columns(sae: Any, sae_in: Tensor, feature_idx: Tensor) -> Tensor:
    hidden_pre = sae_in @ sae.W_enc[:, feature_idx]
    magnitude = torch.relu(hidden_pre * sae.r_mag[feature_idx].exp() + sae.b_mag[feature_idx])
    return magnitude * (hidden_pre + sae.b_gate[feature_idx] > 0)


# Architectures whose features do not compete, so that a few columns can be computed alone. None: they compete.
_COLUMNS: Mapping[str, Callable[[Any, Tensor, Tensor], Tensor] | None] = {
    "standard": _relu_columns,
    "jumprelu": _jumprelu_columns,
    "gated": _gated_columns,
    "topk": None,
}


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
    def weight_hash(self) -> str:
        """SHA-256 of the weights as they are used, names included."""
        weights = sorted(self.sae.state_dict().items())
        return content_hash(
            *(part for name, weight in weights for part in (name, weight.cpu().float().numpy().tobytes()))
        )

    def encode(self, resid: Resid, /, feature_idx: FeatureIdx | None = None) -> FeatureActs:
        """Activations of all features, or of the named columns in the order in which they are named.

        Columns cost only themselves, except with topk, where every feature competes for its place. They lie where
        the weights do.
        """
        resid = resid.to(self.sae.device)
        if feature_idx is None:
            return self.sae.encode(resid)
        feature_idx = feature_idx.to(resid.device)
        columns = _COLUMNS[self.architecture]
        if columns is None:
            return self.sae.encode(resid)[:, feature_idx]
        return columns(self.sae, self.sae.process_sae_in(resid), feature_idx)

    def decode(self, feature_acts: FeatureActs, /) -> Resid:
        """Residuals rebuilt from activations of all features."""
        return self.sae.decode(feature_acts)

    def direction(self, feature_idx: int, /) -> Direction:
        """decode(e_j) - decode(0), taken from the decoder's row so that no bias cancels in floating point."""
        row = self.sae.W_dec[feature_idx]
        return row / row.norm() if getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False) else row


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
    _refuse_nonfinite(sae, str(source))
    _fold_input_scale(sae, str(source), mean_resid_norm)
    hook_name = hook_name or sae.cfg.metadata.hook_name
    if not hook_name:
        raise UserError(f"SAE {source} does not say which hook it reads: name it with hook_name")
    record = _read_record(path)
    return SaeLensDictionary(
        sae=sae.eval().requires_grad_(False),
        name=name or (path.name if is_folder else str(source)),
        hook_name=hook_name,
        recorded=_quality(record) if is_folder else published_quality(release, sae_id),
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
    if architecture not in _COLUMNS:
        raise UserError(
            f"SAE {source} is a {architecture}: emosae reads {', '.join(_COLUMNS)} (and batchtopk saved as jumprelu)"
        )
    if sae.cfg.reshape_activations != "none":
        raise UserError(f"SAE {source} reads attention heads ({sae.cfg.reshape_activations}), not the residual stream")


def _refuse_nonfinite(sae: Any, source: str) -> None:
    for key, weight in sae.state_dict().items():
        bad = weight.isnan() if key == "threshold" else ~weight.isfinite()  # an infinite threshold: never fires
        if bad.any():
            raise UserError(f"SAE {source} has {int(bad.sum())} weights in {key} that are not finite")


def _fold_input_scale(sae: Any, source: str, mean_resid_norm: float | None) -> None:
    """Absorb a scale of the input into the weights; sae-lens would run such an SAE unscaled, without a word."""
    mode = sae.cfg.normalize_activations
    if mode == "none":
        return
    if mode != "expected_average_only_in":
        raise UserError(f"SAE {source} normalises its input by {mode}, which cannot be folded into its weights")
    if mean_resid_norm is None:
        raise UserError(f"SAE {source} expects scaled input and no scale is saved with it: give mean_resid_norm")
    sae.fold_activation_norm_scaling_factor(math.sqrt(sae.cfg.d_in) / mean_resid_norm)


def _read_record(path: Path) -> dict[str, Any]:
    record = path / RECORD_NAME
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def _quality(record: Mapping[str, Any]) -> dict[str, float]:
    quality = record.get("quality", {})
    return {key: float(quality[key]) for key in ("fvu", "l0") if key in quality}


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
