"""Features that read as ever and write elsewhere: a part of what they write, or as much of it along another line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from emosae.axes import Direction, FeatureActs, FeatureColumns, Resid
from emosae.files import content_hash
from emosae.sae import Dictionary


@dataclass(frozen=True, eq=False, slots=True)
class Redirected:
    """A dictionary some of whose features write along given directions; activations are the dictionary's own.

    An operation on such a feature adds `(value - act) * given` where it would have added `(value - act) * d_j`. So the
    same operation through two of these, whose directions sum to `d_j`, adds together what it adds through the
    dictionary.

    Attributes:
        dictionary: What encodes.
        directions: By feature, in residual units; the others write as ever.
    """

    dictionary: Dictionary
    directions: Mapping[int, Direction]

    @property
    def name(self) -> str:
        """The dictionary's name with a hash of the directions, since saved arms are told apart by it."""
        parts = [(index, row.detach().cpu().float().numpy().tobytes()) for index, row in self.directions.items()]
        return f"{self.dictionary.name}/{content_hash(*(part for pair in parts for part in pair))[:12]}"

    @property
    def hook_name(self) -> str:
        """The dictionary's."""
        return self.dictionary.hook_name

    @property
    def d_in(self) -> int:
        """The dictionary's."""
        return self.dictionary.d_in

    @property
    def d_sae(self) -> int:
        """The dictionary's."""
        return self.dictionary.d_sae

    def encode(self, resid: Resid, /, feature_idx: FeatureColumns | None = None) -> FeatureActs:
        """The dictionary's activations."""
        return self.dictionary.encode(resid, feature_idx)

    def decode(self, feature_acts: FeatureActs, /) -> Resid:
        """What the dictionary rebuilds, with the features' own directions exchanged for the given ones."""
        columns = list(self.directions)
        moved = torch.stack([self.directions[j] - self.dictionary.direction(j) for j in columns])
        return self.dictionary.decode(feature_acts) + feature_acts[:, columns] @ moved

    def direction(self, feature_idx: int, /) -> Direction:
        """The given direction, or the dictionary's where none is given."""
        given = self.directions.get(feature_idx)
        return self.dictionary.direction(feature_idx) if given is None else given
