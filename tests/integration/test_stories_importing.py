"""What is in a table comes out as stories, and every row that does not is counted by its reason."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.cli import BAD_USAGE, DONE, FAILED, main
from emosae.errors import UserError
from emosae.stories import load_stories
from emosae.stories.importing import ColumnMap, import_stories, write_stories
from emosae.stories.sources import read_names

ROWS = [
    {"id": f"{emotion}{copy}", "emotion": emotion, "topic": "rain", "text": f'She said "no",\t{emotion} {copy}.'}
    for emotion in ("joy", "grief")
    for copy in range(3)
]
HF_FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "emotion": {"names": ["joy", "grief"], "_type": "ClassLabel"},
}


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


def write_json_array(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    cells = [[str(cell).replace("\t", " ") for cell in line] for line in lines]
    path.write_text("\n".join("\t".join(line) for line in cells) + "\n", encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=2)


def write_arrow_stream(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    table = pa.Table.from_pylist(list(rows))
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def write_arrow_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    table = pa.Table.from_pylist(list(rows))
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_json_lines),
        ("a.ndjson", write_json_lines),
        ("a.json", write_json_lines),
        ("a.json", write_json_array),
        ("A.CSV", write_csv),
        ("a.tsv", write_tsv),
        ("a.parquet", write_parquet),
        ("a.arrow", write_arrow_stream),
        ("a.arrow", write_arrow_file),
    ],
)
def test_every_kind_of_file_gives_the_same_stories(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name, ROWS)
    stories, report = import_stories(tmp_path / name)
    assert [(s.id, s.emotion, s.topic) for s in stories] == [(r["id"], r["emotion"], r["topic"]) for r in ROWS]
    assert [s.text.split() for s in stories] == [str(r["text"]).split() for r in ROWS]
    assert (report.files, report.kept, report.dropped) == ({name: 6}, {"joy": 3, "grief": 3}, {})
    assert load_stories(write_stories(tmp_path / "out.jsonl", stories)) == stories


def test_columns_are_mapped_and_the_rest_is_named(tmp_path: Path) -> None:
    rows = [{"body": r["text"], "feeling": r["emotion"], "topic": "rain", "split": "train", "n": 1.0} for r in ROWS]
    write_parquet(tmp_path / "a.parquet", rows)
    stories, report = import_stories(tmp_path / "a.parquet", ColumnMap(text="body", emotion="feeling", writer="n"))
    assert stories[0].writer == "1"
    assert {(s.topic, s.split) for s in stories} == {("rain", None)}
    assert stories[0].id == "a.parquet row 1"
    assert report.columns == {"emotion": "feeling", "text": "body", "topic": "topic", "writer": "n"}
    assert report.ignored == ("split",)


def test_every_dropped_row_is_counted_by_reason(tmp_path: Path) -> None:
    bad = [
        {"emotion": "joy", "text": " "},
        {"emotion": "joy"},
        {"emotion": "", "text": "x"},
        {"emotion": None, "text": "x"},
        {"emotion": [], "text": "x"},
        {"emotion": "joy, grief", "text": "x"},
        {"emotion": ["joy", "grief"], "text": "x"},
        {"emotion": "joy", "text": "x", "id": "joy0"},
        {"emotion": "alone", "text": "x"},
        {"emotion": "joy", "text": "\ud800"},
    ]
    write_json_lines(tmp_path / "a.jsonl", [*ROWS, *bad])
    stories, report = import_stories(tmp_path / "a.jsonl")
    assert len(stories) == len(ROWS)
    assert report.dropped == {
        "without emotion": 3,
        "without text": 2,
        "with more than one emotion": 2,
        "with an id used before": 1,
        "with a broken escape": 1,
        "the only row of their emotion": 1,
    }
    assert sum(report.files.values()) == sum(report.kept.values()) + sum(report.dropped.values())


labels_of_rows = st.lists(
    st.lists(st.sampled_from(["joy", "grief", "fear"]), max_size=3), min_size=8, max_size=30
).filter(lambda rows: Counter(str(row) for row in rows)["['joy']"] > 1 and Counter(map(str, rows))["['fear']"] > 1)


@given(rows=labels_of_rows, multi=st.sampled_from(["drop", "first"]), as_list=st.booleans())
def test_no_row_is_lost_and_the_rule_for_several_emotions_holds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], multi: Any, as_list: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.jsonl"
    write_json_lines(path, [{"text": str(n), "emotion": r if as_list else ";".join(r)} for n, r in enumerate(rows)])
    stories, report = import_stories(path, multi=multi, separator=";")
    allowed = [row for row in rows if row and (multi == "first" or len(row) == 1)]
    counts = Counter(row[0] for row in allowed)
    assert report.kept == {emotion: count for emotion, count in counts.items() if count > 1}
    assert len(rows) == len(stories) + sum(report.dropped.values())


def test_numbers_are_named_by_the_labels_from_zero(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "emotion": n % 2 if n < 4 else float(n % 2)} for n in range(8)]
    write_json_lines(tmp_path / "a.jsonl", rows)
    stories, _ = import_stories(tmp_path / "a.jsonl", labels=["joy", "neutral", "grief", "fear"][::2])
    assert [story.emotion for story in stories] == ["joy", "grief"] * 4
    assert [story.emotion for story in import_stories(tmp_path / "a.jsonl")[0]] == ["0", "1"] * 4
    with pytest.raises(UserError, match=r"a\.jsonl row 2: label 1 has no name: 1 are given"):
        import_stories(tmp_path / "a.jsonl", labels=["joy"])


def test_a_hugging_face_file_names_its_own_labels(tmp_path: Path) -> None:
    note = {b"huggingface": json.dumps({"info": {"features": HF_FEATURES}}).encode()}
    table = pa.table({"text": list("abcd"), "emotion": [0, 1, 0, 1]}).replace_schema_metadata(note)
    pq.write_table(table, tmp_path / "a.parquet")
    assert [story.emotion for story in import_stories(tmp_path / "a.parquet")[0]] == ["joy", "grief"] * 2
    assert {s.emotion for s in import_stories(tmp_path / "a.parquet", labels=["x", "y"])[0]} == {"x", "y"}


@pytest.mark.integration
def test_what_the_datasets_library_writes_is_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "emotion": datasets.List(datasets.ClassLabel(names=["joy", "grief"]))}
    )
    rows = [{"text": f"t{n}", "emotion": [n % 2] if n < 6 else [0, 1]} for n in range(8)]
    split = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(train=split, test=split).save_to_disk(tmp_path / "saved")
    split.to_parquet(tmp_path / "repo" / "data" / "train-00000-of-00001.parquet")
    saved, report = import_stories(tmp_path / "saved")
    assert list(report.files.values()) == [8, 8]
    assert report.dropped == {"with more than one emotion": 4}
    repo, _ = import_stories(tmp_path / "repo", multi="first")
    assert [story.emotion for story in repo] == ["joy", "grief"] * 3 + ["joy"] * 2
    assert [(s.text, s.emotion) for s in saved[:6]] == [(s.text, s.emotion) for s in repo[:6]]


def test_a_directory_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".cache").mkdir()
    write_csv(tmp_path / "data" / "b.csv", ROWS[3:])
    write_json_lines(tmp_path / "data" / "a.jsonl", ROWS[:3])
    write_json_lines(tmp_path / ".cache" / "a.jsonl", ROWS[:3])
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "README.md").write_text("about")
    stories, report = import_stories(tmp_path)
    assert list(report.files) == ["data/a.jsonl", "data/b.csv"]
    assert [story.id for story in stories] == [row["id"] for row in ROWS]


def test_tables_without_a_header_and_with_quotes(tmp_path: Path) -> None:
    lines = [f'"{row["id"]}"\t{row["emotion"]}\t"a\n""b"""' for row in ROWS]
    (tmp_path / "a.tsv").write_text("\n".join(lines))
    stories, _ = import_stories(tmp_path / "a.tsv", columns=["id", "emotion", "text"], quotes=True)
    assert {story.text for story in stories} == {'a\n"b"'}
    assert [story.id for story in stories] == [row["id"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.txt", b"x", r"a\.txt: is none of \.jsonl"),
        ("a.csv", b"", r"a\.csv: columns are missing"),
        ("a.csv", b"text,text\n", r"a\.csv: columns text, text: each needs its own name"),
        ("a.csv", b"text,emotion\nx,joy\n\ny\n", r"a\.csv line 4: has 1 cells where 2 are named"),
        ("a.csv", b'text,emotion\n"x,joy\n', r"a\.csv: cannot be read"),
        ("a.csv", b"text,emotion\n\xff,joy\n", r"a\.csv: cannot be read"),
        ("a.csv", b"text,label\nx,joy\n", r"a\.csv: no column 'emotion': there are text, label"),
        ("a.jsonl", b"{}\n{oops\n", r"a\.jsonl line 2: is not JSON"),
        ("a.jsonl", b"\n[1]\n", r"a\.jsonl line 2: is no JSON object"),
        ("a.json", b"[{}, 3]", r"a\.json line 2: is no JSON object"),
        ("a.parquet", b"PAR1 not", r"a\.parquet: cannot be read"),
        ("a.arrow", b"nothing", r"a\.arrow: cannot be read"),
        ("a.jsonl", b'{"text": "x", "emotion": "joy"}\n' * 2, "fewer than two emotions are left"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=named):
        import_stories(tmp_path / name)


def test_missing_folders_columns_and_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        import_stories(tmp_path / "none")
    with pytest.raises(UserError, match="no data file below it"):
        import_stories(tmp_path)
    write_json_lines(tmp_path / "a.jsonl", [{**row, "part": "train"} for row in ROWS])
    with pytest.raises(UserError, match="no column 'theme'"):
        import_stories(tmp_path, ColumnMap(topic="theme"))
    with pytest.raises(UserError, match="split 'train' is none of discover, tune, confirm"):
        import_stories(tmp_path, ColumnMap(split="part"))


def test_names_are_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("joy\n grief \n")
    assert read_names(path) == ["joy", "grief"]
    path.write_text("joy\n\njoy\n")
    with pytest.raises(UserError, match=r"lines \[2, 3\] are empty or say again"):
        read_names(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_names(tmp_path / "gone")


def test_the_verb_prints_what_became_of_every_row(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_csv(tmp_path / "a.csv", [*ROWS, {**ROWS[0], "emotion": "joy,grief"}])
    out = tmp_path / "out.jsonl"
    assert main(["stories", "import", str(tmp_path / "a.csv"), "--out", str(out)]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["rows read: 7", "       7  a.csv"]
    assert lines[-3:] == ["rows dropped: 1", "       1  with more than one emotion", str(out)]
    assert len(load_stories(out)) == 6


def test_the_verb_refuses_to_replace_its_source_and_writes_nothing_when_it_fails(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    before = (tmp_path / "a.csv").read_bytes()
    assert main(["stories", "import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "a.csv")]) == BAD_USAGE
    flags = ["--emotion-column", "feeling", "--out", str(tmp_path / "out.jsonl")]
    assert main(["stories", "import", str(tmp_path / "a.csv"), *flags]) == FAILED
    assert (tmp_path / "a.csv").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


@pytest.mark.shared
@pytest.mark.integration
def test_the_shared_stories_are_imported_whole(shared_dir: Path) -> None:
    path = shared_dir / "data" / "emotion_stories_20" / "stories.jsonl"
    stories, report = import_stories(path)
    assert [story.text for story in stories] == [story.text for story in load_stories(path)]
    assert (set(report.kept.values()), report.dropped, report.ignored) == ({150}, {}, ("story_index",))


@pytest.mark.shared
@pytest.mark.integration
def test_goemotions_is_imported_by_its_labels(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "data" / "goemotions"
    source = {"labels": read_names(folder / "labels.txt"), "columns": ["text", "emotion", "id"]}
    stories, report = import_stories(folder / "dev.tsv", **source)
    lines = [line.split("\t") for line in (folder / "dev.tsv").open()]
    single = [line for line in lines if "," not in line[1]]
    assert report.dropped == {"with more than one emotion": len(lines) - len(single)}
    assert [story.id for story in stories] == [line[2].strip() for line in single]
    assert [story.emotion for story in stories] == [source["labels"][int(line[1])] for line in single]
    assert load_stories(write_stories(tmp_path / "go.jsonl", stories)) == stories
    assert len(import_stories(folder / "dev.tsv", **source, multi="first")[0]) == len(lines)
