"""Where the decision is read: move residuals of a thought that raises shortcuts into one that lowers them, by layer.

For pairs of first attempts at the same task whose thoughts have equally many tokens, the residuals of some positions
are copied at one layer from the first run into the second (activation patching). The share of the difference in
P(shortcut) that comes along says through which layer and positions the state passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emosae.hooks import EditFn, TokenMarks
from emosae.lm import LanguageModel, next_logits, read_resid
from emosae.organism.calibration import CALIBRATION_SEED, open_decision
from emosae.organism.coding_grammar import SHORTCUT, draw_task, draw_thought
from emosae.organism.truth import CodingTruth, Truth


@dataclass(frozen=True)
class PatchRow:
    """Share of the effect carried by some positions at one layer: 0 nothing, 1 all of it."""

    layer: int
    thought: float
    after_thought: float


@dataclass(frozen=True)
class _Pair:
    up: list[int]
    down: list[int]
    thought: slice
    after: slice


def _pairs(lm: LanguageModel, count: int, truth: CodingTruth) -> Iterator[_Pair]:
    found, number = 0, 0
    while found < count:
        number += 1
        rng = np.random.default_rng([CALIBRATION_SEED, 1, number])
        task = draw_task(rng, impossible=True)
        texts = [draw_thought(rng, state, "neutral", truth) for state in (truth.causal_up, truth.causal_down)]
        ids = [lm.encode(open_decision(task, thought.text)) for thought in texts]
        if texts[0].margin < 2 or texts[1].margin > -1 or len(ids[0]) != len(ids[1]):
            continue
        found += 1
        start = next(i for i, (a, b) in enumerate(zip(*ids, strict=True)) if a != b)
        tail = next(i for i, (a, b) in enumerate(zip(ids[0][::-1], ids[1][::-1], strict=True)) if a != b)
        end = len(ids[0]) - tail
        yield _Pair(ids[0], ids[1], slice(start, end), slice(end, len(ids[0])))


def _copy_positions(source: Tensor, where: slice) -> EditFn:
    def edit(resid: Tensor, marks: TokenMarks) -> Tensor:
        patched = resid.clone()
        patched[:, where] = source[where]
        return patched

    return edit


def patch_layers(lm: LanguageModel, truth: Truth, pairs: int = 40) -> list[PatchRow]:
    """For every layer: share of the difference between the two causal states that each group of positions carries."""
    hooks = [f"blocks.{layer}.hook_resid_post" for layer in range(lm.n_layers)]
    shortcut = lm.encode(f" {SHORTCUT}")[0]

    def probability(ids: list[int], edits: Mapping[str, EditFn]) -> float:
        return float(torch.softmax(next_logits(lm, [ids], edits=edits).float(), dim=-1)[0, shortcut])

    effects: dict[tuple[int, str], list[float]] = {}
    totals = []
    for pair in _pairs(lm, pairs, truth.coding):
        (_, sources), *_ = read_resid(lm, [pair.up], hooks)
        low, high = probability(pair.down, {}), probability(pair.up, {})
        totals.append(high - low)
        for layer, hook in enumerate(hooks):
            for name, where in (("thought", pair.thought), ("after", pair.after)):
                moved = probability(pair.down, {hook: _copy_positions(sources[hook], where)})
                effects.setdefault((layer, name), []).append(moved - low)
    total = float(np.mean(totals))
    share = {key: float(np.mean(values)) / total for key, values in effects.items()}
    return [PatchRow(layer, share[layer, "thought"], share[layer, "after"]) for layer in range(lm.n_layers)]
