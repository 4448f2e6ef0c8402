"""The tester: it alone knows the tests, and it never loads a program."""

from __future__ import annotations

import ast
import builtins
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .program import run_keepers
from .syscalls import probe_filter
from .wire import SHOWN, Ended, pack, receive, send, tell, unpack

REPEATS = 50  # calls that are timed together
MEMORY_BYTES = 1 << 30  # of each process here; a value that a program gave may grow in a test


class Failed(Exception):
    """The program raised, ended, or gave something that is no plain value."""


class Remote:
    """A function of the program. `got` is what its last call gave, as text."""

    def __init__(self, name: str, ask: Callable[[Any], Any]) -> None:
        self.name, self.ask, self.got = name, ask, None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the program."""
        value = self._ask(args, kwargs)
        self.got = repr(value)[:SHOWN]
        return value

    def time(self, *args: Any, **kwargs: Any) -> float:
        """Seconds of processor time that the program spends on one call, averaged over REPEATS of them."""
        seconds = self._ask(args, kwargs, REPEATS)
        self.got = f"{seconds:.2g} s"
        return seconds

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any], *repeats: int) -> Any:
        reply = self.ask([pack(self.name), pack(list(args)), pack(kwargs), *repeats])
        if "error" in reply:
            raise Failed(tell(reply["error"]))
        try:
            return unpack(reply["value"])
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as nonsense:
            raise Failed("answered nonsense") from nonsense


def cpu_seconds(function: Remote, *args: Any, **kwargs: Any) -> float:
    """What a test may ask: the processor time of `function(*args, **kwargs)` in seconds."""
    return function.time(*args, **kwargs)


TOOLS = {"cpu_seconds": cpu_seconds}
"""What a test may use besides Python and the program's functions."""
_NEVER = frozenset({"eval", "exec", "compile", "__import__", "open", "input", "breakpoint"})
_BUILTINS = {name: thing for name, thing in vars(builtins).items() if name not in _NEVER}
"""What a test finds of Python: nothing that would run, here, a text that the program gave."""


def find_names(test: str) -> tuple[set[str], set[str]]:
    """The names in a test that are the program's functions, and those that are modules of the standard library."""
    tree = ast.parse(test)
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    loaded = {node.id for node in nodes if isinstance(node, ast.Name)} - bound - set(dir(builtins)) - set(TOOLS)
    owners = {node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    modules = loaded & owners & sys.stdlib_module_names
    return loaded - modules, modules


def run_test(test: str, ask: Callable[[Any], Any]) -> dict[str, Any]:
    """Whether an `assert` line holds, what the program's last call gave, and what went wrong."""
    remotes: dict[str, Remote] = {}
    passed, error = False, ""
    try:
        functions, modules = find_names(test)
        remotes = {name: Remote(name, ask) for name in functions}
        namespace = {"__builtins__": _BUILTINS, **TOOLS, **remotes, **{name: import_module(name) for name in modules}}
        exec(compile(test, "<test>", "exec", dont_inherit=True), namespace)
        passed = True  # said here and nowhere else: that nothing is known to be wrong is no pass
    except AssertionError:
        error = ""
    except (Failed, Ended) as failed:
        error = str(failed)
    except Exception as raised:  # a value that the test cannot even compare fails it
        error = f"test raised {type(raised).__name__}"
    got = next((remote.got for remote in remotes.values() if remote.got is not None), None)
    return {"passed": passed, "got": got, "error": error}


def run_tester(requests: int, replies: int) -> None:
    """Jobs from standard input, verdicts to standard output, until there are no more."""

    def ask(call: Any) -> Any:
        send(requests, call)
        return receive(replies)

    while True:
        try:
            job = receive(0)
        except Ended:
            return
        send(requests, {key: job[key] for key in ("code", "timeout", "memory_bytes", "filtered")})
        results = [run_test(test, ask) for test in job["tests"]]
        ask(None)
        send(1, results)


def main() -> None:
    """Say whether this place is fit, then serve."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    send(1, {"unfit": probe_filter()})
    to_runner_out, to_runner_in = os.pipe()
    to_tester_out, to_tester_in = os.pipe()
    if os.fork() == 0:
        os.close(to_runner_in)
        os.close(to_tester_out)
        run_keepers(to_runner_out, to_tester_in)
        os._exit(0)
    os.close(to_runner_out)
    os.close(to_tester_in)
    run_tester(to_runner_in, to_tester_out)
