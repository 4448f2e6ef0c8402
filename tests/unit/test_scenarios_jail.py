"""The parts of the sandbox that need no sandbox: values on the wire, the tester's judgement, the filter's code."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.scenarios.jail import syscalls
from emosae.scenarios.jail.tester import find_names, run_test
from emosae.scenarios.jail.wire import SHOWN, Ended, NotPlain, pack, receive, send, unpack

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
LEAVES = LEAVES | st.complex_numbers(allow_nan=False, allow_infinity=False)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.sets(KEYS),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_values_come_back_with_their_types(value: Any) -> None:
    read, write = os.pipe()
    try:
        send(write, pack(value))
        back = unpack(receive(read))
    finally:
        os.close(read)
        os.close(write)
    assert back == value
    assert repr(type(back)) == repr(type(value))


class Sly(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize("value", [Sly(1), object(), print, [Sly(1)], {Sly(1): 2}, {"a": (1, {2: object})}, range(3)])
def test_nothing_with_code_in_it_crosses(value: Any) -> None:
    with pytest.raises(NotPlain):
        pack(value)


def test_a_frame_that_is_late_broken_or_too_long_ends_the_talk() -> None:
    read, write = os.pipe()
    with pytest.raises(Ended, match="timed out"):
        receive(read, time.monotonic() + 0.02)
    os.write(write, struct.pack("<I", 3) + b"{,}")
    with pytest.raises(Ended, match="nonsense"):
        receive(read, time.monotonic() + 1)
    os.write(write, struct.pack("<I", 1 << 30))
    with pytest.raises(Ended, match="too much"):
        receive(read, time.monotonic() + 1)
    os.write(write, b"\1")
    os.close(write)
    with pytest.raises(Ended, match="ended early"):
        receive(read, time.monotonic() + 1)
    os.close(read)


def test_a_reader_who_does_not_read_is_not_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(Ended, match="timed out"):
        send(write, "x" * (1 << 20), time.monotonic() + 0.02)
    os.close(read)
    with pytest.raises(Ended, match="ended early"):
        send(write, 1, time.monotonic() + 1)
    os.close(write)


def answering(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Stands in for the keeper: answers calls with a function."""

    def ask(call: Any) -> Any:
        _, args, kwargs = (unpack(part) for part in call)
        return {"value": pack(function(*args, **kwargs))}

    return ask


@pytest.mark.parametrize(
    ("test", "passed", "got"),
    [
        ("assert f(2) == 5", True, "5"),
        ("assert f(2) == 6", False, "5"),
        ("assert f(f(2)) == 8", True, "8"),
        ("assert [f(i) for i in range(2)] == [3, 4]", True, "4"),
        ("assert math.sqrt(f(1)) == 2", True, "4"),
        ("assert (y := f(1)) and y > 3", True, "4"),
        ("assert max(f(1), 2) == 4, f'{f(1)}'", True, "4"),
        ("assert not f(-3)", True, "0"),
        ("assert f(1).nothing", False, "4"),
    ],
)
def test_a_test_is_judged_on_values(test: str, passed: bool, got: str) -> None:
    result = run_test(test, answering(lambda x: x + 3))
    assert (result["passed"], result["got"]) == (passed, got)


def test_what_the_other_side_says_cannot_pass_a_test() -> None:
    for value in ({"what": 1}, {"set": [[1]]}, {"bytes": 1}, {}, {"tuple": 1}, {"complex": [1, 2, 3]}):
        reply = {"value": value}
        result = run_test("assert f(1) == 1", lambda call, reply=reply: reply)
        assert not result["passed"]
        assert result["error"]


@pytest.mark.parametrize("said", ["", " ", "\t\u200b\n", "assertion", "\ud800\x1b[2J\u202e", "x" * 10**6])
def test_no_error_however_it_is_worded_passes_a_test(said: str) -> None:
    result = run_test("assert f(1) == 1", lambda call: {"error": said})
    assert (result["passed"], bool(result["error"])) == (False, True)
    assert result["error"].isprintable()
    assert len(result["error"].encode()) <= SHOWN


@pytest.mark.parametrize("test", ["assert eval(f(1)) == 1", "assert not exec(f(1))", "assert __import__(f(1)) is None"])
def test_a_test_never_runs_what_a_program_says(test: str) -> None:
    result = run_test(test, answering(lambda x: "1"))
    assert (result["passed"], result["error"]) == (False, "test raised NameError")


def test_names_are_sorted_into_functions_modules_and_neither() -> None:
    assert find_names("assert sum(f(x) for x in range(3)) == math.pi + g.h") == ({"f", "g"}, {"math"})


def decide(code: bytes, seen: int, number: int) -> int:
    """Interpret BPF code for a call of an architecture."""
    lines = [struct.unpack("HBBI", code[i : i + 8]) for i in range(0, len(code), 8)]
    position, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = lines[position]
        position += 1
        if operation == syscalls._LOAD:
            loaded = {4: seen, 0: number}[value]
        elif operation == syscalls._RETURN:
            return value
        else:
            holds = loaded == value if operation == syscalls._IF_EQUAL else loaded >= value
            position += if_true if holds else if_false


NUMBERS = [*range(600), 0x3FFFFFFF]
OF_ANOTHER_TABLE = [0x40000000, 0x40000001, 0x40000039, 0xFFFFFFFF]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_refuses_the_rest(machine: str) -> None:
    column, architecture = syscalls._MACHINES[machine]
    code, allowed = syscalls.build_filter(machine), {pair[column] for pair in syscalls._ALLOWED.values()}
    for number in [*NUMBERS, *OF_ANOTHER_TABLE]:
        assert decide(code, architecture, number) == (syscalls._ALLOW if number in allowed else syscalls._REFUSE)
    assert decide(code, architecture ^ 1, 0) == syscalls._KILL
    names = {"fork", "clone", "clone3", "execve", "kill", "tgkill", "socket", "ptrace", "mount", "unshare", "prlimit64"}
    assert not names & set(syscalls._ALLOWED)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_outer_filter_refuses_what_is_listed_and_allows_the_rest(machine: str) -> None:
    column, architecture = syscalls._MACHINES[machine]
    code, refused = syscalls.build_outer_filter(machine), {pair[column] for pair in syscalls._REFUSED_TO_ALL.values()}
    for number in NUMBERS:
        assert decide(code, architecture, number) == (syscalls._REFUSE if number in refused else syscalls._ALLOW)
    assert {decide(code, architecture, number) for number in OF_ANOTHER_TABLE} == {syscalls._REFUSE}
    assert decide(code, architecture ^ 1, 0) == syscalls._KILL
    assert not set(syscalls._ALLOWED) & set(syscalls._REFUSED_TO_ALL)


def test_a_machine_whose_calls_are_not_known_has_no_outer_filter() -> None:
    assert syscalls.build_outer_filter("riscv64") == b""
