"""The commands that start a sandbox's worker: in bubblewrap, or plainly for who insists."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from emosae.errors import UserError
from emosae.scenarios.jail.syscalls import build_outer_filter

_JAIL = Path(__file__).parent / "jail"
_BOOT = "import sys; sys.path[:0] = [{folder!r}]; from jail.tester import main; main()"
_FLAGS = ("-I", "-S", "-B", "-W", "ignore")
_INSTALL = "install it (apt-get install bubblewrap, dnf install bubblewrap)"
OR_INSIST = "or pass --unsafe-no-sandbox to run the model's programs with your own rights"


class SandboxMissing(UserError):
    """There is no sandbox here, so nothing was run."""


def bwrap_command() -> list[str]:
    """The command that starts a worker in bubblewrap. Refused where there is no bubblewrap."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxMissing(f"bubblewrap (bwrap) is missing, so no program was run: {_INSTALL} {OR_INSIST}")
    base, version = Path(sys.base_prefix), sysconfig.get_python_version()
    executable = Path(sys.executable).resolve()
    command = [bwrap, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    command += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/nix/store"):
        command += _mount(Path(folder))
    for name in ("lib", "lib64"):
        command += _mount(base / name, f"/python/{name}")
    command += ["--ro-bind", str(executable), f"/python/bin/python{version}", "--ro-bind", str(_JAIL), "/jail/jail"]
    command += ["--dev-bind", os.devnull, os.devnull, "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    command += ["--remount-ro", "/", "--chdir", "/"]
    return [*command, f"/python/bin/python{version}", *_FLAGS, "-c", _BOOT.format(folder="/jail")]


def _mount(source: Path, target: str | None = None) -> list[str]:
    """A folder of the system, read-only, as it is there: a link, a folder without packages, or not at all.

    Among the packages may be this one, with all tests of its tasks.
    """
    if target is None and source.is_symlink():
        return ["--symlink", str(source.readlink()), str(source)]
    if not source.is_dir():
        return []
    target = target or str(source)
    packages = [path.relative_to(source) for path in source.glob("python3*/*-packages") if path.is_dir()]
    hidden = sorted(f"{target}/{path}" for path in packages)
    empty = [part for folder in hidden for part in ("--tmpfs", folder, "--remount-ro", folder)]
    return ["--ro-bind", str(source.resolve()), target, *empty]


def start_worker(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a worker that is a session of its own, with nothing of the caller's environment and files.

    bubblewrap is handed the filter of the whole sandbox too, which holds for what minds a program as well.
    """
    program, *rest = command
    options, keep = [], ()
    if Path(program).name == "bwrap" and (code := build_outer_filter(platform.machine())):
        keep = (_hold(code),)
        options = ["--seccomp", str(keep[0])]
    try:
        return subprocess.Popen(
            [program, *options, *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            cwd="/",
            start_new_session=True,
            pass_fds=keep,
        )
    finally:
        for fd in keep:
            os.close(fd)


def _hold(code: bytes) -> int:
    """A few bytes, to be read from a file descriptor: a pipe holds 64 kB."""
    read_end, write_end = os.pipe()
    os.write(write_end, code)
    os.close(write_end)
    return read_end


def plain_command() -> list[str]:
    """The command that starts a worker with the caller's own rights. Refused where it could not be contained."""
    if platform.system() not in ("Linux", "Darwin"):
        raise SandboxMissing(f"programs cannot be run on {platform.system()}: use Linux")
    return [sys.executable, *_FLAGS, "-c", _BOOT.format(folder=str(_JAIL.parent))]
