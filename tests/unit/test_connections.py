"""A planted chain, token to feature to feature, is found exactly; gradients and cuts agree with doing it by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import PlantedSae, planted_lm
from planted_stories import wrap_acts
from torch import Tensor, nn

from emosae.connections import Target, choose_targets, trace_connections
from emosae.connections.cutting import Probe, cut_features, cut_tokens
from emosae.connections.gradients import read_slopes
from emosae.connections.links import Drops, interval
from emosae.connections.targets import INPUT_HOOK, Excerpt
from emosae.hooks import Prompt, TokenMarks
from emosae.interventions import Ablate, Intervention, edit_fns
from emosae.lm import LanguageModel, read_resid
from emosae.stories import Story

D_IN = 10
FIRST, SECOND = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
WORDS = ("grave", "bus", "lamp", "tea", "road")
TOKEN, A, B = torch.eye(D_IN)[:3]


class _Write(nn.Module):
    """Adds what is found along one direction, here or summed over all positions so far, along another."""

    def __init__(self, read: Tensor, write: Tensor, *, over_time: bool, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read, self.write, self.over_time, self.bend = read, write, over_time, bend

    def forward(self, resid: Tensor) -> Tensor:
        found = resid @ self.read.to(resid)
        found = found.cumsum(dim=1) if self.over_time else found
        return resid + self.bend(found)[..., None] * self.write.to(resid)


class _Chain(nn.Module):
    def __init__(self, vectors: Tensor, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("table", torch.cat([torch.zeros_like(vectors[:1]), vectors]))
        self.blocks = nn.ModuleList(
            [_Write(TOKEN, A, over_time=False, bend=bend), _Write(A, B, over_time=True, bend=bend)]
        )

    def forward(self, input_ids: Tensor, **_: object) -> Tensor:
        resid = self.table[input_ids]
        for block in self.blocks:
            resid = block(resid)
        return resid


def chain_lm(*, bend: Callable[[Tensor], Tensor] = lambda x: x, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """`grave` writes A where it stands, and the second block writes B for every A so far."""
    vectors = torch.eye(D_IN, dtype=dtype)[[0, 4, 5, 6, 7]]
    model = _Chain(vectors, bend)
    return replace(planted_lm(vectors, WORDS), model=model, blocks=tuple(model.blocks))


def sae_of(first: Tensor, name: str, hook_name: str, dtype: torch.dtype = torch.float32) -> PlantedSae:
    """Feature 0 is `first`, the others are the directions of the other words."""
    rows = torch.stack([first, *torch.eye(D_IN)[4:8]]).to(dtype)
    zero = torch.zeros(len(rows), dtype=dtype)
    return PlantedSae(rows.T, zero, rows, torch.zeros(D_IN, dtype=dtype), name=name, hook_name=hook_name)


def write_stories(n: int = 24) -> list[Story]:
    rng = np.random.default_rng(0)
    texts = [["grave"] * (1 + i % 3) + list(rng.choice(WORDS[1:], 6)) for i in range(n)]
    return [Story(f"s{i}", "sad", None, " ".join(rng.permutation(t)), split="discover") for i, t in enumerate(texts)]


def trace(lm: LanguageModel) -> tuple[list[dict], float]:
    stories = write_stories()
    counts = np.array([[story.text.split().count("grave"), 1, 1, 1, 1] for story in stories], dtype=float)
    dictionaries = {"early": sae_of(A, "early", FIRST), "late": sae_of(B, "late", SECOND)}
    features = [wrap_acts(counts, stories, sae=name, hook_name=d.hook_name) for name, d in dictionaries.items()]
    table = trace_connections(
        lm, dictionaries, features, stories, [Target("late", 0, "sad")], rng=np.random.default_rng(1), n_stories=24
    )
    words = [word for story in stories for word in story.text.split()]
    return table.to_pylist(), words.count("grave") / len(words)


def test_a_planted_chain_is_found_exactly() -> None:
    rows, share = trace(chain_lm())
    token, feature = (next(row for row in rows if row["kind"] == kind) for kind in ("token", "feature"))
    assert (token["source"], feature["source"]) == ("grave", "early/0")
    assert token["is_confirmed"]
    assert feature["is_confirmed"]
    assert token["drop"] == pytest.approx(token["attribution"], abs=1e-5)
    assert token["drop"] == pytest.approx(1 - share, abs=1e-5)
    assert (feature["attribution"], feature["drop"]) == (pytest.approx(1, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert feature["control_drop"] == pytest.approx(0, abs=1e-5)
    assert token["control_drop"] < 0
    assert [row for row in rows if row["is_confirmed"]] == [token, feature]


def test_a_feature_with_nothing_before_it_has_tokens_only() -> None:
    lm, stories = chain_lm(), write_stories()
    early = sae_of(A, "early", FIRST)
    counts = np.array([[story.text.split().count("grave"), 1, 1, 1, 1] for story in stories], dtype=float)
    table = trace_connections(
        lm,
        {"early": early},
        [wrap_acts(counts, stories, sae="early", hook_name=FIRST)],
        stories,
        [Target("early", 0, "sad")],
        rng=np.random.default_rng(0),
    )
    assert table["kind"].to_pylist() == ["token"]
    assert table["source"].to_pylist() == ["grave"]


def excerpts_of(lm: LanguageModel, *texts: str) -> list[Excerpt]:
    return [Excerpt(tuple(lm.document(text)), 1, 1.0) for text in texts]


@pytest.mark.parametrize("hook_name", [INPUT_HOOK, FIRST])
def test_gradients_agree_with_finite_differences(hook_name: str) -> None:
    lm = chain_lm(bend=torch.tanh, dtype=torch.float64)
    late = sae_of(B, "late", SECOND, torch.float64)
    excerpts = excerpts_of(lm, "bus grave tea grave", "grave lamp")
    step = torch.randn(6, D_IN, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def read(index: int, size: float) -> float:
        def nudge(resid: Tensor, marks: TokenMarks) -> Tensor:
            return resid + size * step[: resid.shape[1]]

        [(_, resid)] = read_resid(lm, [Prompt(excerpts[index].ids)], [SECOND], edits={hook_name: nudge})
        return float(late.encode(resid[SECOND])[-1, 0])

    for index, slopes in read_slopes(lm, late, 0, excerpts, [hook_name]):
        gradient = slopes[hook_name].gradient
        by_hand = (read(index, 1e-5) - read(index, -1e-5)) / 2e-5
        assert float((gradient * step[: len(gradient)]).sum()) == pytest.approx(by_hand, rel=1e-6)
        assert by_hand != 0


def test_cutting_features_is_ablating_them_and_a_clamp_by_hand() -> None:
    lm = chain_lm(bend=torch.tanh)
    early, late = sae_of(A + 0.3 * TOKEN, "early", FIRST), sae_of(B, "late", SECOND)
    excerpts = excerpts_of(lm, "bus grave tea grave", "grave lamp", "tea tea grave")
    cuts = [(excerpt, feature_idx) for excerpt in excerpts for feature_idx in (0, 2)]
    found = cut_features(Probe(lm, late, 0), early, cuts)
    for (excerpt, feature_idx), value in zip(cuts, found.tolist(), strict=True):
        edits = edit_fns([Intervention(FIRST, early, (Ablate(feature_idx),))])
        [(_, resid)] = read_resid(lm, [Prompt(excerpt.ids)], [SECOND], edits=edits)
        assert value == pytest.approx(float(late.encode(resid[SECOND])[-1, 0]), abs=1e-6)
        [(_, before)] = read_resid(lm, [Prompt(excerpt.ids)], [FIRST])
        acts = early.encode(before[FIRST])[:, feature_idx]
        clamped = before[FIRST] - acts[:, None] * early.direction(feature_idx)
        assert value == pytest.approx(float(late.encode(lm.blocks[1](clamped[None])[0])[-1, 0]), abs=1e-6)


def test_cutting_tokens_puts_the_mean_in_their_place() -> None:
    lm, late = chain_lm(), sae_of(B, "late", SECOND)
    [excerpt] = excerpts_of(lm, "bus grave tea grave")
    mean = 0.25 * TOKEN
    found = cut_tokens(Probe(lm, late, 0), mean, [(excerpt, [2]), (excerpt, [2, 4]), (excerpt, [1]), (excerpt, [])])
    assert found.tolist() == pytest.approx([1.25, 0.5, 2.25, 2.0])


def test_a_source_must_beat_its_controls_in_stories_enough() -> None:
    own, noise = np.full(8, 0.3), 0.05 * np.random.default_rng(0).normal(size=8)
    assert Drops("feature", "a/1", 0.3, own + noise, np.zeros(8)).describe()["is_confirmed"]
    assert not Drops("feature", "a/1", 0.3, own + noise, own).describe()["is_confirmed"]
    assert not Drops("feature", "a/1", 0.3, own + noise, np.full(8, np.nan)).describe()["is_confirmed"]
    few = Drops("token", "x", 0.3, own[:3], np.zeros(3)).describe()
    assert (few["is_confirmed"], few["drop_lo"], few["n_stories"]) == (False, None, 3)


def test_the_interval_is_students() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(0).normal(size=9)
    theirs = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((values.mean(), theirs.low, theirs.high))


def test_targets_are_the_best_confirmed_features_and_the_best_at_the_last_hook() -> None:
    row = {"q_bh": 0.01, "auroc_confirm_lo": 0.6, "emotion": "sad"}
    rows = [
        row | {"sae": "early", "feature_idx": 1, "auroc": 0.9},
        row | {"sae": "early", "feature_idx": 2, "auroc": 0.95, "auroc_confirm_lo": 0.4},
        row | {"sae": "late", "feature_idx": 3, "auroc": 0.8},
        row | {"sae": "late", "feature_idx": 3, "auroc": 0.85, "emotion": "grieving"},
        row | {"sae": "late", "feature_idx": 4, "auroc": 0.99, "emotion": "calm", "q_bh": 0.2},
    ]
    found = choose_targets(pa.Table.from_pylist(rows), {"early": FIRST, "late": SECOND})
    assert set(found) == {Target("early", 1, "sad"), Target("late", 3, "grieving")}
