"""Sums that an SAE's evaluation is made of while text streams by: reconstructions beside residuals, and firings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from emosae.axes import FeatureActs, Resid
from emosae.errors import UserError
from emosae.sae import Dictionary, encode_blocks


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass(slots=True)
class Fit:
    """Reconstructions beside their residuals: sums over tokens, in float64."""

    n_tokens: int = 0
    n_long: int = 0
    error: float = 0.0
    squares: float = 0.0
    dot: float = 0.0
    ratios: float = 0.0
    total: Tensor = field(default_factory=_zero)
    rebuilt_total: Tensor = field(default_factory=_zero)

    def add(self, resid: Resid, rebuilt: Resid) -> None:
        """Count some tokens."""
        resid, rebuilt = resid.double(), rebuilt.double()
        length = resid.norm(dim=1)
        is_long = length > 0
        self.n_tokens += len(resid)
        self.n_long += int(is_long.sum())
        self.error += (rebuilt - resid).square().sum().item()
        self.squares += resid.square().sum().item()
        self.dot += (rebuilt * resid).sum().item()
        self.ratios += (rebuilt.norm(dim=1)[is_long] / length[is_long]).sum().item()
        self.total = self.total + resid.sum(0).cpu()
        self.rebuilt_total = self.rebuilt_total + rebuilt.sum(0).cpu()

    @property
    def variance(self) -> float:
        """Squared distance of the residuals from their mean, summed."""
        return self.squares - self.total.square().sum().item() / max(self.n_tokens, 1)

    @property
    def fvu(self) -> float:
        """As in `SaeQuality`."""
        return self.error / self.variance if self.variance > 0 else math.inf

    @property
    def norm_ratio(self) -> float:
        """Over the tokens whose residual is not zero."""
        return self.ratios / self.n_long if self.n_long else math.nan

    @property
    def slope(self) -> float:
        """Through the origin."""
        return self.dot / self.squares if self.squares > 0 else math.nan

    @property
    def slope_centred(self) -> float:
        """Through the means."""
        covariance = self.dot - (self.total * self.rebuilt_total).sum().item() / max(self.n_tokens, 1)
        return covariance / self.variance if self.variance > 0 else math.nan


class SaeTally:
    """What is counted of one SAE.

    Attributes:
        hook_name: Where it reads.
        fit: How it rebuilds the text.
        by_emotion: How it rebuilds the stories of each emotion.
        fired: Tokens of the text on which each feature fires.
    """

    def __init__(self, dictionary: Dictionary, max_elements: int) -> None:
        self.hook_name = dictionary.hook_name
        self._dictionary, self._max_elements = dictionary, max_elements
        self.fit = Fit()
        self.by_emotion: dict[str, Fit] = defaultdict(Fit)
        self.fired = torch.zeros(dictionary.d_sae, dtype=torch.int64)

    def add(self, resid: Resid) -> Resid:
        """Count some tokens and return their reconstructions."""
        parts = [resid[:0]]
        for part, acts, rebuilt in self._rebuild(resid):
            self.fit.add(part, rebuilt)
            self.fired += (acts > 0).sum(0).cpu()
            parts.append(rebuilt.to(resid))
        if not math.isfinite(self.fit.error + self.fit.squares):
            raise UserError(
                f"SAE {self._dictionary.name} at {self.hook_name}: residuals or reconstructions are not finite; "
                "read in float32"
            )
        return torch.cat(parts)

    def add_story(self, emotion: str, resid: Resid) -> None:
        """Count the tokens of a story, for its emotion alone."""
        for part, _, rebuilt in self._rebuild(resid):
            self.by_emotion[emotion].add(part, rebuilt)

    def _rebuild(self, resid: Resid) -> Iterator[tuple[Resid, FeatureActs, Resid]]:
        for start, acts in encode_blocks(self._dictionary, resid, max_elements=self._max_elements):
            yield resid[start : start + len(acts)].to(acts.device), acts, self._dictionary.decode(acts)
