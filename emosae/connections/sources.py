"""What may turn a feature on, tokens or features of an earlier layer: proposed on some stories, cut in the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosae.atlas.concepts import name_node
from emosae.axes import Direction
from emosae.connections.cutting import Probe, cut_features, cut_tokens
from emosae.connections.gradients import Slope
from emosae.connections.links import Drops
from emosae.connections.targets import Excerpt
from emosae.sae import Dictionary

CONTROL_POOL = 10
"""Features nearest in size among which controls are drawn."""


def is_choosing(index: int) -> bool:
    """Whether an excerpt chooses sources; else it measures them. Excerpts come with the strongest first."""
    return index % 2 == 0


class TokenSources:
    """Tokens by their text, whatever the places where they stand."""

    def __init__(self, probe: Probe, excerpts: Sequence[Excerpt], embedding: Direction) -> None:
        self._probe, self._excerpts, self._embedding = probe, excerpts, embedding
        self._shares: list[dict[int, float]] = [{} for _ in excerpts]

    def read(self, index: int, slope: Slope) -> None:
        """Take the attributions in one excerpt."""
        excerpt = self._excerpts[index]
        along = slope.gradient * (slope.resid - self._embedding.to(slope.resid))
        shares: dict[int, float] = defaultdict(float)
        for pos, value in enumerate(along.double().sum(dim=1).tolist()):
            if self._is_text(excerpt, pos):
                shares[excerpt.ids[pos]] += value / excerpt.activation
        self._shares[index] = dict(shares)

    def confirm(self, top: int, n_controls: int, rng: np.random.Generator) -> list[Drops]:
        """Cut the best tokens in the stories that measure, and as many other tokens beside them."""
        cuts: list[tuple[Excerpt, list[int]]] = []
        plans: list[tuple[int, list[tuple[int, int, list[int]]]]] = []
        for token_id in self._choose(top):
            planned = []
            for index in self._measuring():
                here, others = self._find(index, token_id)
                if here:
                    first, controls = len(cuts), []
                    cuts.append((self._excerpts[index], here))
                    for _ in range(n_controls if len(others) >= len(here) else 0):
                        controls.append(len(cuts))
                        cuts.append((self._excerpts[index], rng.choice(others, len(here), replace=False).tolist()))
                    planned.append((index, first, controls))
            plans.append((token_id, planned))
        acts = cut_tokens(self._probe, self._embedding, cuts).double().numpy()
        return [self._drop(token_id, planned, acts) for token_id, planned in plans]

    def _measuring(self) -> list[int]:
        return [index for index in range(len(self._excerpts)) if not is_choosing(index)]

    def _choose(self, top: int) -> list[int]:
        """The tokens with the largest attribution over all stories that choose, 0 where a token is missing.

        A token of a single story is left out: it would hardly stand in enough of the others.
        """
        found: dict[int, list[float]] = defaultdict(list)
        for index, shares in enumerate(self._shares):
            for token_id, share in shares.items() if is_choosing(index) else ():
                found[token_id].append(share)
        total = {token_id: sum(shares) for token_id, shares in found.items() if len(shares) > 1 and sum(shares) > 0}
        return sorted(total, key=lambda token_id: (-total[token_id], token_id))[:top]

    def _find(self, index: int, token_id: int) -> tuple[list[int], list[int]]:
        """Positions of the token in an excerpt, and those of other text."""
        excerpt = self._excerpts[index]
        text = [pos for pos in range(len(excerpt.ids)) if self._is_text(excerpt, pos)]
        here = [pos for pos in text if excerpt.ids[pos] == token_id]
        return here, [pos for pos in text if excerpt.ids[pos] != token_id]

    def _is_text(self, excerpt: Excerpt, pos: int) -> bool:
        return pos >= excerpt.start and excerpt.ids[pos] not in self._probe.lm.special_ids

    def _drop(
        self, token_id: int, planned: Sequence[tuple[int, int, list[int]]], acts: Float[np.ndarray, " cut"]
    ) -> Drops:
        def lost(index: int, places: Sequence[int]) -> float:
            return float(1 - acts[list(places)].mean() / self._excerpts[index].activation) if places else np.nan

        shares = [self._shares[index].get(token_id, 0.0) for index, _, _ in planned]
        return Drops(
            kind="token",
            source=self._probe.lm.decode([token_id]),
            attribution=float(np.mean(shares)) if shares else 0.0,
            own=np.array([lost(index, [first]) for index, first, _ in planned], dtype=np.float64),
            control=np.array([lost(index, controls) for index, _, controls in planned], dtype=np.float64),
        )


class FeatureSources:
    """Features of the SAEs whose hook lies before the target's."""

    def __init__(self, probe: Probe, excerpts: Sequence[Excerpt], upstream: Sequence[Dictionary]) -> None:
        self._probe, self._excerpts, self._upstream = probe, excerpts, upstream
        self._shares = {is_first: [np.zeros(one.d_sae) for one in upstream] for is_first in (True, False)}
        self._sizes = [np.zeros(one.d_sae) for one in upstream]
        self._lengths = [_decoder_lengths(one) for one in upstream]

    def read(self, index: int, slopes: Mapping[str, Slope]) -> None:
        """Take the attributions in one excerpt, and how much each feature writes into it."""
        excerpt = self._excerpts[index]
        for place, dictionary in enumerate(self._upstream):
            slope = slopes[dictionary.hook_name]
            acts, along = _project_gradient(dictionary, slope, excerpt.start)
            share = (acts * along).double().sum(dim=0).cpu().numpy() / excerpt.activation
            self._shares[is_choosing(index)][place] += share
            if is_choosing(index):
                self._sizes[place] += acts.double().sum(dim=0).cpu().numpy() * self._lengths[place]

    def confirm(self, top: int, n_controls: int, rng: np.random.Generator) -> list[Drops]:
        """Ablate the best features in the stories that measure, and others of their size."""
        measuring = [one for index, one in enumerate(self._excerpts) if not is_choosing(index)]
        chosen = self._choose(top)
        if not chosen or not measuring:
            return []
        controls = {
            source: self._draw_controls(source, [idx for place, idx in chosen if place == source[0]], n_controls, rng)
            for source in chosen
        }
        lost: dict[tuple[int, int], Float[np.ndarray, " story"]] = {}
        for place, dictionary in enumerate(self._upstream):
            wanted = {idx for one, idx in chosen if one == place}
            wanted |= {idx for source in chosen if source[0] == place for idx in controls[source]}
            cuts = [(excerpt, idx) for idx in sorted(wanted) for excerpt in measuring]
            acts = cut_features(self._probe, dictionary, cuts).double().numpy().reshape(len(wanted), len(measuring))
            whole = np.array([excerpt.activation for excerpt in measuring])
            lost |= {(place, idx): 1 - acts[row] / whole for row, idx in enumerate(sorted(wanted))}
        return [self._describe(source, controls[source], lost, len(measuring)) for source in chosen]

    def _choose(self, top: int) -> list[tuple[int, int]]:
        """SAE and number of the features with the largest attribution over all stories that choose."""
        shares = self._shares[True]
        ranked = [
            (float(share[idx]), place, int(idx))
            for place, share in enumerate(shares)
            for idx in np.argsort(-share, kind="stable")[:top]
        ]
        ranked.sort(key=lambda one: (-one[0], one[1:]))
        return [(place, idx) for share, place, idx in ranked[:top] if share > 0]

    def _draw_controls(
        self, source: tuple[int, int], chosen: Sequence[int], n_controls: int, rng: np.random.Generator
    ) -> list[int]:
        """Features of the same SAE that write nearly as much into the stories that choose."""
        place, feature_idx = source
        size = self._sizes[place]
        others: Int[np.ndarray, " other"] = np.setdiff1d(np.flatnonzero(size > 0), chosen)
        distance = np.abs(np.log(size[others] / size[feature_idx]))
        near = others[np.argsort(distance, kind="stable")[:CONTROL_POOL]]
        return rng.choice(near, min(n_controls, len(near)), replace=False).tolist() if len(near) else []

    def _describe(
        self,
        source: tuple[int, int],
        controls: Sequence[int],
        lost: Mapping[tuple[int, int], Float[np.ndarray, " story"]],
        n_measuring: int,
    ) -> Drops:
        place, feature_idx = source
        silent = np.full(n_measuring, np.nan)
        return Drops(
            kind="feature",
            source=name_node(self._upstream[place].name, feature_idx),
            attribution=float(self._shares[False][place][feature_idx]) / n_measuring,
            own=lost[source],
            control=np.mean([lost[place, idx] for idx in controls], axis=0) if controls else silent,
        )


@lru_cache(maxsize=4)  # a few SAEs lie before all targets
def _decoder_lengths(dictionary: Dictionary) -> Float[np.ndarray, " d_sae"]:
    lengths = [float(dictionary.direction(index).double().norm()) for index in range(dictionary.d_sae)]
    return np.array(lengths, dtype=np.float64)


def _project_gradient(dictionary: Dictionary, slope: Slope, start: int) -> tuple[Tensor, Tensor]:
    """Activations at the tokens of a text, and the gradient along every feature's direction there.

    The decoder is linear, so its own derivative gives the products with all directions at once.
    """
    with torch.no_grad():
        acts = dictionary.encode(slope.resid[start:])
    with torch.enable_grad():
        acts = acts.detach().requires_grad_()
        rebuilt = dictionary.decode(acts)
        (along,) = torch.autograd.grad(rebuilt, acts, slope.gradient[start:].to(rebuilt))
    return acts.detach(), along
