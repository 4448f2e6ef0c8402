"""How good an SAE is on text: what it rebuilds, how often its features fire, and what the model loses by it.

Residuals of special tokens (BOS, turn markers) are no part of any number and are left as they are in every run of the
model: SAEs are trained on text alone, and some models keep residuals there that are a hundred times as long.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from emosae.activations import read_tokens
from emosae.axes import BatchResid, PositionMask
from emosae.errors import UserError
from emosae.features.tally import SaeTally
from emosae.hooks import EditFn, PaddedBatch, ResidHooks, as_prompts, at_least_float32, pack_by_length, pad_right
from emosae.lm import LOGIT_ELEMENTS, LanguageModel
from emosae.sae import BLOCK_ELEMENTS, Dictionary
from emosae.stories import Story

RARE = 1e-4
"""A feature that fires, but on a smaller share of tokens than this, is rare."""

DENSITY_EDGES = tuple(step / 4 for step in range(-24, 1))
"""Ends of the bins of log10 firing rate, the same for every SAE: from one token in a million to every token."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SaeEvaluation:
    """An SAE on some text, token by token. Numbers that are not defined are NaN.

    Attributes:
        sae: Its name.
        hook_name: Where it reads.
        d_sae: Number of features.
        held_out: Whether the text is none that the SAE is known to have been trained on.
        n_documents: Texts read.
        n_tokens: Tokens of text, which fvu, l0, density and shrinkage are taken over.
        fvu: Squared error over squared distance from the mean residual: 0 is exact, 1 is no better than the mean, and
            there is no upper end.
        l0: Features that fire on a token, on average, in [0, d_sae].
        density: Features per bin of `DENSITY_EDGES` by log10 of the share of tokens on which they fire; rarer ones are
            in the first bin, dead ones in none.
        n_dead: Features that fire on no token; with few tokens merely rare ones are among them.
        n_rare: Features that fire on some token but on under 1e-4 of them; none can under 10,000 tokens.
        norm_ratio: Length of a reconstruction over length of its residual, averaged over tokens: 1 is no shrinkage.
        slope: Least-squares coefficient (no intercept) of reconstructions on residuals, sum <x_hat, x> over
            sum <x, x>: 1 is no shrinkage, 0 is a reconstruction unrelated to the residual.
        slope_centred: The same with both measured from their means, where a large common offset that any SAE gets
            right does not hide that the rest is shrunk.
        n_predicted: Tokens that the losses are averages over: all tokens of text but the first of a text without BOS.
        loss_clean: Next-token loss of the model itself, in nats per token; guessing at random costs log(d_vocab).
        loss_splice: The same with each residual at the hook replaced by its reconstruction.
        loss_zero: The same with each of them replaced by zeros.
        fvu_by_emotion: fvu on the stories of each emotion alone, measured from their own mean.
    """

    sae: str
    hook_name: str
    d_sae: int
    held_out: bool
    n_documents: int
    n_tokens: int
    fvu: float
    l0: float
    density: tuple[int, ...]
    n_dead: int
    n_rare: int
    norm_ratio: float
    slope: float
    slope_centred: float
    n_predicted: int
    loss_clean: float
    loss_splice: float
    loss_zero: float
    fvu_by_emotion: Mapping[str, float]

    @property
    def recovered(self) -> float:
        """Share of the loss that zeros cost and the reconstruction does not: (zero - splice) / (zero - clean).

        1 is as good as the residual itself, 0 as bad as zeros; it may lie outside. NaN where zeros cost nothing.
        """
        cost = self.loss_zero - self.loss_clean
        return (self.loss_zero - self.loss_splice) / cost if cost > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain values, with `recovered` and the bins' ends; null for what is not finite."""
        values = asdict(self) | {"fvu_by_emotion": dict(self.fvu_by_emotion), "recovered": self.recovered}
        return {"format": _FORMAT, "density_edges": list(DENSITY_EDGES)} | _finite(values)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SaeEvaluation:
        """What `to_json` wrote; null is read as NaN."""
        if values.get("format") != _FORMAT:
            raise UserError(f"an evaluation of format {values.get('format')}: this emosae reads format {_FORMAT}")
        own = {key.name: _known(values[key.name]) for key in fields(cls)}
        own["density"] = tuple(own["density"])
        own["fvu_by_emotion"] = {emotion: _known(fvu) for emotion, fvu in own["fvu_by_emotion"].items()}
        return cls(**own)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(value: Any) -> Any:
    return math.nan if value is None else value


