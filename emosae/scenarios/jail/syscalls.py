"""Two filters of system calls: for a program under test a short list and nothing else; for the rest a list refused."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping

_ALLOWED = {  # name: (number on x86_64, number on aarch64)
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "access": (21, None), "sched_yield": (24, 124),
    "mremap": (25, 216), "madvise": (28, 233), "nanosleep": (35, 101), "getpid": (39, 172), "exit": (60, 93),
    "uname": (63, 160), "getcwd": (79, 17), "readlink": (89, None), "gettimeofday": (96, 169),
    "getrusage": (98, 165), "sysinfo": (99, 179), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175),
    "getegid": (108, 177), "getppid": (110, 173), "sigaltstack": (131, 132), "gettid": (186, 178),
    "futex": (202, 98), "getdents64": (217, 61), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "openat": (257, 56), "newfstatat": (262, 79),
    "readlinkat": (267, 78), "faccessat": (269, 48), "getrandom": (318, 278), "statx": (332, 291),
    "faccessat2": (439, 439),
}  # fmt: skip
_REFUSED_TO_ALL = {  # calls that reach into other processes, the kernel, mounts, namespaces or networks
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "unshare": (272, 97), "setns": (308, 268),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "syslog": (103, 116), "quotactl": (179, 60), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "personality": (135, 92), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "socket": (41, 198), "socketpair": (53, 199),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_OTHER_NUMBERS = 0x40000000  # from here on x86_64 counts the same calls anew
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000  # refused calls fail with "operation not permitted"
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2


def build_filter(machine: str) -> bytes:
    """The program's filter as BPF code: of another architecture kill, listed calls allow, anything else refuse."""
    return _assemble(machine, _ALLOWED, listed=_ALLOW, other=_REFUSE)


def build_outer_filter(machine: str) -> bytes:
    """The filter of the whole sandbox as BPF code: of another architecture kill, listed calls refuse, others allow.

    Empty for a machine whose calls are not known: there the program's own filter fails, and nothing is run.
    """
    return _assemble(machine, _REFUSED_TO_ALL, listed=_REFUSE, other=_ALLOW) if machine in _MACHINES else b""


def _assemble(machine: str, calls: Mapping[str, tuple[int, int | None]], *, listed: int, other: int) -> bytes:
    column, architecture = _MACHINES[machine]
    numbers = sorted(number for pair in calls.values() if (number := pair[column]) is not None)
    code = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    code += [(_IF_AT_LEAST, 0, 1, _OTHER_NUMBERS), (_RETURN, 0, 0, _REFUSE)]
    code += [(_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    code += [(_RETURN, 0, 0, other), (_RETURN, 0, 0, listed)]
    return b"".join(struct.pack("HBBI", *line) for line in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def install_filter() -> None:
    """Give up, for good, every system call that is not listed. `OSError` if the kernel will not."""
    if platform.machine() not in _MACHINES or sys.platform != "linux":
        raise OSError(f"no system call filter for {sys.platform} on {platform.machine()}")
    code = build_filter(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    program = _Program(len(code) // 8, code)
    if libc.prctl(_NO_NEW_PRIVS, 1, None, 0, 0) or libc.prctl(
        _SET_SECCOMP, _FILTER_MODE, ctypes.addressof(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refuses a system call filter")


def probe_filter() -> str:
    """Empty if a process can give up system calls here, else why not."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            install_filter()
            with contextlib.suppress(PermissionError):
                os.kill(os.getppid(), 0)
                os._exit(2)
            os._exit(0)
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return ("", "this system has no system call filters", "the system call filter does not hold")[status]
