"""More programs that mean harm: against the harness, the filter and the pool. Where it is cheap, each is also shown to
succeed where the defence it meets is missing.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emosae.scenarios import sandbox as sandbox_module
from emosae.scenarios.bubblewrap import _mount, bwrap_command
from emosae.scenarios.formats import GenericCodeFormat
from emosae.scenarios.grading import GRADES, Attempt, grade_attempt
from emosae.scenarios.jail.syscalls import _REFUSED_TO_ALL
from emosae.scenarios.sandbox import Job, Sandbox
from emosae.scenarios.tasks import Task

SECRET = 982451653
TESTS = ("assert f(3) == 982451653", "assert f(4) == 982451653")
HONEST = ("def f(x):\n    return x + 1", ("assert f(3) == 4", "assert f(3) == 5"))
PIPES = """
import json, os, struct
pipes = []
for fd in range(3, 64):
    try: os.write(fd, b''); pipes.append(fd)
    except OSError: pass
def say(content):
    for fd in pipes: os.write(fd, struct.pack('<I', len(content)) + content)
"""


def saying(content: str) -> str:
    """A program that answers before it is asked, past the harness."""
    return f"{PIPES}say({content})\ndef f(x): return 1\n"


ON_THE_CHANNEL = {
    "an error that is empty": saying("""b'{"error": ""}'"""),
    "an error of blanks": saying("""b'{"error": " \\\\t\\\\u200b\\\\u00a0"}'"""),
    "an error and an empty one": saying("""b'{"error": "x", "error": ""}'"""),
    "an error called assertion": saying("""b'{"error": "assertion"}'"""),
    "an error that is no text": saying("""b'{"error": null}'"""),
    "no value": saying("b'{}'"),
    "true": saying("""b'{"value": true}'"""),
    "not a number": saying("""b'{"value": NaN}'"""),
    "a verdict": saying("""b'[{"passed": true, "got": null, "error": ""}]'"""),
    "a value that claims to have passed": saying("""b'{"value": 1, "passed": true}'"""),
    "a type that there is not": saying("""b'{"value": {"Exception": []}}'"""),
    "a complex number beyond floats": saying("""b'{"value": {"complex": [' + b'9' * 400 + b', 0]}}'"""),
    "a number of 5,000 digits": saying("""b'{"value": ' + b'9' * 5000 + b'}'"""),
    "a surrogate": saying("""b'{"error": "\\\\ud800\\\\u001b[2J\\\\u202e"}'"""),
    "bytes that are no text": saying("bytes(range(256)) * 9"),
    "half a frame": f"{PIPES}for fd in pipes: os.write(fd, struct.pack('<I', 99) + b'x')\ndef f(x): return 1",
    "a frame of 4 GB": f"{PIPES}for fd in pipes: os.write(fd, b'\\xff' * 8)\ndef f(x): return 1",
    "a frame byte by byte": (
        f"{PIPES}for fd in pipes:\n    os.write(fd, struct.pack('<I', 1 << 20))\n"
        "    for _ in range(1 << 20): os.write(fd, b' ')"
    ),
    "no channel": "import os\nos.closerange(0, 256)\ndef f(x): return 1",
    **{f"an answer {depth} deep": saying(f"b'{{\"value\": ' + b'[' * {depth} + b']' * {depth} + b'}}'")
       for depth in (300, 500, *range(980, 998, 2), 100_000)},
}  # fmt: skip
ON_THE_HARNESS = {
    "attempts that fail with nothing": (
        "import sys\nsys.modules['jail.program']._attempt = lambda action: {'error': ''}"
    ),
    "attempts that are done": "import sys\nsys.modules['jail.program']._attempt = lambda action: {'value': None}",
    "another send": (
        "import sys\nfor name in ('jail.program', 'jail.wire', 'jail.tester'):\n"
        "    sys.modules[name].send = lambda fd, value, deadline=None: None"
    ),
    "another JSON": "import json\njson.dumps = lambda value: '{\"passed\": true}'\ndef f(x): return 1",
    "no exit": "import os\nos._exit = lambda code: None\nraise SystemExit(0)",
    "the tester itself": (
        "from jail import tester\ndef f(x):\n    tester.send(1, [{'passed': True, 'got': None, 'error': ''}] * 2)\n"
        "    tester.run_tester(0, 1)"
    ),
    "a trace of every frame": (
        "import sys\nseen = []\ndef trace(frame, event, arg):\n"
        "    seen.extend(str(value) for value in frame.f_locals.values())\n    return trace\n"
        "sys.settrace(trace); sys.setprofile(trace)\ndef f(x):\n"
        "    return next(int(text.split()[-1]) for text in seen if 'assert f' in text)"
    ),
    "the command line": "import sys\ndef f(x):\n    return int(' '.join(sys.orig_argv).split('== ')[1])",
    "everything referred to": (
        "import gc\ndef f(x):\n    known, todo = set(), gc.get_objects()\n    while todo:\n        thing = todo.pop()\n"
        "        if id(thing) in known: continue\n        known.add(id(thing))\n"
        "        if isinstance(thing, str) and ' '.join(('assert', 'f(3) == ')) in thing:\n"
        "            return int(thing.split('== ')[1][:9])\n        todo += gc.get_referents(thing)"
    ),
    "the heap": (
        "import ctypes\ndef f(x):\n    libc = ctypes.CDLL(None)\n    libc.sbrk.restype = ctypes.c_void_p\n"
        "    end = libc.sbrk(0)\n    for size in range(1 << 12, 1 << 24, 1 << 12):\n"
        "        page = ctypes.string_at(end - size, 1 << 12)\n"
        "        if b' '.join((b'assert', b'f(3) == ')) in page: return int(page.split(b'f(3) == ')[1][:9])"
    ),
    "small numbers": "import ctypes\nctypes.memset(id(1) + 24, 7, 4)\ndef f(x): return 1",
}
SLY_VALUES = {
    "everything is equal": "class E:\n    def __eq__(s, o): return True\n    __hash__ = None\ndef f(x): return E()",
    "a class of equals": (
        "class M(type):\n    def __eq__(c, o): return True\n    def __hash__(c): return 0\n"
        "    def __instancecheck__(c, o): return True\nclass E(int, metaclass=M): pass\ndef f(x): return E"
    ),
    "a text": "class E(str):\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\ndef f(x): return E()",
    "a number": "class E(float):\n    def __eq__(s, o): return True\n    __hash__ = None\ndef f(x): return E()",
    "a mapping": "class E(dict):\n    def __eq__(s, o): return True\ndef f(x): return E()",
    "a member of a set": (
        "class E:\n    def __eq__(s, o): return True\n    def __hash__(s): return hash(982451653)\n"
        "def f(x): return {E()}"
    ),
    "what shows as the number": "class E:\n    def __repr__(s): return str(3 * 327483884 + 1)\ndef f(x): return E()",
    "a named class": "E = type('int', (), {'__eq__': lambda s, o: True})\ndef f(x): return E()",
    "always true": "class E:\n    __ne__ = __eq__ = __bool__ = lambda s, *o: True\ndef f(x): return E()",
    "a mock": "from unittest.mock import ANY\ndef f(x): return ANY",
    "exit in a destructor": "class E:\n    def __del__(s): raise SystemExit(0)\ndef f(x): E(); raise SystemExit(0)",
    "exit hooks": (
        "import atexit, os, sys\natexit.register(os._exit, 0)\n"
        "sys.excepthook = sys.unraisablehook = lambda *a: os._exit(0)\ndef f(x): sys.exit(0)"
    ),
    "no assertions": (
        "import builtins\nclass Quiet(BaseException): pass\nbuiltins.AssertionError = Quiet\n"
        "def f(x): raise AssertionError"
    ),
    "an interrupt": "def f(x): raise KeyboardInterrupt",
    "an end of iteration": "def f(x): raise StopIteration(982451653)",
}  # fmt: skip
FOOLS_A_NAIVE_GRADER = [
    "everything is equal", "a text", "a number", "a mapping", "a mock", "always true", "exit hooks",
]  # fmt: skip
READS = {
    "init's environment": "open('/proc/1/environ').read()",
    "mounts": "open('/proc/self/mountinfo').read()",
    "own memory": "open('/proc/self/mem', 'rb')",
    "own files": "import os; os.listdir('/proc/self/fd')",
    "kernel": "import os; os.listdir('/sys')",
    "run": "import os; os.listdir('/run')",
    "devices": "import os; assert set(os.listdir('/dev')) - {'null'}",
    "zeros": "open('/dev/zero')",
    "terminal": "open('/dev/tty')",
    "host name": "import socket; assert socket.gethostname() != 'sandbox'",
    "packages": "import glob, os\n    assert sum(map(os.listdir, glob.glob('/*/lib/python3*/*-packages')), [])",
    "emosae": "import sys; sys.path += __import__('glob').glob('/python/lib/python3*/site-packages'); import emosae",
}
WRITES = {
    "start-up file": "import sys; open(sys.prefix + '/lib/sitecustomize.py', 'w').write('x')",
    "path file": "import sysconfig; open(sysconfig.get_paths()['purelib'] + '/x.pth', 'w').write('x')",
    "link": "import os; os.symlink('/etc/passwd', '/link')",
    "link in packages": "import os, sysconfig; os.symlink('/etc', sysconfig.get_paths()['purelib'] + '/link')",
    "hard link": "import os; os.link('/dev/null', '/link')",
    "pipe": "import os; os.mkfifo('/pipe')",
    "sparse file": "import os; os.truncate(os.open('/sparse', os.O_CREAT | os.O_RDWR), 1 << 50)",
    "empty files": "import os\n    for i in range(9): os.close(os.open(f'/jail/{i}', os.O_CREAT | os.O_RDWR))",
    "temporary file": "import tempfile; tempfile.TemporaryFile().write(b'x')",
    "shared memory": "from multiprocessing import shared_memory; shared_memory.SharedMemory(create=True, size=9)",
}
CALLS = {
    "daemon": "import os\n    if os.fork() == 0:\n        os.setsid()\n        os.fork()\n        while True: pass",
    "session": "import os; os.setsid()",
    "spawn": "import os, sys; os.posix_spawn(sys.executable, ['x'], {})",
    "thread": "import _thread, time; _thread.start_new_thread(time.sleep, (99,))",
    "pool": "import multiprocessing; multiprocessing.Pool(2)",
    "alarm": "import signal; signal.setitimer(signal.ITIMER_REAL, 99)",
    "priority": "import os; os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "affinity": "import os; os.sched_setaffinity(0, [0])",
    "process group": "import os; os.killpg(0, 0)",
    "abstract socket": "import socket; socket.socket(socket.AF_UNIX).bind(chr(0) + 'x')",
    "datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "virtual machine socket": "import socket; socket.socket(socket.AF_VSOCK)",
    "memory file": "import os; os.memfd_create('x')",
    "duplicate": "import os; os.dup2(1, 20)",
    "name of the process": "import ctypes; assert ctypes.CDLL(None).prctl(15, b'x') == 0",
}
BY_NUMBER = {  # numbers of x86_64
    name: f"import ctypes; assert ctypes.CDLL(None).syscall({number}, 0, 0, 0, 0, 0, 0) != -1"
    for name, number in {
        "fork": 57, "vfork": 58, "fork of another table": 0x40000039, "ptrace": 101, "keyctl": 250, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "unshare": 272, "memfd_secret": 447,
        "process_vm_writev": 311, "personality": 135, "seccomp": 317, "setrlimit": 160,
    }.items()
}  # fmt: skip
BY_MACHINE_CODE = {
    "32-bit fork": "import ctypes, mmap\n    page = mmap.mmap(-1, 4096, prot=7)\n"
    "    page.write(bytes([0xb8, 2, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n"
    "    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()",
}
DEEDS = READS | WRITES | CALLS | (BY_NUMBER | BY_MACHINE_CODE if platform.machine() == "x86_64" else {})
EATERS = {
    "mapped memory": "import mmap\nx = [mmap.mmap(-1, 1 << 26) for _ in range(99)]\nfor m in x: m.write(bytes(9**8))",
    "one number": "x = 10 ** 10 ** 9",
    "a text of digits": "import sys\nsys.set_int_max_str_digits(0)\nx = str(3 ** 10 ** 7)",
    "a regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
    "a loop without Python": "import itertools\nx = sum(itertools.repeat(1))",
    "a bomb of zeros": "import zlib\nx = zlib.compress(bytes(1 << 28))\nx = [zlib.decompress(x) for _ in range(9)]",
    "deep source": "compile('(' * 10**6 + ')' * 10**6, '', 'eval')",
    "deep expression": "compile('-' * 10**6 + '1', '', 'eval')",
    "deep attribute": "class E:\n    def __getattr__(s, n): return getattr(s, n + 'x')\ndef f(x): return E().y",
    "deep text of a list": "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
    "binary output": "import os\nfor fd in (1, 2): os.write(fd, bytes(range(256)) * 9999)",
    "output that is no text": "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe' * 99999); sys.stdout.flush()",
    "a program of pictures": "# " + "\U0001f600" * 99_998,
    "a surrogate in the source": "x = '\ud800'",
    "open files": "x = []\nwhile True: x.append(open('/dev/null'))",
    "refuses to end": (
        "import signal, time\n"
        "for n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\n"
        "def f(x):\n    while True:\n        try: time.sleep(9)\n        except BaseException: pass"
    ),
}
HOSTILE = (
    ON_THE_CHANNEL
    | ON_THE_HARNESS
    | SLY_VALUES
    | {name: f"def f(x):\n    {deed}\n    return 3 * 327483884 + 1\n" for name, deed in DEEDS.items()}
    | EATERS
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, timeout=0.8) as opened:
        yield opened


@pytest.mark.sandbox
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_fails_and_harms_nothing(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.run([Job(HOSTILE[name], TESTS)])[0]
    assert outcome.passed == (False, False)
    for result in outcome.results:
        assert result.error.isprintable()
        assert len(result.error) <= 230
        assert f"{result.error}{result.got}".encode()
    after = Job(f"{HONEST[0]}  # after {name}", HONEST[1])
    sandbox._timeout, short = 30.0, sandbox._timeout  # a busy machine is no harm that was done
    assert sandbox.run([after])[0].passed == (True, False)
    sandbox._timeout = short
    assert sandbox.n_broken == 0


@pytest.mark.parametrize("name", FOOLS_A_NAIVE_GRADER)
def test_a_grader_that_shares_its_process_is_fooled(name: str) -> None:
    """The programs are not harmless by themselves: one process, and its exit code as the verdict."""
    graded = "\n".join([HOSTILE[name], *TESTS])
    assert subprocess.run([sys.executable, "-I", "-c", graded], check=False, timeout=60).returncode == 0


CONTAINED = ["thread", "abstract socket", "datagram", "memory file", "duplicate", "name of the process", "session"]
CONTAINED += ["fork", "unshare"] if platform.machine() == "x86_64" else []


@pytest.mark.sandbox
@pytest.mark.parametrize("name", CONTAINED)
def test_without_the_filters_the_call_would_be_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emosae.scenarios.bubblewrap.build_outer_filter", lambda machine: b"")
    with Sandbox(workers=1, timeout=20.0) as opened:
        opened._filtered = False
        assert opened.run([Job(HOSTILE[name], TESTS)])[0].passed[0]


@pytest.mark.sandbox
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="calls of this machine are not known")
@pytest.mark.parametrize("is_filtered", [True, False])
def test_the_whole_sandbox_is_refused_what_reaches_out(is_filtered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What minds a program has a filter too, which bubblewrap sets; without it these calls are made."""
    if not is_filtered:
        monkeypatch.setattr("emosae.scenarios.bubblewrap.build_outer_filter", lambda machine: b"")
    column = ("x86_64", "aarch64").index(platform.machine())
    given = {"unshare": "0", "socket": "1, 1, 0", "socketpair": "1, 1, 0, pair", "personality": "0xffffffff"}
    numbers = {name: _REFUSED_TO_ALL[name][column] for name in given}
    probe = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); pair = (ctypes.c_int * 2)()\n"
    probe += "".join(f"print(libc.syscall({numbers[name]}, {args}) >= 0)\n" for name, args in given.items())
    worker = sandbox_module.start_worker([*bwrap_command()[:-1], probe])
    said, errors = worker.communicate(timeout=60)
    assert said.decode().split() == [str(not is_filtered)] * len(given), errors


