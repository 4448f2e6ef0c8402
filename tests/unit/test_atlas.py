"""One dictionary, permuted, blurred and thinned, is matched to itself; what has no partner stays alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import PlantedSae
from planted_stories import EMOTIONS, SHARED, SHARED_FEATURE, plant_features, plant_stories, wrap_acts

from emosae.atlas import Atlas, build_atlas, build_concepts
from emosae.atlas.geometry import cluster_emotions, place_emotions, place_features
from emosae.features import LINK_SCHEMA, StoryFeatures, match_features
from emosae.selectivity import Selectivity, overlap_matrix, rank_features
from emosae.store import Stage

D_IN, D_SAE, N_NEW = 48, 60, 20
HOOK, OTHER_HOOK = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two dictionaries on the same stories, the emotion of each story, and the pairs that are one feature."""

    a: StoryFeatures
    b: StoryFeatures
    dict_a: PlantedSae
    dict_b: PlantedSae
    block: np.ndarray
    truth: set[tuple[int, int]]

    def match(self, **options) -> pa.Table:
        rng = np.random.default_rng(0)
        options = {"block": self.block, **options}
        return match_features(self.a, self.b, self.dict_a, self.dict_b, rng=rng, **options)


def wrap_rows(rows: np.ndarray, name: str, hook_name: str = HOOK) -> PlantedSae:
    W_dec = torch.from_numpy(rows).float()
    return PlantedSae(W_dec.T, torch.zeros(len(rows)), W_dec, torch.zeros(D_IN), name=name, hook_name=hook_name)


def plant_pair(seed: int = 0, *, n_new: int = N_NEW, hook_name: str = HOOK) -> Pair:
    """b is a permuted and blurred copy of a whose last `n_new` features are others, selective for the same emotions."""
    rng = np.random.default_rng(seed)
    stories = plant_stories(copies=1)
    emotion = np.array([story.emotion for story in stories])
    likes = np.stack([emotion == EMOTIONS[k % len(EMOTIONS)] for k in range(D_SAE)], axis=1)

    def respond() -> np.ndarray:
        fires = rng.random(likes.shape) < 0.2 + 0.5 * likes
        return fires * (rng.exponential(1.0, likes.shape) + likes)

    is_new = np.arange(D_SAE) >= D_SAE - n_new
    acts, rows = respond(), rng.normal(size=(D_SAE, D_IN))
    blurred = acts * rng.lognormal(0, 0.4, acts.shape), rows + 0.5 * rng.normal(size=rows.shape)
    acts_b = np.where(is_new, respond(), blurred[0])
    rows_b = np.where(is_new[:, None], rng.normal(size=rows.shape), blurred[1])
    order = rng.permutation(D_SAE)
    return Pair(
        a=wrap_acts(acts, stories, sae="a"),
        b=wrap_acts(acts_b[:, order], stories, sae="b", hook_name=hook_name),
        dict_a=wrap_rows(rows, "a"),
        dict_b=wrap_rows(rows_b[order], "b", hook_name),
        block=np.unique(emotion, return_inverse=True)[1],
        truth={(int(i), j) for j, i in enumerate(order) if not is_new[i]},
    )


def pairs_of(links: pa.Table, relation: str = "match", by: tuple[str, ...] = ("activation", "decoder", "both")) -> set:
    rows = [row for row in links.to_pylist() if row["relation"] == relation and row["by"] in by]
    return {(row["feature_a"], row["feature_b"]) for row in rows}


@pytest.mark.parametrize("seed", range(3))
def test_mutual_nearest_neighbours_recover_the_planted_matches_and_no_others(seed: int) -> None:
    pair = plant_pair(seed)
    found = pairs_of(pair.match())
    assert len(found & pair.truth) >= len(pair.truth) - 1
    assert len(found - pair.truth) <= 2
    assert pairs_of(pair.match(), by=("both",)) <= pair.truth


@pytest.mark.parametrize("seed", range(3))
def test_nothing_matches_where_nothing_is_shared_though_emotions_are(seed: int) -> None:
    assert len(pairs_of(plant_pair(seed, n_new=D_SAE).match())) <= 4


