"""Pooled features equal arithmetic done by hand on planted residuals, and do not depend on how the work was cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import HOOK, CountingSae, PlantedSae, planted_lm, planted_resid, planted_sae
from torch import Tensor

from emosae.errors import UserError
from emosae.features import StoryFeatures, check_fidelity, pool_features, pooling, token_acts, token_acts_many
from emosae.store import Stage
from emosae.stories import Story

WORDS = tuple("abcdefgh")
SAE = planted_sae(5, 7, seed=3, threshold=0.1)
VECTORS = torch.randn(len(WORDS), 5, generator=torch.Generator().manual_seed(2))
LM = planted_lm(VECTORS, WORDS)


def tell(*texts: str) -> list[Story]:
    return [Story(id=f"s{n}", emotion="calm", topic="rain", text=text) for n, text in enumerate(texts)]


STORIES = tell("a b c", "d", "a a a h", "e f g h e f g h", "b c", "h g f e d c b a")


def pool(stories: list[Story], **options: int) -> StoryFeatures:
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


@pytest.mark.parametrize("cut", [{"batch_tokens": 1}, {"max_elements": 1}, {"max_elements": 20, "batch_tokens": 9}])
def test_how_the_work_is_cut_changes_nothing(cut: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pool(STORIES)
    monkeypatch.setattr(pooling, "_GROUP_TOKENS", 3)
    split = pool(STORIES, **cut)
    for name in ("mean", "max", "fraction"):
        np.testing.assert_allclose(getattr(whole, name).toarray(), getattr(split, name).toarray(), rtol=1e-5)
    torch.testing.assert_close(whole.resid_mean, split.resid_mean)
    assert whole.top.drop_columns("value").equals(split.top.drop_columns("value"))


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
    pool_features(LM, {"toy": counting}, STORIES, max_elements=3 * SAE.d_sae)
    assert max(counting.sizes) == 3 * SAE.d_sae
    assert sum(counting.sizes) == SAE.d_sae * sum(len(story.text.split()) for story in STORIES)


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
    assert loaded.top.equals(pooled.top)


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
