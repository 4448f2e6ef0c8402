"""Two SAEs made from one dictionary, so that what becomes of every feature is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from emosae.features import StoryFeatures

Acts = Float[np.ndarray, "story token feature"]
Pair = tuple[int, int]

KINDS = ("match", "split", "merge", "absorbed", "orphan")

_CHILD_RATE = 0.4
_PRESENT = (0.08, 0.2)
_TOKEN_RATE = 0.3


@dataclass(frozen=True, slots=True)
class TwinWorld:
    """Two SAEs and the stories that both read.

    Attributes:
        n_features: Features that both hold.
        noise: Standard deviation of the logarithm of what multiplies an activation of the second; so many times 0.1 of
            its firings are missing, and its directions are off by so many times their length.
        n_changed: Features of each of the other kinds: that the second splits in two, that it holds merged, that only
            the first holds nested in one of both, and that only the first, or only the second, holds.
        n_stories: Stories, with as many of each of eight emotions, for one of which each feature is three times as
            likely to be present.
        n_tokens: Tokens of a story.
        d_in: Width of the space of directions.
        is_related: Whether the second is made from the first at all. If not, each draws its own dictionary, whose
            features prefer emotions and whose directions lean to the same large dimensions all the same.
        same_hook: Whether both read the same place.
    """

    n_features: int = 120
    noise: float = 0.3
    n_changed: int = 12
    n_stories: int = 400
    n_tokens: int = 16
    d_in: int = 64
    is_related: bool = True
    same_hook: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Directions:
    """A dictionary that is asked for nothing but its directions."""

    rows: Float[torch.Tensor, "d_sae d_in"]
    name: str
    hook_name: str

    @property
    def d_in(self) -> int:
        """Width."""
        return self.rows.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.rows.shape[0]

    def encode(self, resid: torch.Tensor, /, feature_idx: object = None) -> torch.Tensor:
        """Not there."""
        raise NotImplementedError("twins have directions only")

    def decode(self, feature_acts: torch.Tensor, /) -> torch.Tensor:
        """Sum of directions."""
        return feature_acts @ self.rows

    def direction(self, feature_idx: int, /) -> torch.Tensor:
        """A row."""
        return self.rows[feature_idx]


@dataclass(frozen=True, eq=False, slots=True)
class Twins:
    """What was planted.

    Attributes:
        a: What the first SAE does.
        b: What the second does.
        dict_a: The directions of the first.
        dict_b: Those of the second.
        block: Emotion of each story.
        pairs: True links (feature of a, feature of b) by relation; `orphan` has -1 in place of a partner.
    """

    a: StoryFeatures
    b: StoryFeatures
    dict_a: Directions
    dict_b: Directions
    block: Int[np.ndarray, " story"]
    pairs: Mapping[str, frozenset[Pair]]


def plant_twins(world: TwinWorld, rng: np.random.Generator) -> Twins:
    """Draw stories, a dictionary, and two SAEs of it in random order."""
    block = np.arange(world.n_stories) % 8
    kinds, source = _list_kinds(world)
    base = _draw_acts(world, block, len(kinds), rng)
    child = kinds == "absorbed"
    base[:, :, child] = base[:, :, source[child]] * (rng.random(base[:, :, child].shape) < _CHILD_RATE)
    rows = _draw_directions(world, len(kinds), rng)
    held = [_hold(world, side, kinds, base, rows, rng) for side in ("a", "b")]
    if not world.is_related:
        held[1] = _hold(world, "b", kinds, _draw_acts(world, block, len(kinds), rng), _like(rows, rng), rng)
    orders = [rng.permutation(len(one.origin)) for one in held]
    a, b = (_wrap(one.acts[:, :, order], name, world) for one, order, name in zip(held, orders, "ab", strict=True))
    dict_a, dict_b = (
        Directions(torch.from_numpy(one.rows[order]).float(), each.sae, each.hook_name)
        for one, order, each in zip(held, orders, (a, b), strict=True)
    )
    origins = [one.origin[order] for one, order in zip(held, orders, strict=True)]
    return Twins(a, b, dict_a, dict_b, block, _list_truth(world, kinds, source, *origins))


@dataclass(frozen=True, eq=False, slots=True)
class _Held:
    """Activations and directions of an SAE's features, and the feature of the dictionary that each comes from."""

    acts: Acts
    rows: Float[np.ndarray, "feature d_in"]
    origin: Int[np.ndarray, " feature"]


def _list_kinds(world: TwinWorld) -> tuple[np.ndarray, Int[np.ndarray, " feature"]]:
    """What becomes of each feature of the dictionary, and in which feature an absorbed one is nested."""
    names = ("split", "merge", "absorbed", "only a", "only b")
    kinds = np.array(["match"] * world.n_features + [name for name in names for _ in range(world.n_changed)])
    source = np.full(len(kinds), -1)
    source[kinds == "absorbed"] = np.arange(world.n_changed)
    return kinds, source