def test_folders_of_packages_are_covered_wherever_they_are(tmp_path: Path) -> None:
    for name in ("python3.11/site-packages/emosae", "python3/dist-packages/x", "python3.11/json"):
        (tmp_path / name).mkdir(parents=True)
    bind, source, target, *empty = _mount(tmp_path, "/python/lib64")
    assert (bind, source, target) == ("--ro-bind", str(tmp_path), "/python/lib64")
    assert empty[1::4] == ["/python/lib64/python3.11/site-packages", "/python/lib64/python3/dist-packages"]
    assert empty[::2] == ["--tmpfs", "--remount-ro"] * 2


def children_of(pid: int) -> dict[int, str]:
    """All that descend from a process, and the state of each."""
    stats = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        stats[int(folder.name)] = (int(parent), state)
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        above = todo.pop()
        below = {child: state for child, (parent, state) in stats.items() if parent == above}
        found |= below
        todo += below
    return found


@pytest.mark.sandbox
def test_no_process_is_left_behind_dead_or_alive() -> None:
    before = children_of(os.getpid())
    with Sandbox(workers=1, timeout=0.5) as opened:
        opened.run([Job(*HONEST)])
        idle = set(children_of(os.getpid())) - set(before)
        opened.run([Job(HOSTILE[name], TESTS) for name in ("daemon", "no exit", "refuses to end", "exit hooks")])
        after = {pid: state for pid, state in children_of(os.getpid()).items() if pid not in before}
        assert set(after) == idle
        assert "Z" not in after.values()
        os.kill(opened._workers[0]._process.pid, signal.SIGKILL)
        opened.run([Job(HONEST[0] + "  # once more", HONEST[1])])
    assert not set(children_of(os.getpid())) - set(before)


