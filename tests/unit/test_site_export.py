"""An atlas goes out to other tools whole, and what is no atlas is named in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted_site import EMOTIONS, SAES, empty_site, odd_example, planted_site

from emosae.errors import UserError
from emosae.site import PageTables, write_site
from emosae.site.export import build_graph, export_atlas, write_rows
from emosae.site.neuronpedia import list_neuronpedia
from emosae.site.tables import find_tables, load_tables
from emosae.store import Stage

FORMATS = ("neuronpedia", "parquet", "graphml", "csv")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(planted_site(), Stage(tmp_path_factory.mktemp("atlas"))).parent


def test_an_atlas_reads_back_from_its_folder(atlas: Path) -> None:
    data, read = planted_site(), load_tables(find_tables(atlas))
    assert read.nodes.equals(data.nodes)
    assert read.ledger.equals(data.ledger)
    assert {example.story_id for example in read.examples} == {example.story_id for example in data.examples}


def test_the_atlas_of_a_run_is_found(atlas: Path, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "atlas").symlink_to(atlas)
    assert find_tables(tmp_path).path == tmp_path / "report" / "atlas" / "tables"


def test_the_embedding_has_every_feature_where_the_map_has_it(atlas: Path, tmp_path: Path) -> None:
    data = load_tables(find_tables(atlas))
    export_atlas(data, ("parquet",), Stage(tmp_path))
    table = pq.read_table(tmp_path / "embedding.parquet")
    assert table["projection_x"].to_pylist() == data.nodes["x"].to_pylist()
    assert table["projection_y"].to_pylist() == data.nodes["y"].to_pylist()
    first = table.slice(0, 1).to_pylist()[0]
    linked = {tuple(table["id"].to_pylist()[row].split("/")) for row in first["neighbors"]}
    assert linked == {("late", "0"), ("late-seed1", "0")}
    assert "afraid" in first["text"]
    near = table["neighbors"].to_pylist()
    assert all(row in near[other] for row, others in enumerate(near) for other in others)


def test_the_graph_is_read_by_networkx_with_all_that_was_in_it(atlas: Path, tmp_path: Path) -> None:
    data = load_tables(find_tables(atlas))
    export_atlas(data, ("graphml",), Stage(tmp_path))
    graph = nx.read_graphml(tmp_path / "atlas.graphml")
    kinds = list(nx.get_node_attributes(graph, "kind").values())
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "feature": len(data.nodes),
        "concept": len(EMOTIONS),
        "emotion": len(EMOTIONS),
    }
    edges = list(nx.get_edge_attributes(graph, "kind").values())
    assert edges.count("candidate") == len(data.ledger)
    assert edges.count("match") + edges.count("split") == len(data.links)
    assert edges.count("member") == 3 * len(EMOTIONS)


def test_names_that_xml_cannot_hold_are_mended(tmp_path: Path) -> None:
    names = pa.table({"emotion": ["a\x00b<&\"'", *EMOTIONS[1:]]})
    data = planted_site(examples=(), emotions=names)
    export_atlas(data, ("graphml",), Stage(tmp_path))
    labels = nx.get_node_attributes(nx.read_graphml(tmp_path / "atlas.graphml"), "label").values()
    assert "a\ufffdb<&\"'" in labels


def test_neuronpedias_values_stand_beside_their_tokens(atlas: Path, tmp_path: Path) -> None:
    data = load_tables(find_tables(atlas))
    export_atlas(data, ("neuronpedia",), Stage(tmp_path))
    listed = {sae: json.loads((tmp_path / f"neuronpedia/{sae}.json").read_text()) for sae in SAES}
    assert {sae: len(features) for sae, features in listed.items()} == dict.fromkeys(SAES, 44)
    for feature in listed["early"]:
        assert feature["modelId"] == "planted-8M"
        for one in feature["activations"]:
            assert len(one["tokens"]) == len(one["values"])
            assert one["values"][one["maxValueTokenIndex"]] == one["maxValue"] == max(one["values"])
        assert feature["maxActApprox"] == feature["activations"][0]["maxValue"]


def test_tokens_that_a_direction_raises_come_in_their_order() -> None:
    about = {"sae": "early", "feature_idx": 0, "token_id": 0}
    rows = [about | {"kind": "promoted", "rank": rank, "token": f"t{rank}", "logit": 3.0 - rank} for rank in (2, 1)]
    pages = PageTables(tokens=pa.Table.from_pylist(rows))
    first = next(list_neuronpedia(planted_site(examples=(), pages=pages), "early"))
    assert (first["pos_str"], first["pos_values"], first["neg_str"]) == (["t1", "t2"], [2, 1], [])


def test_csv_keeps_values_and_disarms_formulas() -> None:
    table = pa.table({"token": ["=1+1", ' fine, "quoted"', None], "x": [-1.5, None, 2.0], "list": [[1], [2], [3]]})
    read = list(csv.reader(io.StringIO(write_rows(table))))
    assert read == [["token", "x"], ["'=1+1", "-1.5"], [' fine, "quoted"', ""], ["", "2.0"]]


def test_an_atlas_of_nothing_is_exported(tmp_path: Path) -> None:
    write_site(empty_site(), Stage(tmp_path / "atlas"))
    data = load_tables(find_tables(tmp_path / "atlas"))
    export_atlas(data, FORMATS, Stage(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out/embedding.parquet").num_rows == 0
    assert len(build_graph(data)) == 0


def test_half_a_surrogate_pair_is_mended(tmp_path: Path) -> None:
    write_site(planted_site(examples=[odd_example(("\ud83d", "x"))]), Stage(tmp_path))
    assert load_tables(find_tables(tmp_path)).examples[0].tokens == ("?", "x")


def test_what_is_no_atlas_is_named(atlas: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such directory"):
        find_tables(tmp_path / "none")
    with pytest.raises(UserError, match="no atlas there"):
        find_tables(tmp_path)
    folder = write_site(planted_site(examples=()), Stage(tmp_path / "torn")).parent / "tables"
    (folder / "nodes.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"nodes\.parquet: not a readable Parquet table"):
        load_tables(Stage(folder))
    (folder / "nodes.parquet").unlink()
    with pytest.raises(UserError, match=r"nodes\.parquet: no such file"):
        load_tables(Stage(folder))
    (folder / "about.json").write_text("[]")
    with pytest.raises(UserError, match=r"about\.json: not written by this program"):
        load_tables(Stage(folder))
