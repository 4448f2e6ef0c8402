"""Pooled features equal arithmetic done by hand on planted residuals, and do not depend on how the work was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import HOOK, CountingSae, PlantedSae, planted_lm, planted_resid, planted_sae
from torch import Tensor

from emosae.activations import TokenBatch
from emosae.axes import FeatureColumns
from emosae.encoders import Projection, SparseActs, encode_top
from emosae.errors import UserError
from emosae.features import StoryFeatures, check_fidelity, pool_features, pooling, token_acts, token_acts_many
from emosae.features.pooling import share_memory
from emosae.features.story_rows import pool_stories
from emosae.store import Stage
from emosae.stories import Story

WORDS = tuple("abcdefgh")
SAE = planted_sae(5, 7, seed=3, threshold=0.1)
VECTORS = torch.randn(len(WORDS), 5, generator=torch.Generator().manual_seed(2))
LM = planted_lm(VECTORS, WORDS)


@dataclass(frozen=True, eq=False)
class TopKSae(PlantedSae):
    """The k strongest features of a token fire."""

    k: int = 1

    def encode(self, resid: Tensor, /, feature_idx: FeatureColumns | None = None) -> Tensor:
        acts = super().encode(resid)
        top = acts.topk(self.k, dim=1)
        acts = torch.zeros_like(acts).scatter(1, top.indices, top.values)
        return acts if feature_idx is None else acts[:, feature_idx]

    def encode_sparse(self, resid: Tensor, /, *, max_elements: int) -> SparseActs:
        return encode_top(resid - self.b_dec, self.W_enc, self.b_enc, k=self.k, max_elements=max_elements)


def tell(*texts: str) -> list[Story]:
    return [Story(id=f"s{n}", emotion="calm", topic="rain", text=text) for n, text in enumerate(texts)]


STORIES = tell("a b c", "d", "a a a h", "e f g h e f g h", "b c", "h g f e d c b a")


def pool(stories: list[Story], **options: float) -> StoryFeatures:
    return pool_features(LM, {"toy": SAE}, stories, **options).features["toy"]


def acts_of(story: Story) -> Tensor:
    return SAE.encode(torch.stack([VECTORS[WORDS.index(word)] for word in story.text.split()]))


def test_pooling_is_mean_max_and_share_of_firing_tokens() -> None:
    pooled = pool(STORIES)
    acts = [acts_of(story) for story in STORIES]
    for table, reduce in (
        (pooled.mean, lambda a: a.mean(0)),
        (pooled.max, lambda a: a.amax(0)),
        (pooled.fraction, lambda a: (a > 0).float().mean(0)),
    ):
        np.testing.assert_allclose(table.toarray(), torch.stack([reduce(a) for a in acts]), rtol=1e-6)
    assert pooled.n_tokens.tolist() == [len(a) for a in acts]
    assert pooled.story_ids == tuple(story.id for story in STORIES)


def test_the_average_residual_is_that_of_the_pooled_tokens() -> None:
    rows = [VECTORS[[WORDS.index(word) for word in story.text.split()[1:]]] for story in STORIES[2:]]
    expected = torch.stack([row.mean(0) for row in rows])
    torch.testing.assert_close(pool(STORIES[2:], skip_tokens=1).resid_mean, expected)


CUTS = [{"batch_tokens": 1}, {"memory_mb": 1e-6}, {"memory_mb": 2e-3}, {"memory_mb": 4e-3, "batch_tokens": 9}]


@pytest.mark.parametrize("sae", [SAE, TopKSae(**vars(SAE), k=2)], ids=["alone", "competing"])
@pytest.mark.parametrize("cut", CUTS)
def test_how_the_work_is_cut_changes_nothing(sae: PlantedSae, cut: dict[str, float]) -> None:
    whole = pool_features(LM, {"toy": sae}, STORIES).features["toy"]
    split = pool_features(LM, {"toy": sae}, STORIES, **cut).features["toy"]
    for name in ("mean", "max", "fraction"):
        np.testing.assert_allclose(getattr(whole, name).toarray(), getattr(split, name).toarray(), rtol=1e-5)
    torch.testing.assert_close(whole.resid_mean, split.resid_mean)
    assert whole.top.select(["feature_idx", "rank"]).equals(split.top.select(["feature_idx", "rank"]))
    np.testing.assert_allclose(whole.top["value"], split.top["value"], rtol=1e-5)


def test_competing_features_pool_as_their_dense_activations_do() -> None:
    sae = TopKSae(**vars(planted_sae(5, 4096, seed=4)), k=3)
    for memory_mb in (1e-4, 0.05, 64.0):
        pooled = pool_features(LM, {"toy": sae}, STORIES, memory_mb=memory_mb).features["toy"]
        for row, story in enumerate(STORIES):
            acts = sae.encode(torch.stack([VECTORS[WORDS.index(word)] for word in story.text.split()]))
            assert acts.count_nonzero(dim=1).tolist() == [3] * len(acts)
            expected = {"mean": acts.mean(0), "max": acts.amax(0), "fraction": (acts > 0).float().mean(0)}
            for name, values in expected.items():
                np.testing.assert_allclose(getattr(pooled, name).toarray()[row], values, rtol=1e-5)


def test_permuting_stories_permutes_rows() -> None:
    order = [3, 0, 5, 1, 4, 2]
    straight, permuted = pool(STORIES), pool([STORIES[n] for n in order])
    assert np.array_equal(straight.mean.toarray()[order], permuted.mean.toarray())
    assert torch.equal(straight.resid_mean[order], permuted.resid_mean)


def test_only_firing_features_are_stored_and_the_tables_share_their_entries() -> None:
    pooled = pool(STORIES)
    assert 0 < pooled.mean.nnz < np.prod(pooled.mean.shape)
    assert (pooled.max.data > 0).all()
    for table in (pooled.max, pooled.fraction):
        assert np.array_equal(table.indices, pooled.mean.indices)
        assert np.array_equal(table.indptr, pooled.mean.indptr)


def test_a_dictionary_that_never_fires_pools_to_zeros() -> None:
    silent = replace(SAE, threshold=99.0)
    pooled = pool_features(LM, {"silent": silent}, STORIES).features["silent"]
    assert pooled.mean.shape == (len(STORIES), SAE.d_sae)
    assert pooled.mean.nnz == pooled.top.num_rows == 0


def test_top_names_the_strongest_stories_and_the_token() -> None:
    top = pool(STORIES, skip_tokens=0).top.to_pylist()
    for feature_idx in range(SAE.d_sae):
        rows = [row for row in top if row["feature_idx"] == feature_idx]
        peaks = [(story.id, acts_of(story)[:, feature_idx]) for story in STORIES]
        fired = [(story_id, acts) for story_id, acts in peaks if acts.max() > 0]
        expected = sorted(fired, key=lambda found: -found[1].max().item())
        assert [row["story_id"] for row in rows] == [story_id for story_id, _ in expected]
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["token_pos"] for row in rows] == [acts.argmax().item() for _, acts in expected]


def test_top_holds_eight_stories_and_breaks_ties_by_their_order() -> None:
    top = pool(tell(*["a a"] * 12)).top.to_pylist()
    firing = int((acts_of(tell("a")[0]) > 0).sum())
    assert firing > 0
    assert [row["story_id"] for row in top] == [f"s{n}" for n in range(8)] * firing
    assert {row["token_pos"] for row in top} == {0}


def test_skipped_tokens_are_not_pooled_and_positions_count_them() -> None:
    skipped = pool(tell("h h a b"), skip_tokens=2)
    assert np.array_equal(skipped.mean.toarray(), pool(tell("a b")).mean.toarray())
    assert min(skipped.top["token_pos"].to_pylist()) == 2


def test_stories_that_end_before_the_pooled_part_are_refused_by_id() -> None:
    with pytest.raises(UserError, match=r"stories without tokens after the first 3: s0, s1, s4; lower skip_tokens"):
        pool(STORIES, skip_tokens=3)
    with pytest.raises(UserError, match="there are no stories"):
        pool([])


def test_a_dictionary_of_another_width_is_refused() -> None:
    with pytest.raises(UserError, match="SAE wide reads 9 dimensions, the model has 5"):
        pool_features(LM, {"wide": planted_sae(9, 3)}, STORIES)


def test_several_dictionaries_and_hooks_are_pooled_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []
    read = pooling.read_tokens
    monkeypatch.setattr(pooling, "read_tokens", lambda *a, **k: (passes.append(a[2]), read(*a, **k))[1])
    deep, other = replace(SAE, hook_name="blocks.1.hook_resid_post"), planted_sae(5, 4, seed=8)
    pooled = pool_features(LM, {"toy": SAE, "deep": deep, "other": other}, STORIES).features
    assert passes == [[HOOK, deep.hook_name]]
    assert pooled["deep"].hook_name == deep.hook_name
    torch.testing.assert_close(pooled["deep"].resid_mean, 2 * pooled["toy"].resid_mean)
    assert pooled["other"].mean.shape == (len(STORIES), 4)
    assert np.array_equal(pooled["toy"].mean.toarray(), pool(STORIES).mean.toarray())


def test_residuals_of_further_hooks_are_averaged_in_the_same_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []
    read = pooling.read_tokens
    monkeypatch.setattr(pooling, "read_tokens", lambda *a, **k: (passes.append(a[2]), read(*a, **k))[1])
    deep = "blocks.1.hook_resid_post"
    pooled = pool_features(LM, {"toy": SAE}, STORIES, hooks=[HOOK, deep])
    assert passes == [[HOOK, deep]]
    assert list(pooled.resid_mean) == [deep]
    torch.testing.assert_close(pooled.resid_mean[deep], 2 * pooled.features["toy"].resid_mean)


def test_no_dense_block_is_larger_than_allowed() -> None:
    counting = CountingSae(SAE.W_enc, SAE.b_enc, SAE.W_dec, SAE.b_dec, SAE.threshold)
    pool_features(LM, {"toy": counting}, STORIES, memory_mb=2e-3)
    most_tokens, max_elements = share_memory(2e-3, d_in=5, n_hooks=1)
    longest = max(len(story.text.split()) for story in STORIES)
    assert longest > most_tokens == 6
    assert longest < max(counting.sizes) <= max_elements == 43
    assert sum(counting.sizes) == SAE.d_sae * sum(len(story.text.split()) for story in STORIES)


@dataclass(frozen=True, eq=False)
class ProjectingSae(PlantedSae):
    """Gives its products by themselves, and notes which features it activates for how many rows."""

    asked: list[tuple[int, list[int]]] = field(default_factory=list)

    def project(self, resid: Tensor, /, *, width: int) -> Iterator[Projection]:
        for start in range(0, self.d_sae, width):
            columns = slice(start, min(start + width, self.d_sae))
            yield Projection(
                columns, (resid - self.b_dec) @ self.W_enc[:, columns] + self.b_enc[columns], self.activate
            )

    def activate(self, hidden_pre: Tensor, columns: FeatureColumns) -> Tensor:
        named = range(self.d_sae)[columns] if isinstance(columns, slice) else columns.tolist()
        self.asked.append((len(hidden_pre), list(named)))
        return torch.relu(hidden_pre) * (hidden_pre > self.threshold)


def test_tokens_are_activated_only_at_features_that_fire_in_their_story() -> None:
    choosy = replace(SAE, threshold=0.6)
    sae = ProjectingSae(**vars(choosy))
    resid = torch.cat([VECTORS[:4], VECTORS[4:6], VECTORS[4:6]])
    story = torch.tensor([0] * 4 + [1] * 4)
    batch = TokenBatch(resid, story, torch.arange(4).repeat(2))
    rows = pool_stories(sae, batch, 8 * 3)
    fired = [(choosy.encode(part).amax(0) > 0).nonzero()[:, 0].tolist() for part in resid.split(4)]
    assert 0 < len(fired[0]) < SAE.d_sae
    assert [rows[index].feature_idx.tolist() for index in (0, 1)] == fired
    activated = [named for n, named in sae.asked if n == 4]
    assert [[one for named in activated[index::2] for one in named] for index in (0, 1)] == fired
    assert [named for n, named in sae.asked if n == 2] == [[0, 1, 2], [3, 4, 5], [6]]
    plain = pool_stories(choosy, batch, 8 * 3)
    for index, row in rows.items():
        for name in ("mean", "peak", "peak_row", "fraction"):
            assert np.array_equal(getattr(row, name), getattr(plain[index], name))


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes of tensors, and of the arrays that share their memory, beyond those there were."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes))


@pytest.mark.parametrize("is_competing", [False, True])
def test_a_wide_dictionary_is_pooled_in_the_memory_it_is_given(is_competing: bool) -> None:
    wide = planted_sae(5, 2**15, seed=3, threshold=2.5)
    sae = TopKSae(**vars(wide), k=2) if is_competing else wide
    resid = VECTORS[torch.arange(120) % 8]
    batch = TokenBatch(resid, torch.arange(3).repeat_interleave(40), torch.arange(40).repeat(3))
    budget, max_elements = 2 * 2**20, share_memory(2.0, 5, 1)[1]
    peak = peak_bytes(lambda: pool_stories(sae, batch, max_elements))
    assert len(resid) * sae.d_sae * 4 > 7 * budget
    assert 2**16 < peak < budget


def test_the_memory_of_pooling_does_not_grow_with_the_corpus() -> None:
    sae = replace(SAE, threshold=99.0)
    peaks = [peak_bytes(lambda n=n: pool_features(LM, {"x": sae}, STORIES * n, memory_mb=0.2)) for n in (2, 2, 8)]
    assert peaks[2] < 1.5 * peaks[1] + 2**19


def test_residuals_that_are_not_finite_are_refused_by_their_story() -> None:
    vectors = VECTORS.clone()
    vectors[WORDS.index("h"), 2] = torch.inf
    with pytest.raises(UserError, match="residuals of story s2 are not finite"):
        pool_features(planted_lm(vectors, WORDS), {"toy": SAE}, tell("a b", "c", "a a h"))


def test_top_shows_the_words_around_the_strongest_token() -> None:
    stories = tell("d " * 20 + " ".join(WORDS * 3), "c b a")
    by_id = {story.id: story.text.split() for story in stories}
    rows = pool(stories).top.to_pylist()
    for row in rows:
        words, at = by_id[row["story_id"]], row["token_pos"]
        assert row["token"] == words[at]
        assert row["before"].split() == words[max(0, at - 12) : at]
        assert row["after"].split() == words[at + 1 : at + 13]
    assert max(row["token_pos"] for row in rows) > 20


def test_saved_features_load_unchanged(tmp_path: Path) -> None:
    pooled = pool(STORIES)
    pooled.save(Stage(tmp_path))
    loaded = StoryFeatures.load(Stage(tmp_path))
    assert (loaded.sae, loaded.hook_name, loaded.story_ids) == (pooled.sae, pooled.hook_name, pooled.story_ids)
    for name in ("mean", "max", "fraction"):
        before, after = getattr(pooled, name), getattr(loaded, name)
        assert before.shape == after.shape
        assert np.array_equal(before.toarray(), after.toarray())
        assert before.dtype == after.dtype == np.float32
    assert np.array_equal(loaded.n_tokens, pooled.n_tokens)
    assert torch.equal(loaded.resid_mean, pooled.resid_mean)
    assert loaded.top.schema.equals(pooled.top.schema)
    assert loaded.top.to_pylist() == pooled.top.to_pylist()


def test_token_acts_are_those_of_each_word() -> None:
    shown = token_acts(LM, SAE, STORIES[3], [6, 0])
    assert shown.tokens == tuple("efghefgh")
    assert (shown.story_id, shown.feature_idx) == ("s3", (6, 0))
    torch.testing.assert_close(shown.acts, acts_of(STORIES[3])[:, [6, 0]])


def test_token_acts_of_many_stories_keep_their_order_and_features() -> None:
    shown = token_acts_many(LM, SAE, STORIES, [[n % SAE.d_sae] for n in range(len(STORIES))])
    assert [acts.story_id for acts in shown] == [story.id for story in STORIES]
    assert [acts.feature_idx for acts in shown] == [(n % SAE.d_sae,) for n in range(len(STORIES))]
    for n, (acts, story) in enumerate(zip(shown, STORIES, strict=True)):
        torch.testing.assert_close(acts.acts[:, 0], acts_of(story)[:, n % SAE.d_sae])


def test_the_strongest_token_of_top_is_where_token_acts_peak() -> None:
    by_id = {story.id: story for story in STORIES}
    for row in pool(STORIES, skip_tokens=0).top.to_pylist():
        acts = token_acts(LM, SAE, by_id[row["story_id"]], [row["feature_idx"]]).acts[:, 0]
        assert acts[row["token_pos"]].item() == pytest.approx(row["value"])
        assert acts.max().item() == pytest.approx(row["value"])


def fitted(**recorded: float) -> tuple[PlantedSae, Tensor]:
    resid, rows = planted_resid(400, 16, 12, l0=2.0)
    offset = resid.mean(0) - (resid - resid.mean(0)).mean(0)
    sae = planted_sae(16, 12, b_dec=offset, recorded=recorded)
    return replace(sae, W_enc=torch.linalg.pinv(rows), W_dec=rows), resid


def test_fidelity_near_the_record_passes_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    sae, resid = fitted()
    quality = check_fidelity(sae, resid)
    assert quality.fvu < 0.5
    check_fidelity(replace(sae, recorded={"l0": quality.l0 * 1.5, "fvu": quality.fvu - 0.1}), resid)
    assert not recwarn.list


def test_fidelity_off_the_record_warns_and_far_off_is_refused() -> None:
    sae, resid = fitted()
    l0 = check_fidelity(sae, resid).l0
    with pytest.warns(UserWarning, match="but recorded l0"):
        check_fidelity(replace(sae, recorded={"l0": l0 / 3}), resid)
    with pytest.warns(UserWarning, match="but recorded fvu"):
        check_fidelity(replace(sae, recorded={"fvu": -0.2}), resid)
    for wrong in (l0 / 6, l0 * 6):
        with pytest.raises(UserError, match=f"SAE planted at {HOOK}.*check the hook"):
            check_fidelity(replace(sae, recorded={"l0": wrong}), resid)


def test_a_dictionary_worse_than_the_mean_is_refused_with_or_without_a_record() -> None:
    sae, resid = fitted()
    with pytest.raises(UserError, match="worse than the mean residual"):
        check_fidelity(replace(sae, W_dec=-sae.W_dec), resid)
