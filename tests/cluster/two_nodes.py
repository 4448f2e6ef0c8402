"""A real Slurm of two nodes on this machine, its daemons children of the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from emosae.cluster import Journal, TaskState, watch_tasks

CONF = """
ClusterName=emosae
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
# cred_expire is how long a requeued job waits before it starts again; 120 seconds if not said
AuthInfo=socket={base}/munge.sock,cred_expire=5
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool.%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.%n.log
PlugStackConfig=/dev/null
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
ReturnToService=2
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {cores}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {cores}
PartitionName=high Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=5 PreemptMode=OFF
PartitionName=low Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
"""
CORES = "CPUs=2 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN"


class Slurm:
    """The daemons, and what tests ask of them."""

    def __init__(self, base: Path, settings: Sequence[str] = ()) -> None:
        self.base = base
        self._settings = settings
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything, and return when both nodes are idle."""
        (self.base / "state").mkdir()
        (self.base / "key").write_bytes(secrets.token_bytes(128))
        (self.base / "key").chmod(0o400)
        conf = self.base / "slurm.conf"
        host, user = socket.gethostname().split(".")[0], getpass.getuser()
        filled = CONF.format(host=host, user=user, base=self.base, ports=free_ports(3), cores=CORES)
        conf.write_text("\n".join([filled, *self._settings, ""]))
        release = int(self.run("slurmd", "-V").split()[1].split(".")[0])
        (self.base / "cgroup.conf").write_text(f"CgroupPlugin={'cgroup/v1' if release < 23 else 'disabled'}\n")
        files = {"key-file": "key", "socket": "munge.sock", "pid-file": "munge.pid", "log-file": "munge.log"}
        flags = [f"--{flag}={self.base / name}" for flag, name in {**files, "seed-file": "munge.seed"}.items()]
        self._spawn("munged", "--foreground", *flags)
        self._wait("munge's socket", (self.base / "munge.sock").exists)
        self._spawn("slurmctld", "-D", "-i", "-f", str(conf))
        for node in ("n1", "n2"):
            self._spawn("slurmd", "-D", "-f", str(conf), "-N", node)
        self._wait("idle nodes", self.is_idle)

    def is_idle(self) -> bool:
        """Whether no node has anything to do."""
        return set(self.run("sinfo", "-h", "-N", "-p", "high", "-o", "%t", check=False).split()) == {"idle"}

    def run(self, *command: str, check: bool = True) -> str:
        """What a program of Slurm's prints."""
        answer = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
        assert answer.returncode == 0 or not check, answer.stderr
        return answer.stdout

    def environment(self) -> dict[str, str]:
        """The environment in which this cluster is Slurm."""
        return {**os.environ, "SLURM_CONF": str(self.base / "slurm.conf")}

    def clear(self) -> None:
        """Cancel all jobs, and wait until they have gone."""
        self.run("scancel", "--full", f"--user={getpass.getuser()}", check=False)
        self._wait("no job", lambda: not self.run("squeue", "-h", "-t", "R,PD,CG", check=False).strip())
        self._wait("idle nodes", self.is_idle)

    def stop(self) -> None:
        """Jobs first, or their helpers would stay behind; then the daemons."""
        with contextlib.suppress(AssertionError):
            self.clear()
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _spawn(self, *command: str) -> None:
        """Start a daemon, which goes when the tests go, should they be killed."""
        mortal = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with (self.base / f"{command[0]}.out").open("ab") as log:
            process = subprocess.Popen(
                [*mortal, *command], stdout=log, stderr=log, env=self.environment(), start_new_session=True
            )
        self._processes.append(process)

    def _wait(self, what: str, is_there: Callable[[], bool]) -> None:
        wait_until(is_there, what, seconds=120, every=0.05)


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = 600, every: float = 0.25) -> None:
    """Ask again and again; fail the test after some time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(every)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def run_slurm(*settings: str) -> Iterator[Slurm]:
    """A cluster of its own. It lies in a folder that everybody may enter, or munge would not start."""
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{path}{os.pathsep}/usr/sbin"
    base = Path(tempfile.mkdtemp(prefix="emosae-slurm-"))
    base.chmod(0o755)
    slurm = Slurm(base, settings)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(base, ignore_errors=True)
        os.environ["PATH"] = path


def look(out: Path) -> dict[str, TaskState]:
    """How the tasks of a sweep stand, by name."""
    return {state.task.name: state for state in watch_tasks(Journal.existing(out))}


def wait_for(out: Path, task: str, state: str) -> None:
    """Until a task stands so; it may not fail meanwhile."""

    def is_so() -> bool:
        seen = look(out)[task]
        assert seen.state not in {"failed", "blocked"} - {state}, seen
        return seen.state == state

    wait_until(is_so, f"{task} to be {state}")


def states(out: Path) -> dict[str, Any]:
    """The state of each task, by name."""
    return {name: state.state for name, state in look(out).items()}


def find_task_process(job: str) -> int | None:
    """The Python process that works on a job of Slurm's; None before it has started."""
    array, _, index = job.partition("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={index}"} if index else {f"SLURM_JOB_ID={array}"}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = (folder / "cmdline").read_text().split("\0")
            environment = (folder / "environ").read_text().split("\0")
            if program[1:4] == ["-u", "-m", "submitit.core._submit"] and wanted <= set(environment):
                return int(folder.name)
    return None
