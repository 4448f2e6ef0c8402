"""Encode stories with an SAE and pool them: emosae's `pool_stories`, the bare encoder product, and sae-lens' `encode`.

The product is `addmm` of the encoder's weights alone, in blocks that fit emosae's budget; sae-lens encodes one story at
a time and its mean, maximum and share of firing tokens are taken from the dense activations. Residuals are sums of
planted directions. Three quarters of a token's features last through its story, as topic and tone do, so that what
fires by interference does so again and again; thresholds are set such that `K` fire on a token. `dense` has stories
in which nothing lasts, so that about four times as many story-feature pairs fire.

Printed below the times: `l0`, how many fire on a token; `cells`, the share of story-feature pairs that fire; `unlike`,
the largest share of a story's features for which the two poolings differ by more than 1e-5 (units at their threshold,
moved by float noise); both ratios to the product, by the clock and (`cpu`) by processor time; `memory_mb`, how far
resident memory rises while a corpus, and one four times as long, is pooled group by group and the sparse rows are
thrown away. That is read in a process forked for each from one that has pooled nothing, as the highest resident memory
above that at its start. `--wide` adds a dictionary of so many features and 16 dimensions.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import resource
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import measure

STORY_TOKENS = 150
K = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a story's residuals are made.

    Attributes:
        n_lasting: Features that fire on all of its tokens.
        n_fleeting: Features that fire on one token and are drawn anew for the next.
        n_own: Features that fleeting ones are drawn from, other ones in each story.
    """

    n_lasting: int
    n_fleeting: int
    n_own: int


SPARSE = Recipe(n_lasting=48, n_fleeting=16, n_own=400)
DENSE = Recipe(n_lasting=0, n_fleeting=64, n_own=1500)
CASES = {
    "jumprelu": ("jumprelu", SPARSE),
    "standard": ("standard", SPARSE),
    "topk": ("topk", SPARSE),
    "dense": ("jumprelu", DENSE),
}


def main() -> None:
    """Run all cases."""
    arguments = measure.read_arguments(__doc__, d_in=1024, d_sae=16384, stories=11, memory_mb=128, wide=0)
    bench = Bench(arguments)
    cases = {name: bench.build(*case) for name, case in CASES.items()}
    memory = {name: [rise_mb(case.pool, times * arguments.stories) for times in (2, 8)] for name, case in cases.items()}
    comparisons, found = [], {}
    for name, case in cases.items():
        contenders: dict[str, Callable[[], object]] = {
            "emosae": lambda case=case: case.pool(arguments.stories),
            "sae-lens": case.pool_dense,
            "matmul": case.multiply,
        }
        comparisons.append(measure.run(name, contenders, arguments.rounds))
        found[name] = case.describe() | _divide(comparisons[-1]) | {"memory_mb": memory[name]}
    if arguments.wide:
        found["wide"] = bench.pool_wide(arguments.wide)
    measure.report("pooling", comparisons, arguments)
    for name, values in found.items():
        print(f"  {name:9}", ", ".join(f"{key} {_show(value)}" for key, value in values.items()))
    if arguments.json is not None:
        record = json.loads(arguments.json.read_text(encoding="utf-8")) | {"found": found}
        for name, values in found.items():
            record["ratios"] |= {f"{name}: {key}": value for key, value in values.items() if key.endswith("/matmul")}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _divide(comparison: measure.Comparison) -> dict[str, float]:
    """Medians over the product's, by the clock and by processor time."""
    cpu = {name: statistics.median(times) for name, times in comparison.cpu_rounds.items()}
    return {
        f"{prefix}{name}/matmul": seconds[name] / seconds["matmul"]
        for prefix, seconds in (("", comparison.seconds), ("cpu ", cpu))
        for name in ("emosae", "sae-lens")
    }


def _show(value: Any) -> str:
    return " then ".join(map(_show, value)) if isinstance(value, list) else f"{value:.3g}"


