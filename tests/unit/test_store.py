"""A stage is done only if all of it is there, unchanged; whatever is not a run is left alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emosae.errors import UserError
from emosae.store import DONE, MANIFEST, Stage, Store


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Store(tmp_path / "run").stage("features")


def make_done(stage: Stage) -> None:
    stage.write_table("acts", pa.table({"x": [1, 2]}))
    stage.substage("deep").write_json("note", {"y": 1})
    stage.finish("hash", seconds=1.0)


def test_a_finished_stage_is_done_for_its_own_inputs_only(stage: Stage) -> None:
    assert not stage.is_done("hash")
    make_done(stage)
    assert stage.is_done("hash")
    assert not stage.is_done("other")


@pytest.mark.parametrize("name", ["acts.parquet", "deep/note.json"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"torn")])
def test_a_lost_or_changed_file_undoes_the_stage(stage: Stage, name: str, damage) -> None:
    make_done(stage)
    damage(stage.path / name)
    assert not stage.is_done("hash")


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"input_hash": "hash"}', '{"input_hash": "ha'])
def test_a_damaged_marker_undoes_the_stage(stage: Stage, marker: str) -> None:
    make_done(stage)
    (stage.path / DONE).write_text(marker)
    assert not stage.is_done("hash")


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_flipped_byte_undoes_the_stage(tmp_path_factory, position: int, flip: int) -> None:
    stage = Store(tmp_path_factory.mktemp("run")).stage("a")
    stage.write_tensors("weights", {"w": torch.arange(8.0)})
    stage.finish("hash", seconds=0.0)
    path = stage.path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= flip
    path.write_bytes(content)
    assert not stage.is_done("hash")


def test_clear_empties_a_stage_but_never_a_run(stage: Stage) -> None:
    make_done(stage)
    stage.clear()
    assert not stage.path.exists()
    stage.clear()
    with pytest.raises(ValueError, match="whole run"):
        Store(stage.path.parent).home.clear()


def test_tables_tensors_and_text_come_back(stage: Stage) -> None:
    table = pa.table({"emotion": ["calm", None], "auroc": [0.5, 1.0]})
    weight = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    stage.write_table("t", table)
    stage.write_tensors("w", {"row": weight[1], "turned": weight.T, "half": weight.bfloat16()}, {"b": "2", "a": "1"})
    stage.write_text("page.html", "zwölf\r\n")
    stage.write_json("j", {"a": [1, 2]})
    assert stage.read_table("t.parquet").equals(table)
    tensors = stage.read_tensors("w")
    torch.testing.assert_close(tensors["row"], weight[1], rtol=0, atol=0)
    torch.testing.assert_close(tensors["turned"], weight.T, rtol=0, atol=0)
    assert tensors["half"].dtype == torch.bfloat16
    assert stage.read_tensor_metadata("w") == {"a": "1", "b": "2"}
    assert stage.read_text("page.html") == "zwölf\r\n"
    assert stage.read_json("j.json") == {"a": [1, 2]}
    assert stage.has("t.parquet")
    assert not stage.has("t")


def test_equal_tensors_and_metadata_make_equal_files(stage: Stage) -> None:
    metadata = {str(key): str(key) for key in range(8)}
    files = [stage.write_tensors(f"w{i}", {"a": torch.ones(2)}, metadata).read_bytes() for i in range(4)]
    assert len(set(files)) == 1


def test_files_are_as_readable_as_any_other(stage: Stage) -> None:
    plain = stage.path.parent / "plain"
    plain.write_text("")
    with stage.write_folder("sae") as folder:
        (folder / "weights").touch(mode=0o600)
    written = [
        stage.write_tensors("w", {"a": torch.ones(1)}),
        stage.write_json("j", 1),
        stage.path / "sae" / "weights",
    ]
    assert {path.stat().st_mode for path in written} == {plain.stat().st_mode}


@pytest.mark.parametrize("name", ["../escape", "/absolute", "a/../../b"])
def test_no_name_leaves_the_stage(stage: Stage, name: str) -> None:
    with pytest.raises(UserError, match="lies outside"):
        stage.write_text(name, "")


@pytest.mark.parametrize("read", [Stage.read_table, Stage.read_tensors, Stage.read_json, Stage.read_text])
def test_missing_and_broken_files_are_named(stage: Stage, read) -> None:
    with pytest.raises(UserError, match=r"gone.*: no such file"):
        read(stage, "gone")
    for suffix in (".parquet", ".safetensors", ".json"):
        (stage.path / f"torn{suffix}").parent.mkdir(parents=True, exist_ok=True)
        (stage.path / f"torn{suffix}").write_bytes(b"PAR1 torn")
    if read is not Stage.read_text:
        with pytest.raises(UserError, match=r"torn.*not"):
            read(stage, "torn")


def test_lines_survive_a_torn_end(stage: Stage) -> None:
    assert stage.read_lines("metrics") == []
    stage.append_line("metrics", {"step": 1})
    with (stage.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "los')
    assert stage.read_lines("metrics") == [{"step": 1}]
    stage.append_line("metrics", {"step": 2})
    assert stage.read_lines("metrics") == [{"step": 1}, {"step": 2}]


def test_a_folder_replaces_the_old_one_only_when_complete(stage: Stage) -> None:
    with stage.write_folder("sae") as folder:
        (folder / "cfg").write_text("one")
    with contextlib.suppress(RuntimeError), stage.write_folder("sae") as folder:
        (folder / "cfg").write_text("tw")
        raise RuntimeError
    assert (stage.path / "sae" / "cfg").read_text() == "one"
    with stage.write_folder("sae") as folder:
        (folder / "weights").write_text("three")
    assert [path.name for path in stage.path.rglob("*")] == ["sae", "weights"]


def test_nothing_is_written_before_a_stage_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "run")
    assert store.read_manifest() == {}
    assert not (tmp_path / "new").exists()
    store.stage("atlas")
    assert (tmp_path / "new" / "run" / MANIFEST).exists()


def test_foreign_directories_and_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match=r"holds files but no manifest\.json"):
        Store(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.tex: is a file"):
        Store(tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="no emosae run there"):
        Store.existing(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_killed_while_it_wrote_its_first_manifest_is_not_foreign(tmp_path: Path) -> None:
    (tmp_path / f".{MANIFEST}.0123.part").write_text("{")
    Store(tmp_path).stage("atlas")
    assert Store.existing(tmp_path).read_manifest()["format_version"] == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"run/manifest\.json: cannot be written"):
        Store(tmp_path / "file" / "run").stage("a")


def test_manifest_sections_are_merged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.update_manifest(stages={"saes": "a"}, seed=1)
    store.update_manifest(stages={"atlas": "b"}, seed=2)
    manifest = Store.existing(tmp_path).read_manifest()
    assert manifest["stages"] == {"saes": "a", "atlas": "b"}
    assert manifest["seed"] == 2


def test_a_folder_that_a_kill_left_half_written_is_deleted_by_the_next_writer(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    half = tmp_path / ".sae.0123456789ab.part"
    half.mkdir()
    (half / "weights").write_text("half")
    with stage.write_folder("sae") as folder:
        (folder / "weights").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]
    assert (tmp_path / "sae" / "weights").read_text() == "whole"
