"""Hashes follow content only; a write is whole or absent."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.errors import UserError
from emosae.files import content_hash, drop_torn_line, file_hash, files_below, write_whole

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(value=st.dictionaries(st.text(), JSON, max_size=4))
def test_order_of_keys_does_not_change_the_hash(value: dict) -> None:
    assert content_hash(dict(reversed(value.items()))) == content_hash(value)


@given(first=st.binary(max_size=4), second=st.binary(max_size=4))
def test_parts_are_not_run_together(first: bytes, second: bytes) -> None:
    assert content_hash(first, second) != content_hash(first + second)
    assert (content_hash(first, second) == content_hash(second, first)) == (first == second)


def test_text_bytes_and_files_of_equal_content_hash_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    hashes = {content_hash(part) for part in (1, "1", b"1", tmp_path / "a", tmp_path)}
    assert len(hashes) == 5


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"emosae")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"emosae").hexdigest()


def test_directory_hash_follows_names_and_bytes_but_not_place(tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "deep").mkdir(parents=True)
    (one / "deep" / "a").write_text("x")
    (one / "b").write_text("y")
    shutil.copytree(one, tmp_path / "two")
    before = content_hash(one)
    assert content_hash(tmp_path / "two") == before
    (tmp_path / "two" / "b").write_text("z")
    assert content_hash(tmp_path / "two") != before
    (one / "b").rename(one / "c")
    assert content_hash(one) != before


def test_half_written_files_and_folders_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = content_hash(tmp_path)
    (tmp_path / ".a.123.part").write_text("torn")
    (tmp_path / ".folder.123.part").mkdir()
    (tmp_path / ".folder.123.part" / "weights").write_text("torn")
    assert list(files_below(tmp_path)) == ["a"]
    assert content_hash(tmp_path) == before


def test_what_cannot_be_hashed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file"):
        content_hash(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="JSON"):
        content_hash(float("nan"))
    with pytest.raises(TypeError):
        content_hash({"path": tmp_path})


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail_halfway(temporary: Path) -> None:
        temporary.write_text("ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, fail_halfway)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@given(whole=st.lists(st.text("ab", max_size=3), max_size=4), torn=st.text("ab", max_size=3))
def test_only_the_torn_line_is_dropped(whole: list[str], torn: str) -> None:
    kept = "".join(f"{line}\n" for line in whole).encode()
    file = io.BytesIO(kept + torn.encode())
    drop_torn_line(file)
    assert file.getvalue() == kept


def test_a_torn_line_longer_than_a_chunk_is_dropped() -> None:
    file = io.BytesIO(b"whole\n" + b"x" * (3 << 20))
    drop_torn_line(file)
    assert file.getvalue() == b"whole\n"