@torch.no_grad()
def evaluate_saes(
    lm: LanguageModel,
    dictionaries: Mapping[str, Dictionary],
    documents: Sequence[Sequence[int]],
    stories: Sequence[Story],
    *,
    seen: Collection[str] = (),
    batch_tokens: int | None = None,
    max_elements: int = BLOCK_ELEMENTS,
) -> dict[str, SaeEvaluation]:
    """Evaluate SAEs on the same text: one pass of the model, one more per hook and one more per SAE.

    Memory does not grow with the text: a batch of it is held at a time. How it is cut changes nothing but float noise.

    Args:
        lm: The model that reads.
        dictionaries: SAEs by the name that evaluations carry.
        documents: Token ids of texts, each read alone; everything but `fvu_by_emotion` is measured on them.
        stories: Texts with emotions, for `fvu_by_emotion`.
        seen: Names of the SAEs that were trained on this text; only recorded.
        batch_tokens: Tokens in a forward pass, padding included; `lm.batch_tokens` if none.
        max_elements: Numbers that a dense block of activations may hold.

    Refused: SAEs of another width than the model, text without tokens to measure or predict, residuals and
    reconstructions that are not finite.
    """
    _refuse_misfits(lm, dictionaries)
    tallies = {name: SaeTally(dictionary, max_elements) for name, dictionary in dictionaries.items()}
    losses = _Losses()
    for batch in _batches(lm, documents, batch_tokens):
        _measure_batch(lm, batch, tallies, losses)
    if losses.n_predicted == 0:
        raise UserError("there is no text to evaluate SAEs on: no document has a token to predict")
    _measure_stories(lm, stories, tallies, batch_tokens)
    return {
        name: _conclude(name, tally, losses, n_documents=len(documents), held_out=name not in seen)
        for name, tally in tallies.items()
    }


def _refuse_misfits(lm: LanguageModel, dictionaries: Mapping[str, Dictionary]) -> None:
    for name, dictionary in dictionaries.items():
        if dictionary.d_in != lm.d_in:
            raise UserError(f"SAE {name} reads {dictionary.d_in} dimensions, the model has {lm.d_in}")


@dataclass(frozen=True, eq=False, slots=True)
class _TextBatch:
    """Texts side by side, and which positions hold text."""

    padded: PaddedBatch
    is_text: PositionMask

    def replace(self, values: BatchResid) -> EditFn:
        """The edit that puts other residuals where there is text."""
        return lambda resid, *_: torch.where(self.is_text[..., None], values.to(resid), resid)


def _batches(lm: LanguageModel, documents: Sequence[Sequence[int]], batch_tokens: int | None) -> Iterator[_TextBatch]:
    """Documents of like length together, few enough that their logits fit."""
    prompts = as_prompts(lm, documents)
    special = torch.tensor(sorted(lm.special_ids), dtype=torch.long, device=lm.device)
    batch_tokens = min(
        batch_tokens or lm.batch_tokens, LOGIT_ELEMENTS // lm.model.get_output_embeddings().weight.shape[0]
    )
    for batch in pack_by_length([len(prompt) for prompt in prompts], batch_tokens):
        padded = pad_right([prompts[index] for index in batch], lm.device)
        yield _TextBatch(padded, padded.is_real & ~torch.isin(padded.ids, special))


