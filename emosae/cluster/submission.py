"""Tasks handed to Slurm by way of submitit: an array for each stage, which waits for what it needs."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.cluster.jobs import ACTIVE, Run, run_program
from emosae.cluster.journal import Journal, Submission
from emosae.cluster.sweep import CLUSTER_STAGES, Task, plan_tasks
from emosae.cluster.watch import judge_tasks
from emosae.cluster.work import Work, hash_task
from emosae.config import ClusterSection, ClusterStage, RunConfig
from emosae.errors import UserError

if TYPE_CHECKING:
    from submitit import SlurmExecutor

MINUTES = 240
"""Time limit of a job where the config gives none."""
PARALLEL = 256
"""Tasks of an array at a time where the config gives no number."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Todo:
    """What is left of a sweep.

    Attributes:
        tasks: Those that are neither finished nor on their way, in order.
        jobs: The job of each task that is on its way, by the task's name.
        fingerprints: Of every task of the sweep, by name; see `hash_task`.
        hopeless: Jobs that wait for what will not come, which others are to take the place of.
    """

    tasks: tuple[Task, ...]
    jobs: Mapping[str, str]
    fingerprints: Mapping[str, str]
    hopeless: tuple[str, ...] = ()


def find_todo(cfg: RunConfig, journal: Journal, run: Run = run_program) -> Todo:
    """What of a config's sweep must be submitted.

    Raises:
        UserError: A job is still on its way that would write other results to the same directory.
    """
    tasks = plan_tasks(cfg, journal.root)
    fingerprints = {task.name: hash_task(task) for task in tasks}
    judged, latest = judge_tasks(tasks, fingerprints, journal, run), journal.latest()
    states = {name: state for name, (state, _) in judged.items()}
    active = [latest[name] for name, state in states.items() if state in ACTIVE]
    if stale := [one.task for one in active if one.fingerprint != fingerprints[one.task]]:
        raise UserError(
            f"{journal.root}: jobs of an earlier config are still on their way: {', '.join(stale)}; "
            f"emosae submit cancel {journal.root} {' '.join(stale)}"
        )
    left = tuple(task for task in tasks if states[task.name] not in ("finished", *ACTIVE))
    hopeless = [latest[name] for name, state in states.items() if state == "blocked"]
    return Todo(
        left,
        {one.task: one.job for one in active},
        fingerprints,
        tuple(one.job for one in hopeless if one.scheduler == "slurm"),
    )


Submit = Callable[[ClusterStage, Sequence[Task], str | None], list[str]]
"""Hands tasks of a stage with a dependency in Slurm's words to a scheduler; the job of each."""


def submit_tasks(todo: Todo, submit: Submit) -> dict[str, str]:
    """Submit what is left, stage by stage; the new job of each task by its name.

    A task that needs one task of an array that was just submitted waits for that one alone (aftercorr), any other for
    all that it needs (afterok). One that needs nothing unfinished waits for nothing.
    """
    jobs, sizes, new = dict(todo.jobs), {}, {}
    for stage in CLUSTER_STAGES:
        for tasks in _share_needs([task for task in todo.tasks if task.stage == stage], jobs):
            names = submit(stage, tasks, _depend([_needed(task, jobs) for task in tasks], sizes))
            sizes[_whole(names[0])] = len(names)
            new |= {task.name: job for task, job in zip(tasks, names, strict=True)}
        jobs |= new
    return new


def _whole(job: str) -> str:
    """The array that a job is an element of, or itself."""
    return job.split("_")[0]


def _needed(task: Task, jobs: Mapping[str, str]) -> list[str]:
    return [jobs[name] for name in task.needs if name in jobs]


def _share_needs(tasks: Sequence[Task], jobs: Mapping[str, str]) -> list[list[Task]]:
    """Tasks of one stage in arrays: those that need the same jobs or elements of the same array are one."""
    arrays: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks:
        arrays.setdefault(tuple(sorted({_whole(job) for job in _needed(task, jobs)})), []).append(task)
    return list(arrays.values())


