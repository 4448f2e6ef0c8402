"""A direction that is added at every token is read as any residual is: with bias, threshold and competition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from planted import HOOK, PlantedSae, planted_lm, planted_sae

from emosae.features import SpikedStories, read_spikable
from emosae.stories import Story

WORDS = tuple("abcdefgh")
VECTORS = torch.randn(len(WORDS), 6, generator=torch.Generator().manual_seed(0))
STORIES = [Story(f"s{at}", "calm", None, text) for at, text in enumerate(("a b c d e", "b b", "h g f", "c a a d"))]


def read(sae: PlantedSae, **options: int) -> SpikedStories:
    return read_spikable(planted_lm(VECTORS, WORDS), {"toy": sae}, STORIES, **options)


def resid_of(story: Story, skip_tokens: int = 0) -> torch.Tensor:
    return VECTORS[[WORDS.index(word) for word in story.text.split()[skip_tokens:]]]


MEAN_NORM = float(torch.cat([resid_of(story) for story in STORIES]).norm(dim=1).mean())


@pytest.mark.parametrize("skip_tokens", [0, 1])
def test_a_spike_of_no_strength_leaves_the_mean_activations(skip_tokens: int) -> None:
    sae = planted_sae(6, 12, threshold=0.3)
    spikable = read(sae, skip_tokens=skip_tokens, batch_tokens=7)
    means = torch.stack([sae.encode(resid_of(story, skip_tokens)).mean(dim=0) for story in STORIES])
    assert (means > 0).any()
    for feature_idx in range(12):
        np.testing.assert_allclose(spikable.pool("toy", feature_idx, 0.0), means[:, feature_idx], atol=1e-6)


def test_a_spike_adds_its_share_of_the_mean_norm_at_every_token() -> None:
    sae = planted_sae(6, 4)
    lively = replace(sae, W_dec=3 * sae.W_dec, b_enc=torch.full((4,), 50.0))
    spikable = read(lively)
    for feature_idx in range(4):
        gain = spikable.pool("toy", feature_idx, 0.25) - spikable.pool("toy", feature_idx, 0.0)
        np.testing.assert_allclose(gain, 0.25 * MEAN_NORM, rtol=1e-4)


def test_a_threshold_swallows_a_weak_spike() -> None:
    spikable = read(planted_sae(6, 4, threshold=3 * MEAN_NORM))
    assert not spikable.pool("toy", 0, 0.5).any()
    assert spikable.pool("toy", 0, 6.0).all()


@dataclass(frozen=True, eq=False)
class OneWinner(PlantedSae):
    """Only the strongest feature of a token fires."""

    def encode(self, resid: torch.Tensor, /, feature_idx: torch.Tensor | None = None) -> torch.Tensor:
        acts = super().encode(resid)
        acts = acts * (acts == acts.max(dim=1, keepdim=True).values)
        return acts if feature_idx is None else acts[:, feature_idx]


def test_a_spike_competes_with_the_other_features() -> None:
    sae = planted_sae(6, 6)
    crowded = OneWinner(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)
    spikable = read(crowded)
    weak, strong = (spikable.pool("toy", 0, strength) for strength in (0.05, 4.0))
    alone = read(sae).pool("toy", 0, 4.0)
    assert (weak < read(sae).pool("toy", 0, 0.05)).any()
    np.testing.assert_allclose(strong, alone, rtol=1e-5)


def test_saes_of_several_hooks_are_read_at_once() -> None:
    late = replace(planted_sae(6, 4), hook_name="blocks.1.hook_resid_post")
    saes = {"early": replace(late, hook_name=HOOK), "late": late}
    spikable = read_spikable(planted_lm(VECTORS, WORDS), saes, STORIES)
    early, late_acts = (spikable.pool(name, 2, 0.5) for name in ("early", "late"))
    np.testing.assert_allclose(late_acts, 2 * early, rtol=1e-5)
