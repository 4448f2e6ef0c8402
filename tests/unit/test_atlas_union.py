"""Runs that stand side by side keep their numbers, and nothing links what cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from planted_site import EMOTIONS, SAES, planted_site

from emosae.atlas.union import average_overlaps, join_maps, rename_saes
from emosae.config import RunConfig, SaeToTrain
from emosae.errors import UserError
from emosae.pipeline import join
from emosae.pipeline.join import join_runs
from emosae.pipeline.sources import open_sources, say_what_was_matched
from emosae.site import PageTables
from emosae.store import Store

HOOK = "blocks.3.hook_resid_post"


def plant_maps(suffix: str = "", **changes: Any) -> dict[str, pa.Table]:
    data = planted_site(examples=(), **changes)
    tables = {name: getattr(data, name) for name in ("nodes", "links", "concepts", "emotions", "overlap")}
    return {name: rename_saes(table, {sae: f"{sae}{suffix}" for sae in SAES}) for name, table in tables.items()}


def test_saes_are_renamed_wherever_they_are_named() -> None:
    table = pa.table({"sae": ["a/b"], "node": ["a/b/7"], "members": [["a/b/7", "c/1"]], "emotion": ["a/b"]})
    assert rename_saes(table, {"a/b": "x"}).to_pylist() == [
        {"sae": "x", "node": "x/7", "members": ["x/7", "c/1"], "emotion": "a/b"}
    ]


def test_a_feature_that_feeds_another_is_renamed_and_a_token_is_not() -> None:
    table = pa.table({"sae": ["a", "a"], "kind": ["feature", "token"], "source": ["a/3", "a/3"]})
    assert rename_saes(table, {"a": "a.2"})["source"].to_pylist() == ["a.2/3", "a/3"]


def test_joined_maps_keep_every_row_and_no_link_crosses() -> None:
    parts = [plant_maps(".1"), plant_maps(".2", seed=1)]
    joined = join_maps(parts, np.random.default_rng(0))
    assert len(joined["nodes"]) == 2 * len(parts[0]["nodes"])
    ends = zip(joined["links"]["sae_a"].to_pylist(), joined["links"]["sae_b"].to_pylist(), strict=True)
    assert all(a[-2:] == b[-2:] for a, b in ends)
    assert joined["concepts"]["concept"].to_pylist() == list(range(2 * len(EMOTIONS)))
    owner = {
        row["concept"]: row["members"][0][: row["members"][0].index("/")] for row in joined["concepts"].to_pylist()
    }
    for row in joined["nodes"].to_pylist():
        if row["concept"] is not None:
            assert owner[row["concept"]][-2:] == row["sae"][-2:]


def test_profiles_follow_their_emotions_and_others_are_unknown() -> None:
    one, other = plant_maps(".1"), plant_maps(".2")
    names = [f"new {name}" if name == "sad" else name for name in EMOTIONS]
    other["emotions"] = other["emotions"].set_column(0, "emotion", pa.array(names))
    joined = join_maps([one, other], np.random.default_rng(0))
    order = joined["emotions"]["emotion"].to_pylist()
    assert order == sorted({*EMOTIONS, "new sad"})
    before = one["nodes"].to_pylist()[0]["profile"]
    after = dict(zip(order, joined["nodes"].to_pylist()[0]["profile"], strict=True))
    assert after["new sad"] is None
    assert [after[name] for name in EMOTIONS] == pytest.approx(before)


def test_axes_of_one_atlas_are_not_laid_over_those_of_another() -> None:
    part = plant_maps()
    part["emotions"] = part["emotions"].append_column("axis1", pa.array([0.5] * len(EMOTIONS)))
    assert "axis1" not in join_maps([part, plant_maps(".2")], np.random.default_rng(0))["emotions"].column_names


def test_overlaps_are_averaged_where_both_runs_have_them() -> None:
    row = {"emotion_a": "a", "emotion_b": "b", "jaccard": None, "n_shared": 1}
    tables = [pa.Table.from_pylist([row | {"cosine": cosine}]) for cosine in (0.2, 0.6)]
    tables.append(pa.Table.from_pylist([row | {"emotion_b": "c", "cosine": 0.9}]))
    found = {
        (r["emotion_a"], r["emotion_b"]): (r["cosine"], r["n_shared"]) for r in average_overlaps(tables).to_pylist()
    }
    assert found == {("a", "b"): (pytest.approx(0.4), 2), ("a", "c"): (0.9, 1)}


# Runs


def make_run(
    root: Path, finished: tuple[str, ...] = ("stories", "saes", "features", "selectivity"), model: str = "m"
) -> Path:
    store = Store(root)
    cfg = RunConfig(saes=(SaeToTrain(name="resid3", hook_name=HOOK),))
    store.update_manifest(config=cfg.model_dump(mode="json"), model={"weight_hash": model})
    for name in finished:
        store.stage(name).write_json("stage", {"input_hash": "", "files": {}})
    return root


def test_an_sae_name_that_several_runs_use_gets_the_runs_place(tmp_path: Path) -> None:
    sources = open_sources([make_run(tmp_path / "a"), make_run(tmp_path / "b")])
    assert [source.name for source in sources] == ["a", "b"]
    assert [dict(source.saes) for source in sources] == [{"resid3": "resid3.1"}, {"resid3": "resid3.2"}]


@pytest.mark.parametrize(
    ("finished", "says"),
    [((), "stories"), (("stories", "saes"), "features"), (("stories", "saes", "features"), "selec")],
)
def test_a_run_that_was_cut_short_is_named_with_its_stage(tmp_path: Path, finished: tuple[str, ...], says: str) -> None:
    run = make_run(tmp_path / "cut", finished)
    with pytest.raises(UserError, match=f"cut: its stage {says}.* was not finished; `emosae report"):
        join_runs([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_and_what_is_no_place_for_an_atlas_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no emosae run there"):
        join_runs([tmp_path / "none"], tmp_path / "out")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("text")
    with pytest.raises(UserError, match="foreign: no emosae run there"):
        join_runs([foreign], tmp_path / "out")
    with pytest.raises(UserError, match="foreign: holds something that is no atlas"):
        join_runs([make_run(tmp_path / "a")], foreign)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text('{"config": ')
    with pytest.raises(UserError, match=r"b/manifest\.json: not valid JSON"):
        join_runs([tmp_path / "b"], tmp_path / "out")


def test_tokens_are_read_for_features_that_only_the_joint_atlas_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = open_sources([make_run(tmp_path / "a")])
    held = pa.table({"sae": ["resid3"], "feature_idx": [4], "token": ["held"]})
    nodes = pa.table({"sae": ["resid3"] * 2, "feature_idx": [4, 9]})
    monkeypatch.setattr(join, "gather_page_tables", lambda *_: PageTables(tokens=held))
    monkeypatch.setattr(join, "tabulate_tokens", lambda _, few: few.append_column("token", pa.array(["read"])))
    tokens = join._gather_pages(source, nodes).tokens
    assert tokens is not None
    assert tokens.select(["feature_idx", "token"]).to_pylist() == [
        {"feature_idx": 4, "token": "held"},
        {"feature_idx": 9, "token": "read"},
    ]
    assert join._gather_pages(source, nodes.slice(0, 1)).tokens is held


def test_the_page_says_what_was_matched_and_what_could_not_be(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, model=model) for name, model in (("a", "m"), ("b", "m"), ("c", "other"))]
    a, b, c = open_sources(runs)
    assert say_what_was_matched([[a]]) == ()
    same = " ".join(say_what_was_matched([[a, b]]))
    assert "a and b read the same stories with the same model" in same
    assert "not matched" not in same
    models = " ".join(say_what_was_matched([[a, c]]))
    assert "by activation alone" in models
    apart = " ".join(say_what_was_matched([[a, b], [c]]))
    assert "Their features are not matched" in apart
