"""Shards hold what `harvest` gives, to the same bytes after any kill; anything else there is refused by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import BOS, HOOK, planted_lm

from emosae.activations import (
    SHARD_DTYPES,
    ActivationStream,
    Cursor,
    ShardStream,
    find_real_tokens,
    find_shards,
    harvest,
    plan_source,
    refuse_other_source,
    write_shards,
)
from emosae.errors import UserError
from emosae.files import file_hash, files_below
from emosae.lm import LanguageModel
from emosae.store import Stage

WORDS = ("rain", "fell", "on", "the", "roof", "and", "sun")
VECTORS = torch.randn(len(WORDS), 6, generator=torch.Generator().manual_seed(1))
DEEPER = "blocks.1.hook_resid_post"
HOOKS = (HOOK, DEEPER)
LM = planted_lm(VECTORS, WORDS)
DOCUMENTS = [
    [BOS, *np.random.default_rng(index).integers(1, len(WORDS) + 1, size=3 + index % 8).tolist()] for index in range(20)
]
N_ROWS = sum(len(document) - 1 for document in DOCUMENTS)
Change = Callable[[dict[str, Any]], object]


def write(folder: Path, **options: Any) -> list[Path]:
    defaults: dict[str, Any] = {"rows_per_shard": 30, "batch_tokens": 24, "dtype": "float32"}
    return write_shards(LM, DOCUMENTS, HOOKS, Stage(folder), **defaults | options)


def written_hashes(folder: Path) -> dict[str, str]:
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return {name: file_hash(path) for name, path in files_below(folder).items()}


def rows_by_token(folder: Path) -> dict[tuple[int, int], dict[str, torch.Tensor]]:
    """Every row of a folder by its document and its place there; a row that is there twice fails."""
    found: dict[tuple[int, int], dict[str, torch.Tensor]] = {}
    for shard in find_shards(Stage(folder)):
        tensors = Stage(folder).read_tensors(shard.name)
        for row in range(shard.rows):
            facts = {name: values[row] for name, values in tensors.items()}
            token = (int(facts["story"]), int(facts["token_pos"]))
            assert token not in found
            found[token] = facts
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of two tasks; not to be changed."""
    path = tmp_path_factory.mktemp("shards")
    for task in range(2):
        write(path, task=task, n_tasks=2)
    assert len(find_shards(Stage(path))) >= 5
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same five shards, to be damaged."""
    return shutil.copytree(folder, tmp_path / "copy")


def draw(stream: ActivationStream, n_batches: int, name: str = HOOK) -> torch.Tensor:
    return torch.cat([stream.next_batch()[name] for _ in range(n_batches)])


# Writing


@pytest.mark.parametrize("n_tasks", [1, 2, 3])
@pytest.mark.parametrize("dtype", sorted(SHARD_DTYPES))
def test_all_tasks_together_hold_the_rows_of_harvest_in_the_dtype(dtype: str, n_tasks: int, tmp_path: Path) -> None:
    for task in reversed(range(n_tasks)):
        write(tmp_path, task=task, n_tasks=n_tasks, dtype=dtype)
    found, expected, row = rows_by_token(tmp_path), harvest(LM, DOCUMENTS, HOOKS), 0
    for story, document in enumerate(DOCUMENTS):
        for place, pos in enumerate(find_real_tokens(LM, document)):
            facts = found.pop((story, place))
            assert facts["token_ids"] == document[pos]
            for name in HOOKS:
                assert facts[name].dtype == SHARD_DTYPES[dtype]
                assert torch.equal(facts[name], expected[name][row].to(SHARD_DTYPES[dtype]))
            row += 1
    assert not found


def test_shards_hold_whole_documents_in_random_order_and_rows_too(folder: Path) -> None:
    orders = []
    for shard in find_shards(Stage(folder)):
        story = Stage(folder).read_tensors(shard.name)["story"].tolist()
        assert 20 < shard.rows <= 30 or shard.number == shard.n_shards - 1
        assert all(story.count(index) == len(DOCUMENTS[index]) - 1 for index in set(story))
        assert story != sorted(story)
        orders += sorted(set(story))
    assert sorted(orders) == list(range(len(DOCUMENTS))) != orders


def test_the_seed_and_nothing_else_decides_the_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / name, seed=seed)
    one, same, other = (written_hashes(tmp_path / name) for name in "abc")
    assert one == same
    assert not set(one.values()) & set(other.values())
    stories = [Stage(tmp_path / name).read_tensors("shard-0-00000")["story"].tolist() for name in "ac"]
    assert set(stories[0]) != set(stories[1])


def test_rows_of_a_single_shard_come_in_another_order_with_each_seed_epoch_and_writing(tmp_path: Path) -> None:
    lying = []
    for name, seed in (("a", 3), ("b", 4)):
        write_shards(LM, [list(range(8))], HOOKS, Stage(tmp_path / name), seed=seed)
        lying.append(Stage(tmp_path / name).read_tensors("shard-0-00000")["token_pos"].tolist())
    assert lying[0] != lying[1]
    drawn = [draw(ShardStream(tmp_path / "a", 7, seed), 2) for seed in (0, 1)]
    orders = {str(rows.tolist()) for both in drawn for rows in both.split(7)}
    assert len(orders) == 4


def killed_at(call: int, *, after: bool) -> Callable[[Any, Any], None]:
    """A rename that is the death of the process at its `call`-th use, just before or just after it."""
    rename, calls = os.replace, iter(range(1000))

    def replace_or_die(source: Any, target: Any) -> None:
        is_last = next(calls) == call
        if not is_last or after:
            rename(source, target)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)

    return replace_or_die


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", [0, 1, 4, 7])
def test_kill_9_at_any_rename_leaves_finished_shards_and_the_next_run_adds_the_same_bytes(
    call: int, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "whole")
    whole, part = written_hashes(tmp_path / "whole"), tmp_path / "part"
    assert len(whole) == 8 + 2
    child = os.fork()
    if child == 0:
        try:
            os.replace = killed_at(call, after=after)  # type: ignore[assignment]
            write(part)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    names = {shard.name for shard in find_shards(Stage(part))}
    assert len(names) == (call + after) // 2
    kept = {path.name: path.stat().st_mtime_ns for path in part.iterdir() if path.stem in names}
    write(part)
    assert written_hashes(part) == whole
    assert {name: (part / name).stat().st_mtime_ns for name in kept} == kept


def test_a_finished_task_does_not_run_the_model_again(copy: Path) -> None:
    before = written_hashes(copy)
    idle = replace(LM, model=None)
    for task in range(2):
        options: dict[str, Any] = {"rows_per_shard": 30, "batch_tokens": 24, "dtype": "float32", "n_tasks": 2}
        paths = write_shards(idle, DOCUMENTS, HOOKS, Stage(copy), task=task, **options)
        assert paths == sorted(copy.glob(f"shard-{task}-*.safetensors"))
    assert written_hashes(copy) == before


def test_a_deleted_shard_is_written_again_and_only_that_one(copy: Path) -> None:
    before = written_hashes(copy)
    (copy / "shard-1-00000.safetensors").unlink()
    write(copy, task=1, n_tasks=2)
    assert written_hashes(copy) == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"dtype": "int8"}, "shards of dtype 'int8' do not exist: use one of bfloat16"),
        ({"task": 2, "n_tasks": 2}, "task 2 does not exist: with n_tasks 2 they are 0 to 1"),
        ({"n_tasks": 21}, "20 documents cannot be dealt out to 21 tasks"),
        ({"rows_per_shard": 9}, r"documents longer than rows_per_shard \(9\): \[7, 15\]"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(options: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        write(tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("documents", "complaint"),
    [
        ([[BOS, 1], [BOS], [BOS, 2], []], r"documents without tokens: \[1, 3\]"),
        ([[BOS, 1], [BOS, *[1] * 512]], r"documents of more than the 512 tokens that planted can read: \[1\]"),
    ],
)
def test_documents_are_refused_by_their_place_in_the_corpus(
    documents: list[list[int]], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=complaint):
        write_shards(LM, documents, HOOKS, Stage(tmp_path))
    with pytest.raises(UserError, match="no hook to read"):
        write_shards(LM, documents, [], Stage(tmp_path))


@pytest.mark.parametrize(("value", "complaint"), [(torch.inf, "are not finite"), (7e4, "are too large for float16")])
def test_residuals_that_overflow_are_refused_by_hook_and_document(value: float, complaint: str, tmp_path: Path) -> None:
    lm = planted_lm(torch.tensor([[1.0], [value]]), ["rain", "sun"])
    with pytest.raises(UserError, match=f"{HOOK}: residuals of document 1 {complaint}"):
        write_shards(lm, [[BOS, 1], [BOS, 2]], [HOOK], Stage(tmp_path), dtype="float16")


# Reading


@pytest.mark.parametrize("reshuffle", [False, True])
def test_every_row_is_drawn_once_an_epoch_in_another_order_each(folder: Path, reshuffle: bool) -> None:
    stream = ShardStream(folder, N_ROWS, seed=0, reshuffle=reshuffle)
    assert isinstance(stream, ActivationStream)
    assert (stream.n_rows, stream.d_in, stream.hook_names) == (N_ROWS, 6, HOOKS)
    epochs = [stream.next_batch() for _ in range(2)]
    expected = sorted(map(tuple, harvest(LM, DOCUMENTS, [HOOK])[HOOK].tolist()))
    for epoch in epochs:
        assert sorted(map(tuple, epoch[HOOK].tolist())) == expected
        torch.testing.assert_close(epoch[DEEPER], 2 * epoch[HOOK], rtol=0, atol=0)
    assert not torch.equal(epochs[0][HOOK], epochs[1][HOOK])
    assert stream.cursor == Cursor(2, 0)


def test_rows_of_a_shard_come_together_and_as_they_lie_unless_reshuffled(folder: Path) -> None:
    lying = {shard.name: Stage(folder).read_tensors(shard.name)[HOOK] for shard in find_shards(Stage(folder))}
    plain, reshuffled = (draw(ShardStream(folder, N_ROWS, 5, reshuffle=reshuffle), 1) for reshuffle in (False, True))
    start = 0
    while start < N_ROWS:
        (name,) = [name for name, rows in lying.items() if torch.equal(rows, plain[start : start + len(rows)])]
        rows = lying.pop(name)
        mixed = reshuffled[start : start + len(rows)]
        assert sorted(rows.tolist()) == sorted(mixed.tolist())
        assert not torch.equal(rows, mixed)
        start += len(rows)


@given(st.integers(1, 3 * N_ROWS), st.integers(0, 5), st.integers(0, 2**40), st.booleans())
def test_going_back_to_a_cursor_gives_the_same_batches(
    folder: Path, batch_size: int, skipped: int, seed: int, reshuffle: bool
) -> None:
    stream, other = (ShardStream(folder, batch_size, seed, reshuffle=reshuffle, check_hashes=False) for _ in range(2))
    for _ in range(skipped):
        stream.next_batch()
    cursor = stream.cursor
    assert cursor == Cursor(*divmod(skipped * batch_size, N_ROWS))
    first = draw(stream, 3)
    other.seek(cursor)
    assert torch.equal(draw(other, 3), first)
    stream.seek(cursor)
    assert torch.equal(draw(stream, 3), first)


@given(st.integers(1, 2 * N_ROWS), st.integers(1, 7), st.booleans())
def test_the_parts_of_all_ranks_are_the_batch(folder: Path, batch_size: int, n_ranks: int, reshuffle: bool) -> None:
    stream = ShardStream(folder, batch_size, 1, reshuffle=reshuffle, check_hashes=False)
    whole = stream.next_batch()[DEEPER]
    for rank in range(n_ranks):
        stream.seek(Cursor())
        assert torch.equal(stream.next_batch(rank, n_ranks)[DEEPER], whole[rank::n_ranks])


def test_a_batch_is_no_view_of_the_file(folder: Path) -> None:
    stream = ShardStream(folder, 7, 0, reshuffle=False)
    first = stream.next_batch()[HOOK]
    kept = first.clone()
    first.zero_()
    stream.seek(Cursor())
    assert torch.equal(stream.next_batch()[HOOK], kept)
    assert ShardStream(folder, 7, 0).fingerprint()


@pytest.mark.parametrize("n_held_out", [1, 7, N_ROWS // 2, N_ROWS - 1])
def test_held_out_rows_are_of_all_shards_and_never_drawn(folder: Path, n_held_out: int) -> None:
    stream = ShardStream(folder, N_ROWS - n_held_out, seed=0, n_held_out=n_held_out)
    held, epochs = stream.held_out(), [stream.next_batch() for _ in range(3)]
    assert (len(held[HOOK]), stream.n_rows, stream.cursor) == (n_held_out, N_ROWS - n_held_out, Cursor(3, 0))
    whole = ShardStream(folder, N_ROWS, 0).next_batch()
    for epoch in epochs:
        for name in HOOKS:
            assert sorted(torch.cat([held[name], epoch[name]]).tolist()) == sorted(whole[name].tolist())
    shards = find_shards(Stage(folder))
    last = [Stage(folder).read_tensors(shard.name)[HOOK][-1] for shard in shards if shard.rows * n_held_out >= N_ROWS]
    assert all((held[HOOK] == row).all(dim=1).any() for row in last)


def test_held_out_rows_are_part_of_a_fingerprint_and_cannot_be_all(folder: Path) -> None:
    assert ShardStream(folder, 5, 0, n_held_out=3).fingerprint() != ShardStream(folder, 5, 0).fingerprint()
    assert ShardStream(folder, 5, 0).held_out()[DEEPER].shape == (0, 6)
    for count in (-1, N_ROWS):
        with pytest.raises(UserError, match=f"{count} of {N_ROWS} rows cannot be held out"):
            ShardStream(folder, 5, 0, n_held_out=count)


@pytest.mark.parametrize("cursor", [Cursor(0, N_ROWS), Cursor(0, -1), Cursor(-1, 0)])
def test_a_cursor_beyond_the_epoch_is_refused(folder: Path, cursor: Cursor) -> None:
    with pytest.raises(UserError, match=f"an epoch has {N_ROWS} rows"):
        ShardStream(folder, 4, 0).seek(cursor)


def test_some_hooks_may_be_drawn_and_absent_ones_are_refused(folder: Path) -> None:
    stream = ShardStream(folder, 5, 0, hook_names=[DEEPER])
    assert set(stream.next_batch()) == set(stream.hook_names) == {DEEPER}
    with pytest.raises(UserError, match=r"has no residuals of blocks\.7; there are blocks\.0"):
        ShardStream(folder, 5, 0, hook_names=[HOOK, "blocks.7"])


def test_a_fingerprint_tells_rows_order_and_batches_apart_and_not_the_folder(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", seed=1)
    moved = shutil.copytree(folder, tmp_path / "moved")
    streams = [
        ShardStream(folder, 5, 0),
        ShardStream(folder, 6, 0),
        ShardStream(folder, 5, 1),
        ShardStream(folder, 5, 0, reshuffle=False),
        ShardStream(folder, 5, 0, hook_names=[HOOK]),
        ShardStream(tmp_path / "other", 5, 0),
    ]
    prints = [stream.fingerprint() for stream in streams]
    assert len(set(prints)) == len(prints)
    assert ShardStream(moved, 5, 0).fingerprint() == prints[0]


# Refusals

BAD = "shard-1-00001"


def edit_manifest(folder: Path, change: Change, name: str = BAD) -> None:
    path = folder / f"{name}.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_flipped_bit_anywhere_is_refused_by_the_name_of_the_file(copy: Path) -> None:
    path = copy / f"{BAD}.safetensors"
    content = path.read_bytes()
    for place in range(0, len(content), 41):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError, match=BAD):
            ShardStream(copy, 4, 0)


def test_a_flipped_bit_in_a_header_never_ends_in_a_traceback_when_hashes_are_not_looked_at(copy: Path) -> None:
    path = copy / f"{BAD}.safetensors"
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    refused = 0
    for place in range(8, 8 + header, 19):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            ShardStream(copy, 4, 0, check_hashes=False)
        except UserError as error:
            assert BAD in str(error)  # noqa: PT017
            refused += 1
    assert refused > 0.99 * header / 19


@pytest.mark.parametrize("hashes", [True, False])
@pytest.mark.parametrize("kept", [0, 6, 300, -1])
def test_a_truncated_shard_is_refused_by_name_by_reader_and_writer(copy: Path, kept: int, hashes: bool) -> None:
    path = copy / f"{BAD}.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:kept])
    complaint = rf"{BAD}\.safetensors: has {path.stat().st_size} bytes, not {size}; delete it and run task 1 again"
    with pytest.raises(UserError, match=complaint):
        ShardStream(copy, 4, 0, check_hashes=hashes)
    with pytest.raises(UserError, match=complaint):
        write(copy, task=1, n_tasks=2)


def test_changed_bytes_pass_only_where_hashes_are_not_looked_at(copy: Path) -> None:
    path = copy / f"{BAD}.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{BAD}\.safetensors: its bytes have changed"):
        ShardStream(copy, 4, 0)
    ShardStream(copy, 4, 0, check_hashes=False)


def test_a_shard_that_is_damaged_while_it_is_drawn_from_is_refused_by_name(copy: Path) -> None:
    stream = ShardStream(copy, N_ROWS, 0)
    path = copy / f"{BAD}.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=rf"{BAD}\.safetensors: not a readable safetensors file"):
        stream.next_batch()
    path.unlink()
    with pytest.raises(UserError, match=rf"{BAD}\.safetensors: not a readable safetensors file"):
        stream.next_batch()


def test_shards_of_further_hooks_are_of_the_source_and_those_of_another_text_are_not(folder: Path) -> None:
    options: dict[str, Any] = {"rows_per_shard": 30, "batch_tokens": 24, "dtype": "float32", "n_tasks": 2}
    refuse_other_source(Stage(folder), plan_source(LM, DOCUMENTS, [DEEPER], **options))
    with pytest.raises(UserError, match=r"shard-0-00000\.safetensors: is not of these shards \(documents is"):
        refuse_other_source(Stage(folder), plan_source(LM, DOCUMENTS[1:], [DEEPER], **options))
    with pytest.raises(UserError, match=r"shard-0-00000\.safetensors: is not of these shards \(n_tasks is 2, not 1\)"):
        refuse_other_source(Stage(folder), plan_source(LM, DOCUMENTS, HOOKS, **options | {"n_tasks": 1}))


FOREIGN: list[tuple[str, LanguageModel, dict[str, Any]]] = [
    ("weight_hash", replace(LM, weight_hash="other"), {}),
    ("model", replace(LM, name="other"), {}),
    ("revision", replace(LM, revision="other"), {}),
    ("model_dtype", replace(LM, dtype="bfloat16"), {}),
    ("d_in", planted_lm(VECTORS[:, :3], WORDS), {}),
    ("hook_names", LM, {"hook_names": [HOOK]}),
    ("hook_names", LM, {"hook_names": [HOOK, "blocks.1.hook_resid_pre"]}),
    ("dtype", LM, {"dtype": "bfloat16"}),
    ("documents", LM, {"documents": [*DOCUMENTS[:-1], [BOS, 1, 2, 3]]}),
    ("seed", LM, {"seed": 9}),
    ("n_tasks", LM, {"n_tasks": 3}),
]


@pytest.mark.parametrize(("key", "lm", "options"), FOREIGN)
@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_shard_of_something_else_is_refused_by_name_and_by_what_differs(
    key: str, lm: LanguageModel, options: dict[str, Any], with_manifest: bool, copy: Path, tmp_path: Path
) -> None:
    defaults = {"documents": DOCUMENTS, "hook_names": HOOKS, "rows_per_shard": 30, "batch_tokens": 24, "n_tasks": 2}
    given = defaults | {"dtype": "float32", "task": 1} | options
    write_shards(lm, given.pop("documents"), given.pop("hook_names"), Stage(tmp_path / "foreign"), **given)
    file = shutil.copy(tmp_path / "foreign" / f"{BAD}.safetensors", copy)
    if with_manifest:
        shutil.copy(tmp_path / "foreign" / f"{BAD}.json", copy)
        with pytest.raises(UserError, match=rf"{BAD}\.safetensors: is not of these shards \(.*\b{key} is .*, not "):
            write(copy, task=0, n_tasks=2)
    else:
        edit_manifest(copy, lambda record: record.update(size=Path(file).stat().st_size))
    for hashes in (True, False):
        with pytest.raises(UserError, match=rf"{BAD}\.safetensors: is not of these shards \(.*\b{key} is .*, not "):
            ShardStream(copy, 4, 0, check_hashes=hashes)


def test_a_shard_in_the_place_of_another_is_refused(copy: Path) -> None:
    shutil.copy(copy / "shard-0-00001.safetensors", copy / f"{BAD}.safetensors")
    edit_manifest(copy, lambda record: record.update(size=(copy / f"{BAD}.safetensors").stat().st_size))
    with pytest.raises(UserError, match=rf"{BAD}\.safetensors: is not of these shards \(shard is 0-1, not 1-1\)"):
        ShardStream(copy, 4, 0, check_hashes=False)
    shutil.copy(copy / "shard-0-00001.json", copy / f"{BAD}.json")
    with pytest.raises(UserError, match=rf"{BAD}\.json: is the manifest of shard-0-00001"):
        ShardStream(copy, 4, 0)


def test_shards_of_another_model_than_the_one_given_are_refused(folder: Path) -> None:
    assert ShardStream(folder, 4, 0, lm=LM).fingerprint() == ShardStream(folder, 4, 0).fingerprint()
    ShardStream(folder, 4, 0, lm=replace(LM, name="elsewhere"))
    for change in ({"weight_hash": "other"}, {"revision": "other"}, {"d_in": 7}):
        with pytest.raises(UserError, match=rf"holds shards of another model, planted \({next(iter(change))} is "):
            ShardStream(folder, 4, 0, lm=replace(LM, **change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda record: record.update(rows=7), r"\.safetensors: holds .*its manifest says "),
        (lambda record: record.update(rows="7"), r"\.json: is no manifest of a shard"),
        (lambda record: record.update(sha256="0" * 64), r"\.safetensors: its bytes have changed"),
        (lambda record: record.pop("source"), r"\.json: is no manifest of a shard"),
        (lambda record: record["source"].pop("seed"), r"\.json: is no manifest of a shard"),
        (lambda record: record["source"].update(more=1), r"\.json: is no manifest of a shard"),
        (
            lambda record: record["source"].update(format=2),
            r"\.safetensors: is not of these shards \(format is 2, not 1",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_by_name(copy: Path, change: Change, complaint: str) -> None:
    edit_manifest(copy, change)
    with pytest.raises(UserError, match=BAD + complaint):
        ShardStream(copy, 4, 0)


def test_a_torn_manifest_is_refused_by_name(copy: Path) -> None:
    path = copy / f"{BAD}.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=rf"{BAD}\.json: not valid JSON"):
        ShardStream(copy, 4, 0)


def test_what_is_missing_is_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no activation shards"):
        ShardStream(tmp_path / "nowhere", 4, 0)
    with pytest.raises(UserError, match="batch_size is 0"):
        ShardStream(copy, 0, 0)
    (copy / f"{BAD}.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{BAD}\.safetensors: is missing; run task 1 again"):
        ShardStream(copy, 4, 0)
    (copy / f"{BAD}.json").unlink()
    with pytest.raises(UserError, match=rf"task 1 of 2 lacks \['{BAD}'\]; run it"):
        ShardStream(copy, 4, 0)
    for path in copy.glob("shard-1-*"):
        path.unlink()
    with pytest.raises(UserError, match="task 1 of 2 has no shard; run it"):
        ShardStream(copy, 4, 0)
