"""How every task of a sweep stands: finished if its run directory says so, and else as its last job does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emosae.cluster.jobs import BLOCKED, Run, State, judge_jobs, run_program
from emosae.cluster.journal import Journal
from emosae.cluster.logs import find_last_error
from emosae.cluster.sweep import Task
from emosae.cluster.work import is_finished
from emosae.store import Stage

_STUCK: tuple[State, ...] = ("failed", "blocked", "cancelled")
_HEAD = ("task", "state", "step", "tokens/s", "job", "why")


@dataclass(frozen=True, slots=True)
class TaskState:
    """How a task stands.

    Attributes:
        task: Which.
        state: finished; running; waiting, for other tasks or for a free node; failed; blocked, since a task that it
            needs failed; cancelled; new, if it was never submitted.
        note: Why, in Slurm's words or the job's last ones.
        job: The job that was last submitted for it.
        step: Training steps done, as far as metrics say; shards finished, of a harvest.
        steps: How many there will be, as far as is known.
        tokens_per_second: Of the training, when metrics were last written.
    """

    task: Task
    state: State
    note: str = ""
    job: str = ""
    step: int | None = None
    steps: int | None = None
    tokens_per_second: float | None = None


def watch_tasks(journal: Journal, run: Run = run_program) -> list[TaskState]:
    """Every task of the sweep as it was last submitted, in order."""
    tasks, fingerprints = journal.read_plan()
    judged, latest = judge_tasks(tasks, fingerprints, journal, run), journal.latest()
    states = []
    for task in tasks:
        (state, note), submission = judged[task.name], latest.get(task.name)
        if state == "failed" and submission is not None:
            note = ": ".join(filter(None, [note, find_last_error(journal, submission)]))
        progress = _read_progress(task) if state != "new" else (None, None, None)
        states.append(TaskState(task, state, note, submission.job if submission else "", *progress))
    return states


def judge_tasks(
    tasks: Sequence[Task], fingerprints: Mapping[str, str], journal: Journal, run: Run = run_program
) -> dict[str, tuple[State, str]]:
    """State of each task and why, by its name.

    A task that waits for one that will not finish is blocked, though it may be a while before Slurm says so. A harvest
    has finished, too, when all that is trained off its shards has; these may be deleted then.
    """
    latest, cancelled = journal.latest(), journal.cancelled()
    finished = {task.name for task in tasks if is_finished(task, fingerprints[task.name])}
    finished |= {task.name for task in tasks if task.stage == "harvest" and _readers(task, tasks) <= finished}
    jobs = judge_jobs([latest[task.name] for task in tasks if task.name in latest and task.name not in finished], run)
    judged: dict[str, tuple[State, str]] = {}
    for task in tasks:
        state, note = ("finished", "") if task.name in finished else jobs.get(task.name, ("new", ""))
        if state == "failed" and is_finished(task, fingerprints[task.name]):
            state, note = "finished", ""  # it did while its job was looked up
        elif state == "failed" and latest[task.name].job in cancelled:
            state, note = "cancelled", ""
        elif state == "waiting" and any(judged[need][0] in _STUCK for need in task.needs):
            state, note = BLOCKED
        judged[task.name] = (state, note)
    return judged


def _readers(harvest: Task, tasks: Sequence[Task]) -> set[str]:
    return {task.name for task in tasks if harvest.name in task.needs}


def _read_progress(task: Task) -> tuple[int | None, int | None, float | None]:
    """What of a harvest or a training is done, of how much, and a training's speed; None where it is not known."""
    if task.stage == "harvest":
        manifests = sorted(path.name for path in task.shards.glob(f"shard-{task.part}-*.json"))
        return len(manifests), Stage(task.shards).read_json(manifests[0])["n_shards"] if manifests else None, None
    last = {}
    for record in Stage(task.run).read_lines("metrics") if task.stage == "train" else ():
        last[record.get("series", "")] = record
    if not last:
        return None, None, None
    speeds = [record.get("tokens_per_second") for record in last.values()]
    return max(record["step"] for record in last.values()), task.steps, speeds[-1]


def tabulate(states: Sequence[TaskState]) -> str:
    """A line for each task, and how many stand how."""
    rows = [_HEAD, *(_row(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = Counter(state.state for state in states)
    return "\n".join([*lines, "", ", ".join(f"{count} {state}" for state, count in counts.items())])


def _row(state: TaskState) -> tuple[str, ...]:
    step = "" if state.step is None else f"{state.step}/{state.steps or '?'}"
    speed = "" if state.tokens_per_second is None else f"{state.tokens_per_second:,.0f}"
    return (state.task.name, state.state, step, speed, state.job, state.note)