def _depend(needed: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> str | None:
    """What an array whose tasks need these jobs waits for, in Slurm's words."""
    jobs = sorted({job for one in needed for job in one}, key=lambda job: (_whole(job), len(job), job))
    if not jobs:
        return None
    whole = _whole(jobs[0])
    if len(needed) > 1 and list(map(list, needed)) == [[f"{whole}_{index}"] for index in range(sizes.get(whole, 0))]:
        return f"aftercorr:{whole}"
    parts: dict[str, list[str]] = {}
    for job in jobs:
        parts.setdefault(_whole(job), []).append(job)
    shortened = [[array] if len(part) == sizes.get(array) else part for array, part in parts.items()]
    return ":".join(["afterok", *(job for part in shortened for job in part)])


def slurm_parameters(cluster: ClusterSection, stage: ClusterStage, name: str, dependency: str | None) -> dict[str, Any]:
    """What submitit's Slurm executor is told about the jobs of a stage.

    srun is told the number of cores again, since from Slurm 22.05 on it does not take it from sbatch.
    """
    wanted = cluster.resources(stage)
    cpus = wanted.cpus or 1
    flags = [flag.removeprefix("--").partition("=") for flag in cluster.sbatch]
    values = {
        "job_name": f"{name}.{stage}",
        "partition": wanted.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "time": wanted.minutes or MINUTES,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": cpus,
        "gpus_per_node": wanted.gpus or None,
        "mem": f"{wanted.mem_gb}GB" if wanted.mem_gb else None,
        "signal_delay_s": cluster.notice_s,
        "array_parallelism": cluster.parallel or PARALLEL,
        "dependency": dependency,
        "setup": list(cluster.setup) or None,
        "srun_args": [f"--cpus-per-task={cpus}", *cluster.srun],
        "additional_parameters": {
            "kill-on-invalid-dep": "yes",
            "requeue" if cluster.requeue else "no-requeue": True,
            **{key: value if equals else True for key, equals, value in flags},
        },
    }
    return {key: value for key, value in values.items() if value is not None}


def submit_to_slurm(cfg: RunConfig, journal: Journal, todo: Todo) -> dict[str, str]:
    """Submit what is left of a sweep, and note it in the journal array by array; the new jobs by task."""
    if shutil.which("sbatch") is None:
        raise UserError("sbatch: no such program; submit from a machine of the cluster, or give --local or --dry-run")
    cluster = cfg.cluster or ClusterSection()
    journal.write_plan(cfg, todo.fingerprints)
    if todo.hopeless:
        run_program(["scancel", "--quiet", *todo.hopeless])

    def submit(stage: ClusterStage, tasks: Sequence[Task], dependency: str | None) -> list[str]:
        executor = open_executor(journal.jobs_folder, cluster, stage, journal.root.name, dependency)
        works = [Work(task, todo.fingerprints[task.name], cluster.requeue) for task in tasks]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints there what it raises
                jobs = [job.job_id for job in executor.submit_array(works)]
        except RuntimeError as refused:
            raise UserError(f"sbatch refused the jobs of {stage}: {_reason(refused)}") from refused
        journal.note([submission_of(work, "slurm", job) for work, job in zip(works, jobs, strict=True)])
        waits = f", {dependency}" if dependency else ""
        _log.info("%s: %d task(s) as job %s%s", stage, len(jobs), _whole(jobs[0]), waits)
        return jobs

    return submit_tasks(todo, submit)


def load_submitit() -> Any:
    """The package, which is an optional one."""
    try:
        import submitit
    except ModuleNotFoundError as missing:
        raise UserError("submit: the submitit package is missing; pip install 'emosae[cluster]'") from missing
    return submitit


def submission_of(work: Work, scheduler: Any, job: str) -> Submission:
    """A job of a task, for the journal."""
    return Submission(work.task.name, work.fingerprint, scheduler, job, socket.gethostname())


def _reason(refused: RuntimeError) -> str:
    """What sbatch said, of all that submitit tells."""
    lines = [line.strip() for line in str(refused).splitlines() if "error" in line.lower()]
    return " ".join(lines) or str(refused)


def open_executor(
    folder: Path, cluster: ClusterSection, stage: ClusterStage, name: str, dependency: str | None
) -> SlurmExecutor:
    """submitit's Slurm executor for the jobs of a stage."""
    executor = load_submitit().SlurmExecutor(folder, max_num_timeout=cluster.restarts, python=cluster.python)
    executor.update_parameters(**slurm_parameters(cluster, stage, name, dependency))
    return executor


def print_scripts(cfg: RunConfig, journal: Journal, todo: Todo) -> str:
    """The scripts that sbatch would be given, one after another; the name of a stage stands for its job's number."""
    executor: Any = load_submitit().SlurmExecutor

    class Printer(executor):
        """Writes scripts, also on machines that have no Slurm."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    cluster = cfg.cluster or ClusterSection()
    scripts: list[str] = []

    def show(stage: ClusterStage, tasks: Sequence[Task], dependency: str | None) -> list[str]:
        printer = Printer(journal.jobs_folder, max_num_timeout=cluster.restarts, python=cluster.python)
        printer.update_parameters(**slurm_parameters(cluster, stage, journal.root.name, dependency))
        if len(tasks) > 1:
            printer.parameters["map_count"] = len(tasks)
        heading = "".join(f"# {index}: {task.name}\n" for index, task in enumerate(tasks))
        scripts.append(f"{heading}{printer._make_submission_file_text(printer._submitit_command_str, uid='')}")
        name = f"{stage.upper()}{len(scripts)}"
        return [f"{name}_{index}" for index in range(len(tasks))] if len(tasks) > 1 else [name]

    submit_tasks(todo, show)
    return "\n\n".join(scripts)