def test_without_the_blocks_a_shared_emotion_passes_for_a_match() -> None:
    pair = plant_pair(n_new=D_SAE, hook_name=OTHER_HOOK)
    one_block = np.zeros(len(pair.block), dtype=np.int64)
    assert len(pairs_of(pair.match(block=one_block))) > 3 * len(pairs_of(pair.match()))


def test_links_carry_both_similarities_and_their_thresholds() -> None:
    pair = plant_pair()
    links = pair.match()
    assert links.schema == LINK_SCHEMA
    acts = [table.mean.toarray() for table in (pair.a, pair.b)]
    for row in links.to_pylist():
        i, j = row["feature_a"], row["feature_b"]
        assert row["activation_corr"] == pytest.approx(np.corrcoef(acts[0][:, i], acts[1][:, j])[0, 1], abs=1e-4)
        cosine = torch.cosine_similarity(pair.dict_a.W_dec[i], pair.dict_b.W_dec[j], dim=0)
        assert row["decoder_cosine"] == pytest.approx(float(cosine), abs=1e-5)
        if row["by"] != "decoder":
            assert row["activation_corr"] > row["activation_threshold"]
        if row["by"] != "activation":
            assert row["decoder_cosine"] > row["decoder_threshold"]


def test_decoders_are_compared_in_one_space_only() -> None:
    pair = plant_pair(hook_name=OTHER_HOOK)
    links = pair.match()
    assert set(links["by"].to_pylist()) == {"activation"}
    assert links["decoder_cosine"].null_count == links["decoder_threshold"].null_count == len(links)
    assert len(pairs_of(links) & pair.truth) >= len(pair.truth) - 2


def test_swapping_the_dictionaries_swaps_the_links() -> None:
    pair = plant_pair()
    other = replace(pair, a=pair.b, b=pair.a, dict_a=pair.dict_b, dict_b=pair.dict_a)
    sure = pairs_of(pair.match(), by=("both",))
    mirrored = {(i, j) for j, i in pairs_of(other.match(), by=("both",))}
    assert len(sure ^ mirrored) <= 2


def test_rarely_firing_features_are_not_matched_by_chance() -> None:
    pair = plant_pair(hook_name=OTHER_HOOK)
    acts = [table.mean.toarray() for table in (pair.a, pair.b)]
    for table in acts:
        table[:, 3] = 0
        table[5, 3] = 1.0
    a, b = (replace(t, mean=type(t.mean)(x)) for t, x in zip((pair.a, pair.b), acts, strict=True))
    links = replace(pair, a=a, b=b).match()
    assert 3 not in links["feature_a"].to_pylist()
    assert (3, 3) in pairs_of(replace(pair, a=a, b=b).match(min_fires=1))


def test_a_feature_split_in_two_is_a_split_and_the_other_way_round_a_merge() -> None:
    pair = plant_pair(n_new=0, hook_name=OTHER_HOOK)
    whole = next(i for i, j in pair.truth if j == 0)
    acts = pair.b.mean.toarray()
    acts[:, 1] = np.where(np.arange(len(acts)) % 5 == 0, 0, acts[:, 0] * 1.1)
    split = replace(pair, b=replace(pair.b, mean=type(pair.b.mean)(acts)))
    links = split.match()
    assert (whole, 0) in pairs_of(links)
    assert (whole, 1) in pairs_of(links, "split") - pairs_of(links)
    back = replace(split, a=split.b, b=split.a, dict_a=split.dict_b, dict_b=split.dict_a).match()
    assert (0, whole) in pairs_of(back)
    assert (1, whole) in pairs_of(back, "merge") - pairs_of(back)


def test_tables_on_different_stories_are_refused() -> None:
    pair = plant_pair()
    other = replace(pair.b, story_ids=pair.b.story_ids[::-1])
    with pytest.raises(ValueError, match="different stories"):
        replace(pair, b=other).match()


