"""One dictionary, permuted, split, merged, blurred and thinned, is matched to itself; what has no partner is alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors

import emosae.matching.nearest as nearest
from emosae.errors import UserError
from emosae.matching import LINK_SCHEMA, Criteria, Products, match_features
from emosae.matching.assignment import assign_nearest, assign_rows
from emosae.matching.nearest import find_nearest
from emosae.matching.null import draw_alike, upper_quantile
from emosae.validation.twins import Pair, Twins, TwinWorld, plant_twins

SMALL = TwinWorld(n_features=60, n_changed=8, n_stories=240, n_tokens=12)
UNRELATED = replace(SMALL, is_related=False)


def draw_unit(n: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@cache
def plant(world: TwinWorld, seed: int = 0) -> Twins:
    return plant_twins(world, np.random.default_rng([seed, 1]))


def link(twins: Twins, seed: int = 0, **criteria) -> pa.Table:
    rng = np.random.default_rng([seed, 2])
    options = {"block": twins.block, "criteria": Criteria(**criteria)}
    return match_features(twins.a, twins.b, twins.dict_a, twins.dict_b, rng=rng, **options)


def sort_out(links: pa.Table, first: str = "a") -> dict[str, set[Pair]]:
    """Pairs of features by relation, the `first` SAE first; those written the other way round have a third place."""
    found: dict[str, set] = defaultdict(set)
    for row in links.to_pylist():
        pair = (row["feature_a"], row["feature_b"])
        found[row["relation"]].add(pair if row["sae_a"] == first else (*pair, "turned"))
    return found


@pytest.mark.parametrize(("ka", "kb", "k"), [(40, 60, 1), (60, 40, 3), (1, 5, 9), (7, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_mb", [256.0, 0.001])
def test_tiles_of_any_size_and_type_find_what_brute_force_finds(
    ka: int, kb: int, k: int, dtype: torch.dtype, memory_mb: float
) -> None:
    a, b = draw_unit(ka, 24), draw_unit(kb, 24, seed=1)
    found = find_nearest(a, b, k=k, how=Products(memory_mb, dtype))
    product = a.astype(np.float64) @ b.T.astype(np.float64)
    k = min(k, kb)
    np.testing.assert_array_equal(found.to_b, np.argsort(-product, axis=1, kind="stable")[:, :k])
    np.testing.assert_array_equal(found.to_a, product.argmax(axis=0))
    np.testing.assert_allclose(found.value_b, -np.sort(-product, axis=1)[:, :k], atol=1e-7)
    forward, back = (NearestNeighbors(n_neighbors=1, metric="cosine").fit(table) for table in (b, a))
    np.testing.assert_array_equal(found.to_b[:, 0], forward.kneighbors(a, return_distance=False)[:, 0])
    np.testing.assert_array_equal(found.to_a, back.kneighbors(b, return_distance=False)[:, 0])


def test_of_equal_rows_the_first_is_nearest() -> None:
    a = np.tile(draw_unit(1, 8), (4, 1))
    found = find_nearest(a, a, k=2, how=Products(0.001))
    assert found.to_b.tolist() == [[0, 1]] * 4
    assert found.to_a.tolist() == [0] * 4


def test_the_whole_product_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, real = [], nearest._Kept.add

    def note(self: nearest._Kept, tile: torch.Tensor, row: int, column: int) -> None:
        sizes.append(tile.numel())
        real(self, tile, row, column)

    monkeypatch.setattr(nearest._Kept, "add", note)
    budget_mb = 0.25
    find_nearest(draw_unit(300, 16), draw_unit(400, 16, seed=1), how=Products(budget_mb))
    assert sum(sizes) == 300 * 400
    assert max(sizes) * 4 * 4 <= budget_mb * 2**20 < 300 * 400 * 4


def test_products_of_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="float16"):
        find_nearest(draw_unit(2, 4), draw_unit(2, 4), how=Products(dtype=torch.float16))


@pytest.mark.parametrize("floor", [0.0, 0.3, 0.6])
def test_the_assignment_is_scipys_and_its_bound_holds_with_few_candidates(floor: float) -> None:
    a = draw_unit(60, 12)
    b = draw_unit(50, 12, seed=1) + 0.6 * a[:50]
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    worth = np.maximum(a.astype(np.float64) @ b.T.astype(np.float64) - floor, 0)
    best = worth[linear_sum_assignment(worth, maximize=True)].sum()
    dense = assign_rows(a, b, floor)
    assert (dense.total, dense.gap) == (pytest.approx(best), 0.0)
    whole = assign_nearest(find_nearest(a, b, k=50), floor)
    assert (whole.total, whole.bound) == (pytest.approx(best), pytest.approx(best))
    few = assign_nearest(find_nearest(a, b, k=2), floor)
    assert few.total <= best + 1e-9 <= few.bound + 2e-9
    assert few.total == pytest.approx(worth[few.pairs[:, 0], few.pairs[:, 1]].sum())
    assert few.gap == pytest.approx(1 - few.total / few.bound)
    assert len(np.unique(few.pairs[:, 0])) == len(np.unique(few.pairs[:, 1])) == len(few.pairs)


def test_where_two_want_the_same_partner_the_assignment_gives_way_and_neighbours_do_not() -> None:
    a = np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.42426]], dtype=np.float32)
    b = np.array([[1.0, 0.0, 0.0], [0.8, 0.0, -0.6]], dtype=np.float32)
    assert find_nearest(a, b).mutual.tolist() == [[0, 0]]
    assert assign_rows(a, b, 0.0).pairs.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("seed", range(2))
def test_planted_matches_are_found_and_no_others(seed: int) -> None:
    twins = plant(SMALL, seed)
    found, truth = sort_out(link(twins, seed))["match"], twins.pairs["match"]
    assert len(found & truth) >= 0.95 * len(truth)
    assert len(found & truth) >= 0.95 * len(found)


def test_splits_merges_absorbed_features_and_orphans_have_their_labels() -> None:
    hit, planted, linked, alone = defaultdict(int), defaultdict(int), 0, 0
    for seed in range(2):
        twins = plant(SMALL, seed)
        links = link(twins, seed)
        found = sort_out(links)
        for kind in ("split", "merge", "absorbed"):
            hit[kind] += len(found[kind] & twins.pairs[kind])
            planted[kind] += len(twins.pairs[kind])
            assert len(found[kind] - twins.pairs[kind]) <= 3
        ends = {(row[f"sae_{end}"], row[f"feature_{end}"]) for row in links.to_pylist() for end in "ab"}
        orphans = [("a", i) if j < 0 else ("b", j) for i, j in twins.pairs["orphan"]]
        linked, alone = linked + sum(end in ends for end in orphans), alone + len(orphans)
    assert all(hit[kind] >= 0.85 * planted[kind] for kind in planted)
    assert linked <= 0.1 * alone


@pytest.mark.parametrize("same_hook", [True, False])
def test_of_unrelated_saes_no_more_features_are_linked_than_asked_for(same_hook: bool) -> None:
    world, alpha = replace(UNRELATED, same_hook=same_hook), 0.05
    shares = []
    for seed in range(4):
        twins = plant(world, seed)
        links = link(twins, seed, alpha=alpha).to_pylist()
        ends = {(row[f"sae_{end}"], row[f"feature_{end}"]) for row in links for end in "ab"}
        shares.append(len(ends) / (twins.a.d_sae + twins.b.d_sae))
    assert np.mean(shares) <= alpha + 0.02


def test_without_the_blocks_a_shared_emotion_passes_for_a_match() -> None:
    twins = plant(replace(UNRELATED, same_hook=False))
    fine = link(twins, alpha=0.2)
    coarse = match_features(
        twins.a, twins.b, twins.dict_a, twins.dict_b, rng=np.random.default_rng(0), criteria=Criteria(alpha=0.2)
    )
    assert coarse["activation_threshold"][0].as_py() < fine["activation_threshold"][0].as_py()
    assert len(coarse) > len(fine)


def test_shuffled_coordinates_would_take_the_shape_of_a_space_for_features() -> None:
    twins = plant(UNRELATED)
    a, b = (one.rows.numpy() / one.rows.norm(dim=1, keepdim=True).numpy() for one in (twins.dict_a, twins.dict_b))
    rng = np.random.default_rng(0)
    true = np.mean(find_nearest(a, b).value_b)
    alike = np.mean([find_nearest(a, draw_alike(b, rng)).value_b.mean() for _ in range(5)])
    shuffled = np.mean([find_nearest(a, b[:, rng.permutation(b.shape[1])]).value_b.mean() for _ in range(5)])
    assert abs(alike - true) < 0.02 < 0.05 < true - shuffled


def test_links_carry_their_measures_and_thresholds() -> None:
    twins = plant(SMALL)
    links = link(twins)
    assert links.schema == LINK_SCHEMA
    acts = [table.mean.toarray().astype(np.float64) for table in (twins.a, twins.b)]
    by_emotion = [np.stack([table[twins.block == e].mean(axis=0) for e in range(8)]) for table in acts]
    rows = [row for row in links.to_pylist() if row["sae_a"] == "a"]
    assert {row["by"] for row in rows} >= {"activation", "both", "firing"}
    for row in rows:
        i, j = row["feature_a"], row["feature_b"]
        assert row["activation_corr"] == pytest.approx(np.corrcoef(acts[0][:, i], acts[1][:, j])[0, 1], abs=1e-5)
        assert row["profile_corr"] == pytest.approx(
            np.corrcoef(by_emotion[0][:, i], by_emotion[1][:, j])[0, 1], abs=1e-5
        )
        cosine = torch.cosine_similarity(twins.dict_a.rows[i], twins.dict_b.rows[j], dim=0)
        assert row["decoder_cosine"] == pytest.approx(float(cosine), abs=1e-5)
        assert row["by"] not in ("activation", "both") or row["activation_corr"] > row["activation_threshold"]
        assert row["by"] not in ("decoder", "both") or row["decoder_cosine"] > row["decoder_threshold"]
        assert 0 <= row["activation_false_share"] < 0.1


def test_a_feature_matches_one_other_at_most() -> None:
    pairs = sort_out(link(plant(SMALL)))["match"]
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def test_assignment_finds_the_planted_matches_too() -> None:
    twins = plant(SMALL)
    found, truth = sort_out(link(twins, rule="assignment"))["match"], twins.pairs["match"]
    assert len(found & truth) >= 0.95 * max(len(truth), len(found))


@pytest.mark.parametrize("criteria", [{"use_decoder": True}, {"use_decoder": True, "same_model": False}])
def test_decoders_of_two_spaces_are_refused_if_asked_for_and_left_alone_if_not(criteria: dict) -> None:
    twins = plant(replace(SMALL, same_hook=not criteria.get("same_model", True)))
    with pytest.raises(UserError, match="different spaces"):
        link(twins, **criteria)
    links = link(twins, same_model=criteria.get("same_model", True))
    assert {"decoder", "both"}.isdisjoint(links["by"].to_pylist())
    assert links["decoder_cosine"].null_count == links["decoder_threshold"].null_count == len(links)
    truth = twins.pairs["match"]
    assert len(sort_out(links)["match"] & truth) >= 0.9 * len(truth)


def test_swapping_the_saes_swaps_the_links() -> None:
    twins = plant(SMALL)
    other = replace(twins, a=twins.b, b=twins.a, dict_a=twins.dict_b, dict_b=twins.dict_a)
    found, mirrored = sort_out(link(twins)), sort_out(link(other), "b")
    assert len(found["match"] ^ {(i, j) for j, i in mirrored["match"]}) <= 4
    assert len(found["split"] ^ {(i, j) for j, i in mirrored["merge"]}) <= 2


def test_rarely_firing_features_are_not_compared_by_activations() -> None:
    twins = plant(replace(SMALL, same_hook=False))
    i, j = next(iter(twins.pairs["match"]))
    tables = []
    for table, feature in ((twins.a, i), (twins.b, j)):
        acts = table.mean.toarray()
        acts[:, feature] = 0
        acts[:5, feature] = [1.0, 2.0, 3.0, 4.0, 5.0]
        kept = csr_array(acts, dtype=np.float32)
        tables.append(replace(table, mean=kept, fraction=kept.sign() * np.float32(0.1)))
    rare = replace(twins, a=tables[0], b=tables[1])
    assert (i, j) not in sort_out(link(rare))["match"]
    assert (i, j) in sort_out(link(rare, min_fires=5))["match"]


def test_tables_on_different_stories_are_refused() -> None:
    twins = plant(SMALL)
    with pytest.raises(ValueError, match="different stories"):
        link(replace(twins, b=replace(twins.b, story_ids=twins.b.story_ids[::-1])))


def test_saes_that_never_fire_have_no_links() -> None:
    twins = plant(replace(SMALL, same_hook=False))
    silent = csr_array(twins.a.mean.shape, dtype=np.float32)
    links = link(replace(twins, a=replace(twins.a, mean=silent, fraction=silent)))
    assert len(links) == 0


def test_a_further_value_exceeds_the_upper_quantile_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 60))
    above = [row[-1] > upper_quantile(row[:-1], 0.05) for row in draws]
    assert np.mean(above) == pytest.approx(0.05, abs=0.012)
    assert upper_quantile(np.arange(10.0), 0.01) == 9.0
