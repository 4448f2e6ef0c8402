"""Which mistake makes an SAE rebuild text badly: feed it what each usual mistake would have it fed, and compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from emosae.activations import find_real_tokens, read_tokens
from emosae.axes import Resid
from emosae.hooks import neighbour_hooks
from emosae.lm import LanguageModel
from emosae.sae import Dictionary, SaeQuality, evaluate_sae

TRIED_DOCUMENTS = 40
CLEARLY_BETTER = 0.5
"""Most that a reading may be off, as a multiple of what the given one is off, to be taken for the right one."""
_NO_SCALE = 1.25
"""A factor nearer to 1 than this changes too little to be told from a text of another kind."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Another way to feed an SAE.

    Attributes:
        quality: What comes of it.
        verdict: What the SAE does by this reading, for the message.
        contrast: What the given reading is, beside it.
        mend: What to do if this is the right one.
    """

    quality: SaeQuality
    verdict: str
    contrast: str
    mend: str


@torch.no_grad()
def find_mistake(lm: LanguageModel, dictionary: Dictionary, documents: Sequence[Sequence[int]]) -> str | None:
    """One line that names the mistake and its mend, if another reading of some documents fits clearly better.

    Tried are the hooks one block before and after, the text without BOS, and residuals scaled to norm sqrt(d_in), from
    the origin or from their mean. Every reading is measured on the same tokens. The first of a text is left
    out: without BOS many models keep a residual there that is a hundred times as long, and next to it any SAE looks
    good or bad.
    """
    texts = [document for document in documents if len(find_real_tokens(lm, document)) > 1]
    texts = texts[:: max(1, -(-len(texts) // TRIED_DOCUMENTS))]
    if not texts:
        return None
    hook_name, others = dictionary.hook_name, neighbour_hooks(lm, dictionary.hook_name)
    resid = _read(lm, texts, [hook_name, *others])
    given = evaluate_sae(dictionary, resid[hook_name])
    readings = [
        *(_read_elsewhere(dictionary, other, resid[other]) for other in others),
        *_read_without_bos(lm, dictionary, texts),
        *_read_scaled(dictionary, resid[hook_name]),
    ]
    recorded = getattr(dictionary, "recorded", {})
    most = CLEARLY_BETTER * _misfit(given, recorded)
    fitting = [reading for reading in readings if _misfit(reading.quality, recorded) < most]
    if not fitting:
        return None
    best = min(fitting, key=lambda reading: _misfit(reading.quality, recorded))
    return (
        f"SAE {dictionary.name} {best.verdict}: fvu {best.quality.fvu:.2f}, l0 {best.quality.l0:.1f} so, "
        f"but fvu {given.fvu:.2f}, l0 {given.l0:.1f} {best.contrast}; {best.mend}"
    )


def _read(lm: LanguageModel, texts: Sequence[Sequence[int]], hook_names: Sequence[str]) -> Mapping[str, Resid]:
    pages = [page for _, page in read_tokens(lm, texts, hook_names, skip_tokens=1)]
    return {name: torch.cat([page[name] for page in pages]) for name in hook_names}


def _misfit(quality: SaeQuality, recorded: Mapping[str, float]) -> float:
    """How far fvu and l0 are from the record: natural logs of the ratios, without sign, added.

    Where no fvu is recorded it counts as it is, and where no l0 is, not at all. A wrong reading may well have the lower
    fvu: an SAE with an L1 penalty, on residuals that are too long, fires more, shrinks less and so rebuilds more.
    """
    fvu = _log_ratio(quality.fvu, recorded["fvu"], 0.02) if "fvu" in recorded else quality.fvu
    return fvu + _log_ratio(quality.l0, recorded.get("l0", quality.l0), 0.1)


def _log_ratio(measured: float, recorded: float, floor: float) -> float:
    return abs(math.log((measured + floor) / (recorded + floor)))


def _read_elsewhere(dictionary: Dictionary, hook_name: str, resid: Resid) -> Reading:
    return Reading(
        evaluate_sae(dictionary, resid),
        f"reads {hook_name} best",
        f"at {dictionary.hook_name}, which its config says",
        "write the right metadata.hook_name into its cfg.json",
    )


def _read_without_bos(lm: LanguageModel, dictionary: Dictionary, texts: Sequence[Sequence[int]]) -> Iterator[Reading]:
    """The same tokens with no BOS before them; nothing if the model has no BOS."""
    bos = lm.tokenizer.bos_token_id
    if bos is None or any(text[0] != bos for text in texts):
        return
    resid = _read(lm, [text[1:] for text in texts], [dictionary.hook_name])[dictionary.hook_name]
    says = getattr(dictionary, "prepend_bos", None)
    yield Reading(
        evaluate_sae(dictionary, resid),
        "was trained on text without BOS",
        f"behind BOS, as emosae reads it{'' if says is None else f' (its config says prepend_bos = {says})'}",
        "take or train one on text behind BOS",
    )


def _read_scaled(dictionary: Dictionary, resid: Resid) -> Iterator[Reading]:
    """Residuals of norm sqrt(d_in), as sae-lens scales them, and at that distance from their mean, as emosae does."""
    for centre in (torch.zeros_like(resid[0]), resid.mean(dim=0)):
        factor = math.sqrt(dictionary.d_in) / (resid - centre).norm(dim=1).mean().item()
        if 1 / _NO_SCALE < factor < _NO_SCALE:
            continue
        yield Reading(
            evaluate_sae(dictionary, resid * factor),
            "expects scaled residuals",
            "on residuals as they are",
            "fold the scale of its training with sae-lens' fold_activation_norm_scaling_factor "
            f"({factor:.3g} on this text) and save it again",
        )
