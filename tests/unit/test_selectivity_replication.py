"""A second SAE that is the first, permuted, blurred and without one feature: what is planted is found again in it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import PlantedSae
from planted_stories import EMOTIONS, plant_features, plant_stories, wrap_acts

from emosae.features import StoryFeatures
from emosae.selectivity import auroc_all, replicate_candidates
from emosae.selectivity.replication import COLUMNS
from emosae.stories import Story

D_IN = 32
HOOK, OTHER_HOOK = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
DELETED = EMOTIONS.index("proud")


class Twins:
    """Two SAEs, the place of each feature of the first in the second, and one that the second lacks."""

    def __init__(self, *, hook_name: str = HOOK, n_topics: int = 24) -> None:
        rng = np.random.default_rng(0)
        self.stories = plant_stories(n_topics=n_topics)
        self.one = plant_features(self.stories, rng, sae="one", strength=4.0)
        acts = self.one.mean.toarray()
        rows = rng.normal(size=(acts.shape[1], D_IN))
        order = rng.permutation(acts.shape[1])
        blurred = acts * rng.lognormal(0, 0.2, acts.shape)
        blurred_rows = rows + 0.3 * rng.normal(size=rows.shape)
        blurred[:, DELETED] = rng.exponential(1.0, len(acts)) * (rng.random(len(acts)) < 0.35)
        blurred_rows[DELETED] = rng.normal(size=D_IN)
        self.two = wrap_acts(blurred[:, order], self.stories, sae="two", hook_name=hook_name)
        self.place = {int(index): at for at, index in enumerate(order)}
        self.dictionaries = {"one": wrap_rows(rows), "two": wrap_rows(blurred_rows[order])}

    def replicate(self, candidates: pa.Table, stories: list[Story] | None = None) -> list[dict]:
        tables = [self.one, self.two]
        rng = np.random.default_rng(1)
        found = replicate_candidates(tables, self.dictionaries, stories or self.stories, candidates, rng=rng)
        assert found.schema == COLUMNS
        return found.to_pylist()


def wrap_rows(rows: np.ndarray) -> PlantedSae:
    W_dec = torch.from_numpy(rows).float()
    return PlantedSae(W_dec.T, torch.zeros(len(rows)), W_dec, torch.zeros(D_IN))


def name_candidates(*features: int, sae: str = "one", emotions: tuple[str, ...] = EMOTIONS) -> pa.Table:
    return pa.table(
        {"sae": [sae] * len(features), "feature_idx": list(features), "emotion": [emotions[at] for at in features]}
    )


ALL = name_candidates(*range(len(EMOTIONS)))


def test_every_planted_feature_is_found_again_and_the_deleted_one_is_not() -> None:
    twins = Twins()
    rows = {row["feature_idx"]: row for row in twins.replicate(ALL)}
    lost = rows.pop(DELETED)
    assert {row["matched_feature_idx"] for row in rows.values()} == {twins.place[index] for index in rows}
    assert all(row["matched_feature_idx"] == twins.place[index] for index, row in rows.items())
    assert all(row["matched_confirmed"] and row["matched_auroc_confirm_lo"] > 0.5 for row in rows.values())
    assert {row["match_by"] for row in rows.values()} == {"both"}
    assert lost["matched_sae"] == "two"
    assert lost["matched_confirmed"] is False
    assert all(lost[name] is None for name in COLUMNS.names[4:-1])


def test_the_figures_are_those_of_the_partner() -> None:
    twins = Twins()
    held_out = [at for at, story in enumerate(twins.stories) if story.split == "confirm" and not story.is_neutral]
    kept = [at for at, story in enumerate(twins.stories) if story.split != "confirm"]
    label = np.array([EMOTIONS.index(twins.stories[at].emotion) for at in held_out])
    for row in twins.replicate(ALL):
        partner = row["matched_feature_idx"]
        if partner is None:
            continue
        acts = twins.two.mean[:, [partner]]
        auroc = auroc_all(acts[held_out], label, len(EMOTIONS))[0, EMOTIONS.index(row["emotion"])]
        assert row["matched_auroc_confirm"] == pytest.approx(auroc)
        own = twins.one.mean[:, [row["feature_idx"]]].toarray()[kept, 0]
        assert row["match_corr"] == pytest.approx(np.corrcoef(own, acts.toarray()[kept, 0])[0, 1], abs=1e-5)


def test_a_partner_that_means_nothing_is_matched_but_not_confirmed() -> None:
    twins = Twins()
    noise = twins.one.d_sae - 1
    rows = twins.replicate(pa.table({"sae": ["one"], "feature_idx": [noise], "emotion": ["calm"]}))
    assert [row["matched_feature_idx"] for row in rows] == [twins.place[noise]]
    assert [row["matched_confirmed"] for row in rows] == [False]


def test_candidates_of_either_sae_have_their_partner_in_the_other() -> None:
    twins = Twins()
    back = pa.table({"sae": ["two"], "feature_idx": [twins.place[0]], "emotion": [EMOTIONS[0]]})
    (row,) = twins.replicate(back)
    assert (row["matched_sae"], row["matched_feature_idx"]) == ("one", 0)


def change_confirm(table: StoryFeatures, stories: list[Story], rng: np.random.Generator) -> StoryFeatures:
    acts = table.mean.toarray()
    held_out = np.array([story.split == "confirm" for story in stories])
    acts[held_out] = rng.exponential(1.0, acts[held_out].shape)
    return wrap_acts(acts, stories, sae=table.sae, hook_name=table.hook_name)


def test_confirm_chooses_no_partner() -> None:
    twins, rng = Twins(), np.random.default_rng(2)
    before = twins.replicate(ALL)
    twins.one, twins.two = (change_confirm(table, twins.stories, rng) for table in (twins.one, twins.two))
    after = twins.replicate(ALL)
    chosen = ("matched_feature_idx", "match_by", "match_corr", "match_cosine")
    assert [[row[name] for name in chosen] for row in before] == [[row[name] for name in chosen] for row in after]
    assert not any(row["matched_confirmed"] for row in after)


def test_saes_of_different_places_are_no_replication() -> None:
    assert Twins(hook_name=OTHER_HOOK).replicate(ALL) == []


def test_without_enough_topics_nothing_is_called_confirmed() -> None:
    rows = [row for row in Twins(n_topics=12).replicate(ALL) if row["matched_feature_idx"] is not None]
    assert rows
    assert {row["matched_confirmed"] for row in rows} == {None}
    assert all(row["matched_auroc_confirm"] > 0.5 for row in rows)