def _draw_acts(world: TwinWorld, block: Int[np.ndarray, " story"], n: int, rng: np.random.Generator) -> Acts:
    """A feature is present in some stories, above all in those of its emotion, and fires at some of their tokens."""
    likes = block[:, None] == np.arange(n)[None] % 8
    present = rng.random((world.n_stories, n)) < rng.uniform(*_PRESENT, n) * (1 + 2 * likes)
    fires = rng.random((world.n_stories, world.n_tokens, n)) < _TOKEN_RATE * present[:, None]
    return fires * rng.gamma(4.0, 0.25, fires.shape)


def _draw_directions(world: TwinWorld, n: int, rng: np.random.Generator) -> Float[np.ndarray, "feature d_in"]:
    """Directions in a space of which some dimensions are many times as large as others."""
    return rng.normal(size=(n, world.d_in)) * np.geomspace(1, 0.2, world.d_in)


def _like(rows: Float[np.ndarray, "feature d_in"], rng: np.random.Generator) -> Float[np.ndarray, "feature d_in"]:
    """Other directions of the same space."""
    return rng.normal(size=rows.shape) * rows.std(axis=0)


def _hold(
    world: TwinWorld,
    side: str,
    kinds: np.ndarray,
    base: Acts,
    rows: Float[np.ndarray, "feature d_in"],
    rng: np.random.Generator,
) -> _Held:
    """One SAE: the features it lacks are left out, those it splits stand twice, and the second one's are blurred."""
    lacks = {"a": ["only b"], "b": ["only a", "absorbed"]}[side]
    origin = np.flatnonzero(~np.isin(kinds, lacks))
    divided = {"a": "merge", "b": "split"}[side]
    first, again = base[:, :, origin].copy(), np.flatnonzero(kinds == divided)
    goes = rng.random(base[:, :, again].shape) < 0.5
    first[:, :, np.isin(origin, again)] *= goes
    acts = np.concatenate([first, base[:, :, again] * ~goes], axis=2)
    origin = np.concatenate([origin, again])
    directions = rows[origin]
    is_part = np.isin(origin, again)
    directions[is_part] += 0.5 * _like(rows, rng)[: int(is_part.sum())]
    if side == "b":
        blur = rng.lognormal(0, world.noise, acts.shape) * (rng.random(acts.shape) >= 0.1 * world.noise)
        return _Held(acts * blur, directions + world.noise * _like(rows, rng)[: len(directions)], origin)
    return _Held(acts, directions, origin)


def _list_truth(
    world: TwinWorld,
    kinds: np.ndarray,
    source: Int[np.ndarray, " feature"],
    a: Int[np.ndarray, " fa"],
    b: Int[np.ndarray, " fb"],
) -> dict[str, frozenset[Pair]]:
    """Every pair that has a relation; if the SAEs are not related all features are orphans."""
    if not world.is_related:
        alone = [(i, -1) for i in range(len(a))] + [(-1, j) for j in range(len(b))]
        return {kind: frozenset(alone if kind == "orphan" else ()) for kind in KINDS}
    found: dict[str, set[Pair]] = {kind: set() for kind in KINDS}
    for kind in ("match", "split", "merge"):
        is_same: Bool[np.ndarray, "fa fb"] = (a[:, None] == b[None]) & (kinds[a] == kind)[:, None]
        found[kind] = {(int(i), int(j)) for i, j in np.argwhere(is_same)}
    for i in np.flatnonzero(kinds[a] == "absorbed"):
        found["absorbed"] |= {(int(i), int(j)) for j in np.flatnonzero(b == source[a[i]])}
    found["orphan"] |= {(int(i), -1) for i in np.flatnonzero(kinds[a] == "only a")}
    found["orphan"] |= {(-1, int(j)) for j in np.flatnonzero(kinds[b] == "only b")}
    return {kind: frozenset(pairs) for kind, pairs in found.items()}


def _wrap(acts: Acts, name: str, world: TwinWorld) -> StoryFeatures:
    n = len(acts)
    columns = ("feature_idx", "rank", "story_id", "token_pos", "value")
    return StoryFeatures(
        sae=name,
        hook_name="blocks.0.hook_resid_post" if world.same_hook or name == "a" else "blocks.1.hook_resid_post",
        story_ids=tuple(f"{story}" for story in range(n)),
        n_tokens=np.full(n, acts.shape[1]),
        mean=csr_array(acts.mean(axis=1), dtype=np.float32),
        max=csr_array(acts.max(axis=1), dtype=np.float32),
        fraction=csr_array((acts > 0).mean(axis=1), dtype=np.float32),
        top=pa.table({column: pa.array([], pa.int64()) for column in columns}),
        resid_mean=torch.zeros(n, 1),
    )
