"""Toys whose truth is known: a dictionary with given rows, a model whose residuals are word vectors, sparse sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from emosae.features.evaluation import SaeEvaluation, evaluate_saes
from emosae.lm import LanguageModel

HOOK = "blocks.0.hook_resid_post"
BOS = 0


@dataclass(frozen=True, eq=False)
class PlantedSae:
    """A JumpReLU dictionary that owns plain tensors and satisfies `emosae.sae.Dictionary`."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: float = 0.0
    name: str = "planted"
    hook_name: str = HOOK
    recorded: Mapping[str, float] = field(default_factory=dict)

    @property
    def d_in(self) -> int:
        return self.W_dec.shape[1]

    @property
    def d_sae(self) -> int:
        return self.W_dec.shape[0]

    def encode(self, resid: Tensor, /, feature_idx: Tensor | slice | None = None) -> Tensor:
        columns = slice(None) if feature_idx is None else feature_idx
        hidden_pre = (resid - self.b_dec) @ self.W_enc[:, columns] + self.b_enc[columns]
        return torch.relu(hidden_pre) * (hidden_pre > self.threshold)

    def decode(self, feature_acts: Tensor, /) -> Tensor:
        return feature_acts @ self.W_dec + self.b_dec

    def direction(self, feature_idx: int, /) -> Tensor:
        return self.W_dec[feature_idx]


@dataclass(frozen=True, eq=False)
class CountingSae(PlantedSae):
    """Notes the size of every block of activations that is asked of it."""

    sizes: list[int] = field(default_factory=list)

    def encode(self, resid: Tensor, /, feature_idx: Tensor | slice | None = None) -> Tensor:
        acts = super().encode(resid, feature_idx)
        self.sizes.append(acts.numel())
        return acts


def planted_sae(
    d_in: int,
    d_sae: int,
    *,
    seed: int = 0,
    threshold: float = 0.0,
    b_dec: Tensor | None = None,
    name: str = "planted",
    hook_name: str = HOOK,
    recorded: Mapping[str, float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> PlantedSae:
    """A tied dictionary with unit decoder rows, orthonormal up to d_in features: there, re-encoding is exact."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(d_sae, d_in, generator=generator, dtype=dtype)
    W_dec = torch.linalg.qr(rows.T).Q.T if d_sae <= d_in else rows / rows.norm(dim=1, keepdim=True)
    return PlantedSae(
        W_enc=W_dec.T.contiguous(),
        b_enc=torch.zeros(d_sae, dtype=dtype),
        W_dec=W_dec.contiguous(),
        b_dec=torch.zeros(d_in, dtype=dtype) if b_dec is None else b_dec,
        threshold=threshold,
        name=name,
        hook_name=hook_name,
        recorded=recorded or {},
    )


class _Tokenizer:
    """Splits at white space; an unknown word is an error."""

    bos_token_id, eos_token_id, chat_template = BOS, None, None

    def __init__(self, words: Sequence[str]) -> None:
        self.ids = {word: token_id for token_id, word in enumerate(words, start=BOS + 1)}
        self.words = {token_id: word for word, token_id in self.ids.items()} | {BOS: "<s>"}

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [self.ids[word] for word in text.split()]}

    def decode(self, ids: Sequence[int], **_: object) -> str:
        return " ".join(self.words[token_id] for token_id in ids)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, resid: Tensor) -> Tensor:
        return resid * self.factor


class _WordModel(nn.Module):
    def __init__(self, vectors: Tensor, n_layers: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.cat([torch.full_like(vectors[:1], torch.nan), vectors]))
        self.blocks = nn.ModuleList(_Scale(1.0 if layer == 0 else 2.0) for layer in range(n_layers))

    def forward(self, input_ids: Tensor, **_: object) -> Tensor:
        resid = self.table[input_ids]
        for block in self.blocks:
            resid = block(resid)
        return resid


def planted_lm(vectors: Tensor, words: Sequence[str], *, n_layers: int = 2) -> LanguageModel:
    """A model whose residual at a word, after block l, is the word's vector times 2 to the l; at BOS it is NaN.

    NaN, so that using a special token's residual shows.
    """
    model = _WordModel(vectors, n_layers)
    return LanguageModel(
        name="planted",
        revision="local",
        weight_hash="planted",
        model=model,
        tokenizer=_Tokenizer(words),
        device="cpu",
        dtype="float32",
        d_in=vectors.shape[1],
        n_layers=n_layers,
        context=512,
        special_ids=frozenset({BOS}),
        stop_ids=frozenset(),
        blocks=tuple(model.blocks),
    )


def planted_resid(
    n_tokens: int, d_in: int, n_features: int, *, l0: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Sparse non-negative sums of random unit rows around a common offset: the residuals, and the rows."""
    generator = torch.Generator().manual_seed(seed)
    rows = nn.functional.normalize(torch.randn(n_features, d_in, generator=generator), dim=1)
    fires = torch.rand(n_tokens, n_features, generator=generator) < l0 / n_features
    acts = fires * (0.5 + torch.rand(n_tokens, n_features, generator=generator))
    return acts @ rows + torch.randn(d_in, generator=generator), rows


def evaluate_one(lm: Any, dictionary: Any, documents: Any, stories: Any, **options: Any) -> SaeEvaluation:
    """What `evaluate_saes` says of an SAE that is evaluated alone."""
    [found] = evaluate_saes(lm, {dictionary.name: dictionary}, documents, stories, **options).values()
    return found
