"""A model and a dictionary that have learnt nothing: what the architecture, the tokens and a search give alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from emosae.axes import Direction, FeatureActs, FeatureColumns, Resid
from emosae.encoders import SparseActs, encode_top
from emosae.features.pooling import MEMORY_MB, pool_features
from emosae.features.records import StoryFeatures
from emosae.lm import LanguageModel
from emosae.stories import Story

_CENTRING_STORIES = 64


def draw_model(lm: LanguageModel, seed: int) -> LanguageModel:
    """The same architecture and tokenizer, with weights as its training would have begun, drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(lm.model)(lm.model.config)
    model = model.to(device=lm.device, dtype=next(lm.model.parameters()).dtype).eval().requires_grad_(False)
    names = {id(module): name for name, module in lm.model.named_modules()}
    blocks = tuple(model.get_submodule(names[id(block)]) for block in lm.blocks)
    return replace(lm, name=f"{lm.name} untrained", weight_hash=f"seed {seed}", model=model, blocks=blocks)


@dataclass(frozen=True, eq=False, slots=True)
class UntrainedDictionary:
    """A TopK autoencoder before its first step: random unit directions, tied, of which k fire on a token.

    Attributes:
        W_enc: Directions of length 1.
        centre: What is subtracted before they are read.
    """

    name: str
    hook_name: str
    W_enc: Float[Tensor, "d_in d_sae"]
    centre: Float[Tensor, " d_in"]
    k: int

    @property
    def d_in(self) -> int:
        """Width of the residual stream."""
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_enc.shape[1]

    def encode(self, resid: Resid, /, feature_idx: FeatureColumns | None = None) -> FeatureActs:
        """The k largest projections of a token, where they are above 0."""
        projected = torch.relu((resid.float() - self.centre) @ self.W_enc)
        value, place = projected.topk(self.k, dim=-1)
        acts = torch.zeros_like(projected).scatter_(-1, place, value)
        return acts if feature_idx is None else acts[..., feature_idx]

    def encode_sparse(self, resid: Resid, /, *, max_elements: int) -> SparseActs:
        """The same, where they are above 0."""
        bias = self.W_enc.new_zeros(self.d_sae)
        return encode_top(resid.float() - self.centre, self.W_enc, bias, k=self.k, max_elements=max_elements)

    def decode(self, feature_acts: FeatureActs, /) -> Resid:
        """Residuals rebuilt from activations of all features."""
        return feature_acts @ self.W_enc.T + self.centre

    def direction(self, feature_idx: int, /) -> Direction:
        """What one unit of the feature adds, in residual units."""
        return self.W_enc[:, feature_idx]


def pool_untrained(
    lm: LanguageModel,
    features: Sequence[StoryFeatures],
    stories: Sequence[Story],
    *,
    seed: int,
    skip_tokens: int = 0,
    batch_tokens: int | None = None,
    memory_mb: float = MEMORY_MB,
    progress: bool = False,
) -> list[StoryFeatures]:
    """Pool the same stories through a model and dictionaries that have learnt nothing.

    At each hook that an SAE reads stands one untrained dictionary with as many features as the SAEs there hold
    together, and as many of them fire on a token. It is centred on the mean residual of some discover stories.

    Args:
        lm: The trained model, whose architecture is taken.
        features: What its SAEs gave.
        stories: What is read.
        seed: Of all weights.
        skip_tokens: As for the SAEs.
        batch_tokens: Tokens in a forward pass; `lm.batch_tokens` if none.
        memory_mb: Budget of temporary memory, as for the SAEs.
        progress: Whether to show a bar.
    """
    drawn = draw_model(lm, seed)
    by_hook: dict[str, list[StoryFeatures]] = {}
    for table in features:
        by_hook.setdefault(table.hook_name, []).append(table)
    sample = [story for story in stories if story.split == "discover"]
    sample = sample[:: max(1, len(sample) // _CENTRING_STORIES)] or list(stories[:_CENTRING_STORIES])
    pool = partial(pool_features, drawn, skip_tokens=skip_tokens, batch_tokens=batch_tokens, memory_mb=memory_mb)
    centres = pool({}, sample, hooks=sorted(by_hook)).resid_mean
    rng = torch.Generator().manual_seed(seed)
    dictionaries = {}
    for hook_name, tables in sorted(by_hook.items()):
        directions = torch.randn(lm.d_in, sum(table.d_sae for table in tables), generator=rng)
        k = min(directions.shape[1], max(1, round(sum(map(count_active, tables)))))
        named = f"untrained {hook_name}"
        unit = directions / directions.norm(dim=0)
        centre = centres[hook_name].mean(dim=0)
        dictionaries[named] = UntrainedDictionary(named, hook_name, unit.to(lm.device), centre.to(lm.device), k)
    return list(pool(dictionaries, stories, progress=progress).features.values())


def count_active(table: StoryFeatures) -> float:
    """Features of the dictionary that fire on a token, on average over the stories' tokens."""
    per_story = table.fraction.sum(axis=1)
    return float(per_story @ table.n_tokens / table.n_tokens.sum())