CANDIDATE = {"sae": "a", "feature_idx": 0, "emotion": "calm", "q_bh": 0.01, "auroc_confirm": 0.9}


def tabulate_candidates(*rows: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([{**CANDIDATE, "auroc_confirm_lo": 0.7, **row} for row in rows])


def link(a: tuple[str, int], b: tuple[str, int], relation: str = "match", corr: float = 0.8) -> dict[str, object]:
    ends = {"sae_a": a[0], "feature_a": a[1], "sae_b": b[0], "feature_b": b[1]}
    return {**ends, "relation": relation, "by": "activation", "activation_corr": corr}


def test_concepts_are_components_named_by_what_was_confirmed() -> None:
    candidates = tabulate_candidates(
        {"sae": "a", "emotion": "grieving", "auroc_confirm": 0.95},
        {"sae": "b", "feature_idx": 4, "emotion": "sad", "auroc_confirm": 0.9},
        {"sae": "b", "feature_idx": 9, "auroc_confirm_lo": 0.4},
        {"sae": "a", "feature_idx": 7, "emotion": "proud", "auroc_confirm": 0.8},
        {"sae": "a", "feature_idx": 8, "emotion": "afraid", "q_bh": 0.2},
    )
    rows = [
        link(("a", 0), ("b", 4)),
        link(("b", 4), ("c", 1), corr=0.6),
        link(("a", 3), ("b", 9)),
        link(("a", 7), ("c", 2), "merge"),
        link(("a", 5), ("c", 5)),
    ]
    links = pa.Table.from_pylist(rows, schema=LINK_SCHEMA)
    first, lone, guess = build_concepts(links, candidates, ["a", "b", "c"]).to_pylist()
    assert (first["name"], first["members"]) == ("grieving + sad", ["a/0", "b/4", "c/1"])
    assert (first["stability"], first["auroc_confirm"]) == (1.0, 0.95)
    assert first["mean_activation_corr"] == pytest.approx(0.7)
    assert (lone["name"], lone["members"], lone["stability"]) == ("proud", ["a/7"], pytest.approx(1 / 3))
    assert lone["mean_activation_corr"] is None
    assert (guess["name"], guess["is_confirmed"]) == ("unconfirmed (calm)", False)
    assert [row["concept"] for row in (first, lone, guess)] == [0, 1, 2]


def test_alike_emotions_lie_together_and_clusters_follow() -> None:
    cosine = np.array([[1, 0.8, -0.5, -0.5], [0.8, 1, -0.5, -0.5], [-0.5, -0.5, 1, 0.6], [-0.5, -0.5, 0.6, 1]])
    places = place_emotions(cosine)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert max(distance[0, 1], distance[2, 3]) < 0.6 * distance[:2, 2:].min()
    assert np.linalg.norm(places, axis=1).max() == pytest.approx(1.0)
    assert distance[~np.eye(4, dtype=bool)].min() > 0.1
    order, cluster = cluster_emotions(cosine)
    assert cluster[0] == cluster[1] != cluster[2] == cluster[3]
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order[0] - order[1]) == 1


def test_unlike_emotions_do_not_lie_on_one_another() -> None:
    places = place_emotions(np.eye(16))
    gap = np.linalg.norm(places[:, None] - places[None], axis=-1)[~np.eye(16, dtype=bool)]
    assert gap.min() > 0.25


def test_two_emotions_and_emotions_without_features_have_places() -> None:
    assert np.isfinite(place_emotions(np.eye(2))).all()
    assert np.isfinite(place_emotions(np.zeros((3, 3)))).all()
    assert sorted(cluster_emotions(np.eye(2))[0]) == [0, 1]


def test_features_lie_by_the_emotion_that_they_tell() -> None:
    emotions = np.array([[1.0, 0.0], [-1.0, 0.0]])
    profile = np.array([[0.9, 0.5], [0.4, 0.8], [0.5, 0.5], [np.nan, 0.9]])
    xy = place_features(profile, emotions, np.random.default_rng(0))
    assert np.abs(xy - [[1, 0], [-1, 0], [0, 0], [-1, 0]]).max() < 0.15