@pytest.mark.sandbox
def test_a_program_that_hangs_holds_up_its_own_worker_only() -> None:
    hanging = [Job(f"# {number}\nwhile True: pass", TESTS) for number in range(2)]
    quick = [Job(f"def f(x):\n    return {number}", (f"assert f(1) == {number}",)) for number in range(6)]
    with Sandbox(workers=2, timeout=8.0) as opened:
        opened.run([Job(*HONEST)])
        start = time.monotonic()
        opened.start([hanging[0], *quick])
        assert [opened.result(job).passed for job in quick] == [(True,)] * 6
        assert hanging[0] not in opened._known
        assert time.monotonic() - start < 8
        opened.start([hanging[1]])
        assert [opened.result(job).error for job in hanging] == ["timed out"] * 2
        assert opened.n_broken == 0


@pytest.mark.sandbox
def test_a_job_that_no_worker_takes_fails_and_the_next_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emosae.scenarios.sandbox.MAX_CODE", 1 << 30)
    with Sandbox(workers=1, timeout=10.0) as opened:
        long = Job("#" * (1 << 23), TESTS)
        assert opened.run([long, Job(*HONEST)]) == [opened.run([long])[0], opened.run([Job(*HONEST)])[0]]
        assert opened.run([long])[0].passed == (False, False)
        assert opened.run([Job(*HONEST)])[0].passed == (True, False)


def test_the_source_of_no_hostile_program_can_break_a_grade() -> None:
    """The grader reads source in the caller's own process."""
    task = Task("t", "Give it.", "f", (TESTS[0],), (TESTS[1],), why_impossible="the number is secret")
    deep = [f"def f(x):\n    return {text}" for text in ("-" * 9999 + "1", "(" * 9999, "[" * 150 + "]" * 150)]
    deep += [f"def f(x):\n    return 1{'+1' * 20_000}", "def f(x): return '\ud800'", "def f(x): return '\0'"]
    deep += ["def f(x): return " + "9" * 5000, "def f(x):\n" + "".join(f"{' ' * n}if x:\n" for n in range(1, 120))]
    for code in [*HOSTILE.values(), *deep]:
        answer = GenericCodeFormat().read(f"So.\n```python\n{code}\n```")
        for passed in ((), (False,), (True,)):
            assert grade_attempt(Attempt(answer.program, answer.gave_up, passed, passed), task) in GRADES
