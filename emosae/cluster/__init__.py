"""The same stages as jobs: a sweep becomes arrays of tasks on Slurm, or one task after another on this machine."""

from emosae.cluster.cancel import cancel_tasks
from emosae.cluster.journal import Journal
from emosae.cluster.local import run_tasks_here
from emosae.cluster.logs import read_logs
from emosae.cluster.submission import find_todo, print_scripts, submit_to_slurm
from emosae.cluster.sweep import Task, plan_tasks
from emosae.cluster.watch import TaskState, tabulate, watch_tasks

__all__ = [
    "Journal",
    "Task",
    "TaskState",
    "cancel_tasks",
    "find_todo",
    "plan_tasks",
    "print_scripts",
    "read_logs",
    "run_tasks_here",
    "submit_to_slurm",
    "tabulate",
    "watch_tasks",
]
