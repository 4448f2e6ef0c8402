"""The section of a config that says how jobs are asked for on a cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from emosae.config_saes import Count, Section

ClusterStage = Literal["harvest", "train", "rank", "atlas"]
"""The stages of a sweep, in order; each is an array of jobs."""


class Resources(Section):
    """What the jobs of one stage ask for; what is not given here is as [cluster] says."""

    partition: str | None = Field(default=None, description="Slurm partition.")
    minutes: Count | None = Field(
        default=None,
        description="Time limit, four hours if none; a task that reaches it saves and goes on in the queue.",
    )
    cpus: Count | None = Field(default=None, description="Processor cores; one if none.")
    gpus: int | None = Field(default=None, ge=0, description="GPUs; no request if none.")
    mem_gb: Count | None = Field(default=None, description="Memory; the partition's own limit if none.")


class ClusterSection(Resources):
    """How `emosae submit` asks Slurm for jobs. A stage's own table, such as [cluster.train], goes before."""

    account: str | None = Field(default=None, description="Who pays.")
    qos: str | None = Field(default=None, description="Quality of service.")
    parallel: Count | None = Field(
        default=None, description="Tasks of a stage at a time; if none, 256 on Slurm and 1 with --local."
    )
    requeue: bool = Field(
        default=True, description="Whether a task that Slurm preempts or stops in time goes on later."
    )
    restarts: Count = Field(default=100, description="How often a task may reach its time limit.")
    notice_s: Count = Field(default=120, description="Seconds before the time limit at which a task is told to save.")
    setup: tuple[str, ...] = Field(default=(), description="Shell lines before each task: module load cuda, ...")
    srun: tuple[str, ...] = Field(default=(), description="Further flags of srun: --container-image=FILE, ...")
    sbatch: tuple[str, ...] = Field(
        default=(), description="Further flags of sbatch: --exclusive, --constraint=a100, ..."
    )
    python: str | None = Field(
        default=None,
        description="Command that runs Python in a job (apptainer exec FILE python); if none, this Python.",
    )
    harvest: Resources = Resources()
    train: Resources = Resources()
    rank: Resources = Resources()
    atlas: Resources = Resources()

    def resources(self, stage: ClusterStage) -> Resources:
        """What a stage's jobs ask for."""
        own: Resources = getattr(self, stage)
        values = {key: getattr(own, key) for key in Resources.model_fields}
        return Resources(**{key: getattr(self, key) if value is None else value for key, value in values.items()})
