"""Programs that mean harm: none passes, none harms, and the sandbox is still whole behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emosae.scenarios.sandbox import Job, Sandbox, SandboxMissing, run_programs

pytestmark = pytest.mark.sandbox
HOME = str(Path.home())
HERE = str(Path(__file__).resolve())
SECRET = 982451653
TESTS = ("assert f(3) == 982451653", "assert f(4) == 982451653")

# Every program succeeds in its aim by returning SECRET, which it does not hold, or by making the verdict true.
AIM = f"\nSECRET = {SECRET // 3} * 3 + {SECRET % 3}\n"  # the number for programs that show success by returning it
READERS = {
    "passwd": "open('/etc/passwd').read()",
    "home": f"import os; assert os.listdir({HOME!r})",
    "this file": f"open({HERE!r}).read()",
    "environment": "open('/proc/self/environ').read()",
    "other processes": "import os; assert os.listdir('/proc')",
    "inherited variables": "import os; assert set(os.environ) - {'LD_LIBRARY_PATH', 'PWD', 'LC_CTYPE'}",
    "user name": "import pwd; pwd.getpwuid(0)",
}
WRITERS = {
    "disk": "open('/tmp/full', 'wb').write(bytes(10))",
    "root of the disk": "open('/full', 'wb').write(bytes(10))",
    "working folder": "open('full', 'wb').write(bytes(10))",
    "shared memory": "open('/dev/shm/full', 'wb').write(bytes(10))",
    "library": "import os; open(os.__file__, 'ab').write(b'#')",
    "jail": "open('/jail/jail/tester.py', 'ab').write(b'#')",
    "folder": "import os; os.mkdir('/tmp/new')",
    "anonymous file": "import os; os.write(os.memfd_create('full'), bytes(10))",
}
PROCESSES = {
    "fork": "import os; os.fork()",
    "fork bomb": "import os, itertools\nfor _ in itertools.count():\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "shell": "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])",
    "replace itself": "import os; os.execv('/python/bin/python3.11', ['python'])",
    "kill the parent": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "kill everything": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "kill the tester": "import os, signal\nfor pid in range(1, 99): os.kill(pid, signal.SIGKILL)",
    "stop itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "choke the parent": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
    "lift limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "signal by pipe": "import fcntl, os\nfor fd in range(3, 9): fcntl.fcntl(fd, fcntl.F_SETOWN, os.getppid())",
    "trace the parent": "import ctypes, os; assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",
    "new namespaces": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/jail', b'tmpfs', 0, None) == 0",
    "network": "import socket; socket.create_connection(('1.1.1.1', 53), timeout=1)",
    "loopback": "import socket; socket.socket()",
    "name lookup": "import socket; assert socket.getaddrinfo('localhost.example', 80)",
}
SUCCESS_IS_RETURNING = {
    name: f"{AIM}def f(x):\n" + "".join(f"    {line}\n" for line in deed.split("\n")) + "    return SECRET\n"
    for name, deed in (READERS | WRITERS | PROCESSES).items()
}
EATERS = {
    "memory": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "one big block": "x = bytearray(1 << 40)",
    "memory of a list": "x = [0]\nwhile True: x += x",
    "sleep": "import time; time.sleep(3600)",
    "loop": "while True: pass",
    "loop that ignores everything": (
        "import signal, time\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass"
    ),
    "print forever": "while True: print('x' * 65536)",
    "write forever": "import os\nwhile True: os.write(2, b'x' * 65536)",
    "recursion": "import sys; sys.setrecursionlimit(1 << 30)\ndef f(x): return f(x)\nf(1)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "long answer": "def f(x): return 'x' * (1 << 26)",
    "deep answer": "def f(x):\n    y = []\n    for _ in range(100000): y = [y]\n    return y",
    "endless answer": "def f(x):\n    y = []\n    y.append(y)\n    return y",
    "huge number": "def f(x): return 1 << 10**6",
    "not a number": "def f(x): return float('nan')",
}
FORGERS = {
    "exit": "import sys; sys.exit(0)",
    "exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "hard exit": "import os; os._exit(0)",
    "exit hook": "import atexit, os\natexit.register(lambda: os.write(1, b'passed'))\ndef f(x): raise SystemExit",
    "always equal": "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "equal number": "class E(int):\n    def __eq__(self, other): return True\ndef f(x): return E(1)",
    "equal text": "class E(str):\n    def __eq__(self, other): return True\ndef f(x): return E('1')",
    "false class": (
        "class E:\n    __class__ = int\n    def __eq__(self, other): return True\n"
        "    def __hash__(self): return 1\ndef f(x): return E()"
    ),
    "in a list": "class E:\n    def __eq__(self, other): return True\ndef f(x): return [E()]",
    "patched builtins": (
        "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.isinstance = lambda *a: True\n"
        "builtins.compile = lambda *a, **k: compile\ndef f(x): return 1"
    ),
    "patched wire": (
        "import sys\nfor module in list(sys.modules.values()):\n"
        "    for name in ('pack', 'unpack', 'receive', 'run_test'):\n"
        "        if hasattr(module, name): setattr(module, name, lambda *a: True)\ndef f(x): return 1"
    ),
    "verdict on every pipe": (
        "import os, json, struct\n"
        "verdict = json.dumps([{'passed': True, 'got': '1', 'error': ''}] * 2).encode()\n"
        "for fd in range(64):\n    try: os.write(fd, struct.pack('<I', len(verdict)) + verdict)\n"
        "    except OSError: pass\ndef f(x): return 1"
    ),
    "noise on every pipe": (
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'\\xff' * 9999)\n"
        "    except OSError: pass\ndef f(x): return 1"
    ),
    "claims in the answer": (
        "import os, json, struct\nanswer = json.dumps({'value': 1, 'passed': True}).encode()\n"
        "for fd in range(64):\n    try: os.write(fd, struct.pack('<I', len(answer)) + answer)\n    except OSError: pass"
    ),
    "search memory": (
        "import gc, sys\ndef f(x):\n    frame, seen = sys._getframe(), []\n"
        "    while frame: seen += [*frame.f_locals.values(), *frame.f_globals.values()]; frame = frame.f_back\n"
        "    for thing in [*seen, *gc.get_objects()]:\n"
        "        for part in (thing if isinstance(thing, (list, tuple)) else [thing]):\n"
        "            if isinstance(part, str) and 'assert f' in part: return int(part.split()[-1])"
    ),
    "search files": (
        "import os\ndef f(x):\n    for root in ('/jail', '/tmp', '/proc', '/dev', '/var'):\n"
        "        for folder, _, names in os.walk(root):\n            for name in names:\n"
        "                if folder == '/dev': continue\n"
        "                text = open(f'{folder}/{name}', errors='replace').read()\n"
        "                if 'assert f(3)' in text: return int(text.split('assert f(3) == ')[1][:9])"
    ),
    "hostile exception": (
        "class M(type):\n    __name__ = property(lambda cls: 'x' * 10**6 + chr(10))\n"
        "class E(BaseException, metaclass=M): pass\ndef f(x): raise E"
    ),
    "unprintable exception": "class E(Exception):\n    def __str__(self): 1 / 0\ndef f(x): raise E",
    "no program": "",
    "not Python": "def f(x:\n    return",
    "null byte": "def f(x): return '\0'",
    "too long": "#" * 200_000,
    "tests as text": "'''\nassert f(3) == 982451653\n'''",
}
HOSTILE = SUCCESS_IS_RETURNING | EATERS | FORGERS
HONEST = Job("def f(x):\n    return x + 1", ("assert f(3) == 4", "assert f(-1) == 0", "assert f(3) == 5"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, timeout=0.8) as opened:
        yield opened


@pytest.fixture(scope="module")
def patient() -> Iterator[Sandbox]:
    with Sandbox(workers=1, timeout=30.0) as opened:
        yield opened


def test_the_aims_are_what_the_tests_ask_for(patient: Sandbox) -> None:
    """Without this, a hostile program could fail for the wrong reason."""
    outcome = patient.run([Job(f"{AIM}def f(x):\n    return SECRET\n", TESTS)])[0]
    assert outcome.passed == (True, True)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_fails_and_harms_nothing(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.run([Job(HOSTILE[name], TESTS)])[0]
    assert outcome.passed == (False, False)
    assert len(outcome.error) < 300
    assert "\n" not in outcome.error
    after = Job(f"# after {name}\n{HONEST.code}".replace("\n", " ").replace("def", "\ndef", 1), HONEST.tests)
    sandbox._timeout, short = 30.0, sandbox._timeout  # a busy machine is no harm that was done
    assert sandbox.run([after])[0].passed == (True, True, False)
    sandbox._timeout = short
    assert sandbox.n_broken == 0


def test_all_hostile_programs_at_once_leave_honest_ones_alone(sandbox: Sandbox) -> None:
    """Verdicts do not leak between programs that share a worker."""
    mixed, honest = [], []
    for number, code in enumerate(FORGERS.values()):
        honest.append(len(mixed) + 1)
        mixed.append(Job(code + f"\n# {number}", TESTS))
        mixed.append(Job(f"def f(x):\n    return x + {number}", (f"assert f(1) == {1 + number}",)))
    outcomes = sandbox.run(mixed)
    assert [outcomes[index].passed for index in honest] == [(True,)] * len(honest)
    assert not any(any(outcomes[index - 1].passed) for index in honest)


def test_equal_jobs_run_once(patient: Sandbox) -> None:
    job = Job("import random\ndef f(x):\n    return random.random()", ("assert f(1) == 2",))
    told = {outcome.results[0].got for outcome in (*patient.run([job] * 50), *patient.run([job]))}
    assert len(told) == 1
    twin = Job(job.code + "\n", job.tests)
    assert patient.run([twin])[0].results[0].got not in told


def test_every_plain_value_crosses_and_the_last_one_is_told(patient: Sandbox) -> None:
    code = (
        "def f(x, *, y=0):\n    return {'a': (1, 2.5, None), 2: {3}, b'b': [x, y, True, 1j, frozenset({4})]}\n"
        "def g(x):\n    x.append(1)\n    return float('inf')"
    )
    tests = (
        "assert f('é', y=[1]) == {'a': (1, 2.5, None), 2: {3}, b'b': ['é', [1], True, 1j, frozenset({4})]}",
        "assert g([]) > 10**300 and math.isinf(g([2]))",
        "assert sum(f(i)[2].pop() for i in range(3)) == 9",
    )
    outcome = patient.run([Job(code, tests)])[0]
    assert outcome.passed == (True, True, True)
    assert outcome.results[1].got == "inf"


def test_what_went_wrong_is_told(sandbox: Sandbox) -> None:
    code = "def f(x):\n    return {1: 2}[x]\ndef g(x):\n    return f\ndef h(x):\n    while True: pass"
    tests = ("assert f(1) == 3", "assert f(2) == 3", "assert g(1) == 3", "assert k(1) == 3", "assert h(1) == 3")
    results = sandbox.run([Job(code, tests)])[0].results
    assert [result.got for result in results] == ["2", None, None, None, None]
    assert [result.error for result in results] == [
        "",
        "raised KeyError",
        "returned no plain value",
        "raised NameError",
        "timed out",
    ]


def test_the_time_is_for_the_whole_job(sandbox: Sandbox) -> None:
    code = "import time\ndef f(x):\n    time.sleep(0.3)\n    return x"
    outcome = sandbox.run([Job(code, tuple(f"assert f({i}) == {i}" for i in range(6)))])[0]
    assert outcome.passed[0]
    assert not outcome.passed[-1]
    assert outcome.error == "timed out"


def test_a_sandbox_that_is_killed_fails_its_job_only(sandbox: Sandbox) -> None:
    sandbox.run([HONEST])
    os.killpg(sandbox._workers[0]._process.pid, 9)
    jobs = [Job(f"def f(x):\n    return x + {i} + 1000", ("assert f(0) >= 1000",)) for i in range(6)]
    outcomes = sandbox.run(jobs)
    assert sum(outcome.passed == (True,) for outcome in outcomes) >= 5


def test_memory_is_limited_not_just_time(patient: Sandbox) -> None:
    code = "def f(x):\n    return len(bytearray(x << 20))"
    results = patient.run([Job(code, ("assert f(100) == 100 << 20", "assert f(600) == 600 << 20"))])[0].results
    assert [result.error for result in results] == ["", "raised MemoryError"]


def test_values_that_explode_in_a_test_fail_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emosae.scenarios.sandbox._GRACE_S", 0.5)
    code = "def f(x):\n    return 10 ** x"
    with Sandbox(workers=1, timeout=4.0) as opened:
        large, endless = opened.run([Job(code, ("assert [0] * f(12)",)), Job(code, ("assert f(7) ** f(8) == 1",))])
        assert (large.passed, large.error, endless.passed) == ((False,), "test raised MemoryError", (False,))
        assert opened.run([HONEST])[0].passed == (True, True, False)
        assert opened.n_broken == 1


def test_without_bubblewrap_only_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SandboxMissing, match="apt-get install bubblewrap"):
        run_programs([HONEST])
    assert run_programs([HONEST], unsafe=True)[0].passed == (True, True, False)


def test_a_bubblewrap_that_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(broken))
    with pytest.raises(SandboxMissing, match="No permissions to create new namespace"):
        run_programs([HONEST])