def rise_mb(work: Callable[[int], object], n_stories: int) -> float:
    """Megabytes of resident memory, at the highest, above what there is when a forked process begins with `work`.

    Linux only. Memory that the parent has freed and not given back would hide what the child takes, so it goes first.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_rise, args=(sender, work, n_stories))
    child.start()
    rise = receiver.recv()
    child.join()
    return rise


def _send_rise(sender: Any, work: Callable[[int], object], n_stories: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(n_stories)
    sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


class Bench:
    """Planted directions, and dictionaries of them with stories to read."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch

        from emosae.features.pooling import share_memory

        self.arguments = arguments
        self.generator = torch.Generator().manual_seed(0)
        self.rows = torch.nn.functional.normalize(
            torch.randn(arguments.d_sae, arguments.d_in, generator=self.generator), dim=1
        )
        self.W_enc = self.rows.T.contiguous()
        self.most_tokens, self.max_elements = share_memory(float(arguments.memory_mb), arguments.d_in, 1)

    def draw_story(self, recipe: Recipe) -> Any:
        """Residuals of a story: sums of directions, each 1 to 2 long."""
        import torch

        chosen = torch.randperm(self.arguments.d_sae, generator=self.generator)[: recipe.n_lasting + recipe.n_own]
        draw = torch.rand(STORY_TOKENS, recipe.n_own, generator=self.generator)
        fleeting = draw >= draw.topk(recipe.n_fleeting, dim=1).values[:, -1:]
        lasting = torch.ones(STORY_TOKENS, recipe.n_lasting)
        strength = 1 + torch.rand(STORY_TOKENS, recipe.n_own, generator=self.generator)
        held = 1 + torch.rand(recipe.n_lasting, generator=self.generator)
        return torch.cat([lasting * held, fleeting * strength], dim=1) @ self.rows[chosen]

    def build(self, architecture: str, recipe: Recipe) -> Case:
        """A tied sae-lens SAE of the planted directions that fires `K` times on a token, on average."""
        import torch
        from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
        from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
        from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

        from emosae.sae import SaeLensDictionary, TopKDictionary

        shape = {"d_in": self.arguments.d_in, "d_sae": self.arguments.d_sae, "device": "cpu", "dtype": "float32"}
        sae: Any = {
            "jumprelu": lambda: JumpReLUSAE(JumpReLUSAEConfig(**shape)),
            "standard": lambda: StandardSAE(StandardSAEConfig(**shape)),
            "topk": lambda: TopKSAE(TopKSAEConfig(k=K, **shape)),
        }[architecture]()
        sae.W_enc.data, sae.W_dec.data = self.W_enc, self.rows
        stories = [self.draw_story(recipe) for _ in range(self.arguments.stories)]
        hidden = torch.cat(stories[:4]) @ self.W_enc
        least = hidden.flatten().topk(K * len(hidden)).values.min()
        if architecture == "standard":
            sae.b_enc.data -= least
        elif architecture == "jumprelu":
            sae.threshold.data += least
        kind = TopKDictionary if architecture == "topk" else SaeLensDictionary
        dictionary = kind(sae.eval().requires_grad_(False), architecture, "hook")
        return Case(dictionary, stories, self.most_tokens, self.max_elements)

    def pool_wide(self, d_sae: int) -> dict[str, Any]:
        """A dictionary of very many features and 16 dimensions, pooled in the same memory; `dense_mb` is a story's."""
        import torch
        from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig

        from emosae.sae import SaeLensDictionary

        sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=16, d_sae=d_sae, device="cpu", dtype="float32"))
        sae.W_enc.data = torch.nn.functional.normalize(torch.randn(16, d_sae, generator=self.generator), dim=0)
        sae.threshold.data += 3.5
        stories = [torch.randn(STORY_TOKENS, 16, generator=self.generator) for _ in range(4)]
        dictionary = SaeLensDictionary(sae.eval().requires_grad_(False), "wide", "hook")
        case = Case(dictionary, stories, self.most_tokens, self.max_elements)
        cells = case.pool(len(stories)) / len(stories) / d_sae
        memory = [rise_mb(case.pool, times * len(stories)) for times in (1, 4)]
        return {"d_sae": d_sae, "cells": cells, "memory_mb": memory, "dense_mb": STORY_TOKENS * d_sae * 4 / 2**20}


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """A dictionary, residuals of stories, and how many tokens and activations emosae holds at a time."""

    dictionary: Any
    stories: list[Any]
    most_tokens: int
    max_elements: int

    def groups(self, n_stories: int) -> Iterator[Any]:
        """The stories over and over, in groups as `pool_features` makes them."""
        import torch

        from emosae.activations import TokenBatch

        size = max(1, self.most_tokens // STORY_TOKENS)
        for first in range(0, n_stories, size):
            chosen = range(first, min(first + size, n_stories))
            resid = torch.cat([self.stories[index % len(self.stories)] for index in chosen])
            story = torch.tensor(chosen).repeat_interleave(STORY_TOKENS)
            yield TokenBatch(resid, story, torch.arange(STORY_TOKENS).repeat(len(chosen)))

    def pool(self, n_stories: int) -> int:
        """Number of story-feature pairs that fire."""
        from emosae.features.story_rows import pool_stories

        fired = 0
        for batch in self.groups(n_stories):
            rows = pool_stories(self.dictionary, batch, self.max_elements)
            fired += sum(len(row.feature_idx) for row in rows.values())
        return fired

    def multiply(self) -> None:
        """The encoder's product with its bias, and nothing else."""
        import torch

        sae = self.dictionary.sae
        for batch in self.groups(len(self.stories)):
            width = self.max_elements // len(batch.resid)
            for first in range(0, self.dictionary.d_sae, width):
                block = slice(first, first + width)
                torch.addmm(sae.b_enc[block], batch.resid, sae.W_enc[:, block])

    def pool_dense(self) -> list[Any]:
        """Dense rows of every story, by sae-lens' encoder."""
        found = []
        for resid in self.stories:
            acts = self.dictionary.sae.encode(resid)
            found.append((acts.mean(0), *acts.max(0), (acts > 0).float().mean(0)))
        return found

    def describe(self) -> dict[str, float]:
        """How densely it fires, after a check that both ways of pooling agree."""
        import torch

        from emosae.features.story_rows import pool_stories

        l0 = float((self.dictionary.sae.encode(self.stories[0]) > 0).sum(1).float().mean())
        dense, unlike = self.pool_dense(), []
        for batch in self.groups(len(self.stories)):
            for index, row in pool_stories(self.dictionary, batch, self.max_elements).items():
                for theirs, ours in zip(dense[index], (row.mean, row.peak, None, row.fraction), strict=True):
                    if ours is not None:
                        table = torch.zeros(self.dictionary.d_sae)
                        table[torch.from_numpy(row.feature_idx).long()] = torch.from_numpy(ours)
                        odd = (table - theirs).abs() > 1e-5 * theirs + 1e-6  # float noise decides who fires
                        unlike.append(odd.float().mean().item())
        cells = self.pool(len(self.stories)) / len(self.stories) / self.dictionary.d_sae
        return {"l0": l0, "cells": cells, "unlike": max(unlike)}


if __name__ == "__main__":
    main()
