"""The program under test, the keeper that minds it, and the runner that forks a fresh keeper for each job."""

from __future__ import annotations

import builtins
import contextlib
import copy
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .syscalls import install_filter
from .wire import Ended, NotPlain, pack, receive, send, tell, unpack

_TICKS_S = 0.01  # by how much a running process's clock, read from outside, may be off
_clock = time.thread_time  # exact, where a process with a limit on its time reads its own to the tick only


def run_program(job: Mapping[str, Any], calls: int, answers: int) -> NoReturn:
    """Load the code, then answer calls. Whatever it does, the process ends here."""
    try:
        _shut_in(job, keep=(calls, answers))
        _hide_harness()
        namespace: dict[str, Any] = {"__name__": "program", "__builtins__": builtins}
        failure = _attempt(lambda: exec(compile(job["code"], "<program>", "exec", dont_inherit=True), namespace))
        while True:
            name, args, kwargs, *repeats = (unpack(part) for part in receive(calls))
            if "error" in failure:
                send(answers, failure)
            elif repeats:
                _answer_many(namespace, (name, args, kwargs), repeats[0], calls, answers)
            else:
                send(answers, _answer(namespace, name, args, kwargs))
    finally:
        os._exit(1)


def _shut_in(job: Mapping[str, Any], keep: tuple[int, int]) -> None:
    """Drop every door but the two pipes. Limits hold for the process; it can have no children."""
    low, high = sorted(keep)
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, 256)
    for name, limit in (
        ("AS", job["memory_bytes"]),
        ("CPU", int(job["timeout"]) + 2),
        ("FSIZE", 0),
        ("CORE", 0),
        ("NOFILE", 32),
        ("NPROC", 0),
    ):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if job["filtered"]:
        install_filter()


def _hide_harness() -> None:
    """Take the modules of this folder from where a program would look: what it imports of them is another copy."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "jail"]:
        del sys.modules[name]


def _answer(namespace: dict[str, Any], name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    def call() -> Any:
        if name not in namespace:
            raise NameError(name)
        return pack(namespace[name](*args, **kwargs))

    return _attempt(call)


def _answer_many(
    namespace: dict[str, Any], call: tuple[str, list[Any], dict[str, Any]], repeats: int, calls: int, answers: int
) -> None:
    """Call a function several times, each time with arguments of its own, once told to; say how long it took."""
    name, args, kwargs = call
    clock = _clock
    prepared = [[copy.copy(arg) for arg in args] for _ in range(repeats)]

    def call_all() -> float:
        if name not in namespace:
            raise NameError(name)
        function = namespace[name]
        start = clock()
        for own in prepared:
            function(*own, **kwargs)
        return clock() - start

    send(answers, {"value": None})
    receive(calls)
    send(answers, _attempt(call_all))


def _attempt(action: Callable[[], Any]) -> dict[str, Any]:
    """The value of an action, or the name of what it raised."""
    try:
        return {"value": action()}
    except NotPlain:
        return {"error": "returned no plain value"}
    except BaseException as error:  # whatever a program raises, SystemExit and KeyboardInterrupt too, is its answer
        return {"error": f"raised {type(error).__name__}"}


def keep_program(requests: int, replies: int) -> None:
    """Serve one job: start its program, relay calls until told to end, kill it."""
    job = receive(requests)
    deadline = time.monotonic() + job["timeout"]
    calls_out, calls_in = os.pipe()
    answers_out, answers_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(calls_in)
        os.close(answers_out)
        run_program(job, calls_out, answers_in)
    os.close(calls_out)
    os.close(answers_in)
    os.set_blocking(calls_in, False)
    try:
        failure = ""
        while (call := receive(requests)) is not None:
            try:
                if failure:
                    reply = {"error": failure}
                elif len(call) > 3:
                    reply = _time(call, pid, calls_in, answers_out, deadline)
                else:
                    reply = _relay(call, calls_in, answers_out, deadline)
            except Ended as ended:
                failure = str(ended)
                reply = {"error": failure}
            send(replies, reply)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    send(replies, "ended")


def _relay(call: Any, calls_in: int, answers_out: int, deadline: float) -> dict[str, Any]:
    """One call and its answer, checked to be nothing but a value or an error."""
    send(calls_in, call, deadline)
    match receive(answers_out, deadline):
        case {"value": value, **rest} if not rest:
            return {"value": value}
        case {"error": str(error), **rest} if not rest:
            return {"error": tell(error)}
    raise Ended("answered nonsense")


def _time(call: Any, pid: int, calls_in: int, answers_out: int, deadline: float) -> dict[str, Any]:
    """How many seconds of processor time the program spends on one of several equal calls.

    The arguments are handed over before the clock starts, and processor time is read: neither the way to the program
    nor a busy machine counts. The program's process reads it exactly. From outside it is known to a few milliseconds,
    and where that says that far more was spent, the program turned its clock back, and the outside is believed.
    """
    reply = _relay(call, calls_in, answers_out, deadline)
    if "error" in reply:
        return reply
    start = _cpu_time_of(pid)
    reply = _relay(None, calls_in, answers_out, deadline)
    if "error" in reply:
        return reply
    if type(reply["value"]) is not float:
        raise Ended("answered nonsense")
    return {"value": max(0.0, reply["value"], _cpu_time_of(pid) - start - _TICKS_S) / call[3]}


def _cpu_time_of(pid: int) -> float:
    """Seconds that another process has spent on a processor, to the tick; 0 where only Linux would know."""
    if sys.platform != "linux":
        return 0.0
    return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) names


def run_keepers(requests: int, replies: int) -> None:
    """Fork a keeper whenever a job waits, without looking at it, until the tester is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        events = poll.poll()
        if not any(event & select.POLLIN for _, event in events):
            return
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(Ended):
                keep_program(requests, replies)
            os._exit(0)
        os.waitpid(pid, 0)