def _measure_batch(lm: LanguageModel, batch: _TextBatch, tallies: Mapping[str, SaeTally], losses: _Losses) -> None:
    """Read a batch as it is, then with zeros at each hook, then with each SAE's reconstruction."""
    hooks = ResidHooks(lm, sorted({tally.hook_name for tally in tallies.values()}))
    losses.clean += _sum_nats(batch, hooks)
    losses.n_predicted += int(batch.is_text[:, 1:].sum())
    for hook_name, resid in hooks.resid.items():
        zero = {hook_name: batch.replace(torch.zeros_like(resid))}
        losses.zero[hook_name] += _sum_nats(batch, ResidHooks(lm, (), zero))
    for name, tally in tallies.items():
        resid = hooks.resid[tally.hook_name]
        rebuilt = torch.zeros_like(resid)
        rebuilt[batch.is_text] = tally.add(at_least_float32(resid[batch.is_text])).to(resid)
        losses.splice[name] += _sum_nats(batch, ResidHooks(lm, (), {tally.hook_name: batch.replace(rebuilt)}))


def _sum_nats(batch: _TextBatch, hooks: ResidHooks) -> float:
    """Next-token loss of one pass, summed over the tokens of text that have something before them."""
    with hooks:
        logits = hooks.read(batch.padded).logits
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for row, length in enumerate(batch.padded.lengths.tolist()):
        targets = batch.padded.ids[row, 1:length]
        nats = cross_entropy(at_least_float32(logits[row, : length - 1]), targets, reduction="none")
        total += nats[batch.is_text[row, 1:length]].double().sum()
    return total.item()


def _measure_stories(
    lm: LanguageModel, stories: Sequence[Story], tallies: Mapping[str, SaeTally], batch_tokens: int | None
) -> None:
    hook_names = sorted({tally.hook_name for tally in tallies.values()})
    documents = [lm.document(story.text) for story in stories]
    for index, resid in read_tokens(lm, documents, hook_names, batch_tokens=batch_tokens):
        for tally in tallies.values():
            tally.add_story(stories[index].emotion, resid[tally.hook_name])


@dataclass(slots=True)
class _Losses:
    """Next-token losses in nats, summed over tokens."""

    n_predicted: int = 0
    clean: float = 0.0
    zero: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    splice: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def _conclude(name: str, tally: SaeTally, losses: _Losses, *, n_documents: int, held_out: bool) -> SaeEvaluation:
    """Sums turned into averages."""
    fit, fired = tally.fit, tally.fired
    rate = fired[fired > 0].double() / fit.n_tokens
    return SaeEvaluation(
        sae=name,
        hook_name=tally.hook_name,
        d_sae=len(fired),
        held_out=held_out,
        n_documents=n_documents,
        n_tokens=fit.n_tokens,
        fvu=fit.fvu,
        l0=fired.sum().item() / fit.n_tokens,
        density=_count_densities(rate),
        n_dead=int((fired == 0).sum()),
        n_rare=int((rate < RARE).sum()),
        norm_ratio=fit.norm_ratio,
        slope=fit.slope,
        slope_centred=fit.slope_centred,
        n_predicted=losses.n_predicted,
        loss_clean=losses.clean / losses.n_predicted,
        loss_splice=losses.splice[name] / losses.n_predicted,
        loss_zero=losses.zero[tally.hook_name] / losses.n_predicted,
        fvu_by_emotion={emotion: fit.fvu for emotion, fit in sorted(tally.by_emotion.items())},
    )


def _count_densities(rate: Float[Tensor, " alive"]) -> tuple[int, ...]:
    """Features per bin of `DENSITY_EDGES`; a rate on an edge belongs to the bin above it, a rate of 1 to the last."""
    inner = torch.tensor(DENSITY_EDGES[1:-1], dtype=torch.float64)
    place = torch.bucketize(rate.log10(), inner, right=True)
    return tuple(torch.bincount(place, minlength=len(DENSITY_EDGES) - 1).tolist())
