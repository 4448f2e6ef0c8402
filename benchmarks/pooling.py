"""Encode stories with an SAE and pool them: emosae's `pool_stories`, the bare encoder product, and sae-lens' `encode`.

The product is `addmm` of the encoder's weights alone, in the very blocks that emosae computes; sae-lens encodes one
story at a time and its mean, maximum and share of firing tokens are taken from the dense activations. Residuals are
sums of the directions of features that a story draws from its own few, so that features fire in bursts as they do on
text; `l0` is how many fire on a token, `cells` the share of story-feature pairs that fire, `unlike` the largest share
of a story's pairs in which the two poolings differ by more than 1e-5: units at their threshold, moved by float noise.
`memory_mb` is how far resident memory rises while a corpus, and one four times as long, is pooled group by group, the
sparse results thrown away. `--wide` adds a dictionary of so many features and 16 dimensions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import measure

ARCHITECTURES = ("jumprelu", "standard", "topk")
STORY_TOKENS = 150
K = 64
OWN_FEATURES = 1500


def main() -> None:
    """Run all architectures."""
    arguments = measure.read_arguments(__doc__, d_in=1024, d_sae=16384, stories=14, memory_mb=128, wide=0)
    bench = Bench(arguments)
    comparisons, found = [], {}
    for architecture in ARCHITECTURES:
        dictionary = bench.build(architecture, arguments.d_sae)
        found[architecture] = bench.describe(dictionary)
        contenders: dict[str, Callable[[], object]] = {
            "emosae": lambda dictionary=dictionary: bench.pool(dictionary, arguments.stories),
            "matmul": lambda dictionary=dictionary: bench.multiply(dictionary),
            "sae-lens": lambda dictionary=dictionary: bench.pool_dense(dictionary),
        }
        comparison = measure.run(architecture, contenders, arguments.rounds)
        comparisons.append(comparison)
        seconds = comparison.seconds
        found[architecture] |= {
            "emosae/matmul": seconds["emosae"] / seconds["matmul"],
            "sae-lens/matmul": seconds["sae-lens"] / seconds["matmul"],
            "memory_mb": [bench.rise(dictionary, times * arguments.stories) for times in (1, 4)],
        }
    if arguments.wide:
        found["wide"] = bench.pool_wide(arguments.wide)
    measure.report("pooling", comparisons, arguments)
    for name, values in found.items():
        print(f"  {name:9}", ", ".join(f"{key} {_show(value)}" for key, value in values.items()))
    if arguments.json is not None:
        record = json.loads(arguments.json.read_text(encoding="utf-8")) | {"found": found}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _show(value: Any) -> str:
    return " then ".join(map(_show, value)) if isinstance(value, list) else f"{value:.3g}"


class Bench:
    """Planted stories, and dictionaries that read them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch

        from emosae.features.pooling import share_memory

        self.arguments = arguments
        self.generator = torch.Generator().manual_seed(0)
        self.rows = torch.nn.functional.normalize(
            torch.randn(arguments.d_sae, arguments.d_in, generator=self.generator), dim=1
        )
        self.most_tokens, self.max_elements = share_memory(float(arguments.memory_mb), arguments.d_in, 1)
        self.stories = [self.draw_story() for _ in range(arguments.stories)]

    def draw_story(self) -> Any:
        """Residuals of a story: at each token `K` of the story's own features, in varying strength."""
        import torch

        own = torch.randperm(self.arguments.d_sae, generator=self.generator)[:OWN_FEATURES]
        acts = torch.rand(STORY_TOKENS, OWN_FEATURES, generator=self.generator)
        least = acts.topk(K, dim=1).values[:, -1:]
        strength = 1 + torch.rand(STORY_TOKENS, OWN_FEATURES, generator=self.generator)
        return (acts >= least) * strength @ self.rows[own]

    def build(self, architecture: str, d_sae: int) -> Any:
        """A tied sae-lens SAE of the planted directions that fires about `K` times on a token."""
        import torch
        from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
        from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
        from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

        from emosae.sae import SaeLensDictionary, TopKDictionary

        shape = {"d_in": self.arguments.d_in, "d_sae": d_sae, "device": "cpu", "dtype": "float32"}
        sae: Any = {
            "jumprelu": lambda: JumpReLUSAE(JumpReLUSAEConfig(**shape)),
            "standard": lambda: StandardSAE(StandardSAEConfig(**shape)),
            "topk": lambda: TopKSAE(TopKSAEConfig(k=K, **shape)),
        }[architecture]()
        sae.W_enc.data, sae.W_dec.data = self.rows.T.contiguous(), self.rows
        hidden = torch.cat(self.stories[:2]) @ self.rows.T
        least = hidden.flatten().topk(K * len(hidden)).values.min()
        if architecture == "standard":
            sae.b_enc.data -= least
        elif architecture == "jumprelu":
            sae.threshold.data += least
        kind = TopKDictionary if architecture == "topk" else SaeLensDictionary
        return kind(sae.eval().requires_grad_(False), architecture, "hook")

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

    def pool(self, dictionary: Any, n_stories: int) -> int:
        """Number of story-feature pairs that fire."""
        from emosae.features.story_rows import pool_stories

        fired = 0
        for batch in self.groups(n_stories):
            rows = pool_stories(dictionary, batch, self.max_elements)
            fired += sum(len(row.feature_idx) for row in rows.values())
        return fired

    def multiply(self, dictionary: Any) -> None:
        """The encoder's product with its bias, and nothing else."""
        import torch

        sae = dictionary.sae
        for batch in self.groups(len(self.stories)):
            width = self.max_elements // len(batch.resid)
            for first in range(0, dictionary.d_sae, width):
                block = slice(first, first + width)
                torch.addmm(sae.b_enc[block], batch.resid, sae.W_enc[:, block])

    def pool_dense(self, dictionary: Any) -> list[Any]:
        """Dense rows of every story, by sae-lens' encoder."""
        found = []
        for resid in self.stories:
            acts = dictionary.sae.encode(resid)
            found.append((acts.mean(0), *acts.max(0), (acts > 0).float().mean(0)))
        return found

    def describe(self, dictionary: Any) -> dict[str, float]:
        """How densely it fires, after a check that both ways of pooling agree."""
        import torch

        from emosae.features.story_rows import pool_stories

        l0 = float((dictionary.sae.encode(self.stories[0]) > 0).sum(1).float().mean())
        dense, unlike = self.pool_dense(dictionary), []
        for batch in self.groups(len(self.stories)):
            for index, row in pool_stories(dictionary, batch, self.max_elements).items():
                for theirs, ours in zip(dense[index], (row.mean, row.peak, None, row.fraction), strict=True):
                    if ours is not None:
                        table = torch.zeros(dictionary.d_sae)
                        table[torch.from_numpy(row.feature_idx).long()] = torch.from_numpy(ours)
                        odd = (table - theirs).abs() > 1e-5 * theirs + 1e-6  # float noise decides who fires
                        unlike.append(odd.float().mean().item())
        cells = self.pool(dictionary, len(self.stories)) / len(self.stories) / dictionary.d_sae
        return {"l0": l0, "cells": cells, "unlike": max(unlike)}

    def rise(self, dictionary: Any, n_stories: int) -> float:
        """Megabytes of resident memory above those before, at the highest."""
        return measure.rise_mb(lambda: self.pool(dictionary, n_stories))

    def pool_wide(self, d_sae: int) -> dict[str, float]:
        """A dictionary of very many features and 16 dimensions, pooled in the same memory; `dense_mb` is a story's."""
        import torch
        from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig

        from emosae.activations import TokenBatch
        from emosae.features.story_rows import pool_stories
        from emosae.sae import SaeLensDictionary

        sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=16, d_sae=d_sae, device="cpu", dtype="float32"))
        sae.threshold.data += 12.0 / 16**0.5
        dictionary = SaeLensDictionary(sae.eval().requires_grad_(False), "wide", "hook")
        story = torch.arange(4).repeat_interleave(STORY_TOKENS)
        resid = torch.randn(len(story), 16, generator=self.generator)
        batch = TokenBatch(resid, story, torch.arange(STORY_TOKENS).repeat(4))
        memory = measure.rise_mb(lambda: pool_stories(dictionary, batch, self.max_elements))
        return {"d_sae": d_sae, "memory_mb": memory, "dense_mb": STORY_TOKENS * d_sae * 4 / 2**20}


if __name__ == "__main__":
    main()
