"""Links become concepts, and features and emotions have their places on the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import PlantedSae
from planted_stories import EMOTIONS, SHARED, SHARED_FEATURE, plant_features, plant_stories

from emosae.atlas import Atlas, build_atlas, build_concepts
from emosae.atlas.concepts import group_features
from emosae.atlas.geometry import cluster_emotions, place_emotions, place_features
from emosae.features import StoryFeatures
from emosae.matching import LINK_SCHEMA, name_status
from emosae.selectivity import Selectivity, overlap_matrix, rank_features
from emosae.store import Stage

D_IN = 48
HOOK = "blocks.0.hook_resid_post"


def wrap_rows(rows: np.ndarray, name: str, hook_name: str = HOOK) -> PlantedSae:
    W_dec = torch.from_numpy(rows).float()
    return PlantedSae(W_dec.T, torch.zeros(len(rows)), W_dec, torch.zeros(D_IN), name=name, hook_name=hook_name)


HOOKS = {"a": HOOK, "b": HOOK, "c": "blocks.1.hook_resid_post"}
CANDIDATE = {"sae": "a", "feature_idx": 0, "emotion": "calm", "q_bh": 0.01, "auroc": 0.9, "auroc_confirm": 0.9}


def tabulate_candidates(*rows: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([{**CANDIDATE, "auroc_confirm_lo": 0.7, **row} for row in rows])


def link(a: tuple[str, int], b: tuple[str, int], relation: str = "match", corr: float = 0.8) -> dict[str, object]:
    ends = {"sae_a": a[0], "feature_a": a[1], "sae_b": b[0], "feature_b": b[1]}
    return {**ends, "relation": relation, "by": "activation", "activation_corr": corr}


def test_concepts_are_groups_named_by_what_was_confirmed() -> None:
    candidates = tabulate_candidates(
        {"sae": "a", "emotion": "grieving", "auroc": 0.95, "auroc_confirm": 0.85},
        {"sae": "b", "feature_idx": 4, "emotion": "sad", "auroc_confirm": 0.9},
        {"sae": "b", "feature_idx": 4, "emotion": "grieving", "auroc": 0.91, "auroc_confirm": 0.99},
        {"sae": "b", "feature_idx": 9, "auroc_confirm_lo": 0.4},
        {"sae": "a", "feature_idx": 7, "emotion": "proud", "auroc_confirm": 0.8},
        {"sae": "a", "feature_idx": 8, "emotion": "afraid", "q_bh": 0.2},
    )
    rows = [
        link(("a", 0), ("b", 4)),
        link(("b", 4), ("c", 1), corr=0.6),
        link(("a", 3), ("b", 9)),
        link(("a", 7), ("c", 2), "absorbed"),
        link(("a", 5), ("c", 5)),
    ]
    links = pa.Table.from_pylist(rows, schema=LINK_SCHEMA)
    first, lone, guess = build_concepts(links, candidates, HOOKS).to_pylist()
    assert (first["name"], first["members"]) == ("grieving + sad", ["a/0", "b/4", "c/1"])
    assert (first["stability"], first["auroc_confirm"]) == (1.0, 0.85)  # of the one that is best on discover
    assert first["mean_activation_corr"] == pytest.approx(0.7)
    assert (lone["name"], lone["members"], lone["stability"]) == ("proud", ["a/7"], pytest.approx(1 / 3))
    assert lone["mean_activation_corr"] is None
    assert (guess["name"], guess["is_confirmed"]) == ("unconfirmed (calm)", False)
    assert [row["concept"] for row in (first, lone, guess)] == [0, 1, 2]
    places = ("n_seeds", "n_seeds_possible", "n_layers", "n_layers_possible")
    assert [first[name] for name in places] == [2, 2, 2, 2]
    assert [lone[name] for name in places] == [1, 2, 1, 2]


def group(*edges: tuple[str, str, float]) -> set[frozenset[str]]:
    graph = nx.Graph()
    for a, b, weight in edges:
        graph.add_nodes_from((node, {"sae": node[0]}) for node in (a, b))
        graph.add_edge(a, b, weight=weight)
    return {frozenset(part) for part in group_features(graph)}


def join_all(nodes: str, weight: float = 0.8) -> list[tuple[str, str, float]]:
    return [(a, b, weight) for a, b in combinations(nodes.split(), 2)]


def test_two_cliques_that_one_weak_link_joins_stay_two_concepts() -> None:
    ones, twos = "a1 b1 c1 d1", "a2 b2 c2 d2"
    cliques = {frozenset(ones.split()), frozenset(twos.split())}
    assert group(*join_all(ones), *join_all(twos), ("a1", "b2", 0.3)) == cliques
    others = {frozenset("abc"), frozenset("def")}
    assert group(*join_all("a b c"), *join_all("d e f"), ("c", "d", 0.3)) == others


def test_a_chain_of_saes_is_one_concept_and_a_split_feature_stays_with_its_parts() -> None:
    assert group(("a1", "b1", 0.8), ("b1", "c1", 0.8), ("c1", "d1", 0.8)) == {frozenset(("a1", "b1", "c1", "d1"))}
    assert group(("a1", "b1", 0.7), ("a1", "b2", 0.6)) == {frozenset(("a1", "b1", "b2"))}


def test_a_weak_link_between_two_concepts_does_not_join_them() -> None:
    ones, twos = [("a", 1), ("b", 1), ("c", 1)], [("a", 2), ("b", 2), ("c", 2)]
    rows = [link(x, y) for part in (ones, twos) for x, y in combinations(part, 2)]
    rows.append(link(("a", 1), ("b", 2), corr=0.1))
    candidates = tabulate_candidates({"feature_idx": 1}, {"sae": "b", "feature_idx": 2, "emotion": "sad"})
    concepts = build_concepts(pa.Table.from_pylist(rows, schema=LINK_SCHEMA), candidates, HOOKS).to_pylist()
    assert {tuple(row["members"]) for row in concepts} == {("a/1", "b/1", "c/1"), ("a/2", "b/2", "c/2")}


@pytest.mark.parametrize(
    ("relations", "status"),
    [
        ([("match", False), ("split", True)], "match"),
        ([("split", True), ("absorbed", True)], "split"),
        ([("split", False)], "merge"),
        ([("merge", False)], "split"),
        ([("absorbed", True)], "absorbed"),
        ([("absorbed", False)], "orphan"),
        ([], "orphan"),
    ],
)
def test_the_status_of_a_feature_is_the_surest_of_its_own_labels(relations: list, status: str) -> None:
    assert name_status(relations) == status


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
    assert nodes["first/0"]["status"] == "match"
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
    for name in ("nodes", "links", "concepts", "emotions", "overlap", "similarity", "tree", "axes", "statements"):
        assert getattr(loaded, name).equals(getattr(atlas, name))