@pytest.fixture(scope="module")
def ranked() -> tuple[Selectivity, list[StoryFeatures], dict[str, PlantedSae]]:
    rng = np.random.default_rng(0)
    stories = plant_stories()
    first = plant_features(stories, rng, sae="first", n_noise=30)
    order = rng.permutation(first.mean.shape[1])
    blurred = first.mean.toarray()[:, order] * rng.lognormal(0, 0.2, first.mean.shape)
    second = replace(first, sae="second", mean=type(first.mean)(blurred))
    rows = rng.normal(size=(first.mean.shape[1], D_IN))
    dictionaries = {"first": wrap_rows(rows, "first"), "second": wrap_rows(rows[order], "second")}
    selectivity = rank_features([first, second], stories, rng=rng, permutations=31, top=4)
    return selectivity, [first, second], dictionaries


def test_the_atlas_holds_every_emotion_as_a_stable_concept(ranked) -> None:
    atlas = build_atlas(*ranked, rng=np.random.default_rng(0))
    stable = {row["name"] for row in atlas.concepts.to_pylist() if row["stability"] == 1.0 and row["is_confirmed"]}
    assert set(EMOTIONS) <= {emotion for name in stable for emotion in name.split(" + ")}
    shared = next(row for row in atlas.concepts.to_pylist() if f"first/{SHARED_FEATURE}" in row["members"])
    assert set(shared["emotions"]) >= set(SHARED)
    assert shared["n_saes"] == 2


def test_nodes_links_and_concepts_name_one_another(ranked) -> None:
    selectivity = ranked[0]
    atlas = build_atlas(*ranked, rng=np.random.default_rng(0))
    nodes = {row["node"]: row for row in atlas.nodes.to_pylist()}
    for row in selectivity.candidates.to_pylist():
        assert nodes[f"{row['sae']}/{row['feature_idx']}"]["is_candidate"]
    for row in atlas.links.to_pylist():
        assert {f"{row['sae_a']}/{row['feature_a']}", f"{row['sae_b']}/{row['feature_b']}"} <= set(nodes)
    for row in atlas.concepts.to_pylist():
        assert all(nodes[member]["concept"] == row["concept"] for member in row["members"])
    assert nodes["first/0"]["status"] == "matched"
    assert nodes["first/0"]["emotion"] == EMOTIONS[0]
    assert len(nodes["first/0"]["profile"]) == len(EMOTIONS)
    names, cosine = overlap_matrix(atlas.overlap, "cosine")
    places = {row["emotion"]: np.array([row["x"], row["y"]]) for row in atlas.emotions.to_pylist()}
    assert list(places) == list(names)
    gap = {(a, b): np.linalg.norm(places[a] - places[b]) for a in names for b in names if a < b}
    assert min(gap, key=lambda pair: gap[pair]) == SHARED
    assert cosine.shape == (6, 6)


def test_a_single_sae_has_an_atlas_without_links(ranked) -> None:
    selectivity, (first, _), dictionaries = ranked
    one = replace(
        selectivity, candidates=selectivity.candidates.filter(pa.compute.equal(selectivity.candidates["sae"], "first"))
    )
    atlas = build_atlas(one, [first], dictionaries, rng=np.random.default_rng(0))
    assert len(atlas.links) == 0
    assert set(atlas.nodes["status"].to_pylist()) == {None}
    assert {row["stability"] for row in atlas.concepts.to_pylist()} == {1.0}


def test_an_atlas_is_seeded_saved_and_loaded(ranked, tmp_path: Path) -> None:
    atlas, again = (build_atlas(*ranked, rng=np.random.default_rng(5)) for _ in range(2))
    assert atlas.nodes.equals(again.nodes)
    atlas.save(Stage(tmp_path / "atlas"))
    loaded = Atlas.load(Stage(tmp_path / "atlas"))
    for name in ("nodes", "links", "concepts", "emotions", "overlap"):
        assert getattr(loaded, name).equals(getattr(atlas, name))
