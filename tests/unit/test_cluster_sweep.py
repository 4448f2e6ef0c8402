"""A sweep becomes tasks whose names, directories and needs follow from the config alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from emosae.cluster.submission import Todo, slurm_parameters, submit_tasks
from emosae.cluster.sweep import Task, group_saes, plan_tasks
from emosae.cluster.work import hash_task
from emosae.config import (
    ClusterSection,
    ClusterStage,
    RunConfig,
    SaeShipped,
    SaeToTrain,
    ShardsSection,
    SweepSection,
    TrainingSection,
    parse_config,
)
from emosae.errors import UsageError, UserError
from emosae.pipeline.training_text import hooks_to_train

TOPK = SaeToTrain(name="sae", hook_name="h1", architecture="topk", d_sae=8, k=2)
OUT = Path("/out/sweep")


def config(*saes: Any, **sweep: Any) -> RunConfig:
    return RunConfig(saes=saes or (TOPK,), sweep=SweepSection(**sweep) if sweep else None)


def from_values(**values: Any) -> RunConfig:
    return parse_config(values, source="test")


def names(cfg: RunConfig) -> dict[str, list[str]]:
    return {group: [sae.name for sae in saes] for group, saes in group_saes(cfg).items()}


def test_all_combinations_are_trained_each_under_a_name_that_says_which() -> None:
    groups = group_saes(config(hooks=("h1", "h2"), widths=(8, 16), k=(2, 4), seeds=(0, 1)))
    assert len(groups) == 16
    for name, [sae] in groups.items():
        assert isinstance(sae, SaeToTrain)
        assert name == sae.name == f"{sae.hook_name}.d{sae.d_sae}.k{sae.k}.seed{sae.seed}"
        assert sae.architecture == "topk"


def test_without_a_sweep_each_sae_is_trained_as_it_is() -> None:
    cfg = config(TOPK, TOPK.model_copy(update={"name": "deep", "hook_name": "h2"}))
    assert names(cfg) == {"h1.d8.k2.seed0": ["h1.d8.k2.seed0"], "h2.d8.k2.seed0": ["h2.d8.k2.seed0"]}


def test_axes_swept_together_are_one_task() -> None:
    found = names(config(hooks=("h1", "h2"), seeds=(0, 1), together=("hooks", "seeds")))
    assert found == {"d8.k2": [f"{hook}.d8.k2.seed{seed}" for hook in ("h1", "h2") for seed in (0, 1)]}
    assert list(names(config(seeds=(0, 1), together=("hooks", "widths", "k", "seeds")))) == ["all"]


def test_entries_that_become_the_same_are_trained_once() -> None:
    other = TOPK.model_copy(update={"name": "other", "hook_name": "h2"})
    assert list(names(config(TOPK, other, hooks=("h1", "h2")))) == ["h1.d8.k2.seed0", "h2.d8.k2.seed0"]


def test_entries_that_differ_otherwise_are_told_apart_by_their_names() -> None:
    other = TOPK.model_copy(update={"name": "slow", "lr": 1e-4})
    assert names(config(TOPK, other, seeds=(0,))) == {
        "sae.h1.d8.k2.seed0": ["sae.h1.d8.k2.seed0"],
        "slow.h1.d8.k2.seed0": ["slow.h1.d8.k2.seed0"],
    }


def test_saes_that_need_no_training_are_a_group_of_their_own() -> None:
    shipped = SaeShipped(name="mine", shipped="x")
    assert names(config(TOPK, shipped, seeds=(1,))) == {"h1.d8.k2.seed1": ["h1.d8.k2.seed1"], "given": ["mine"]}


def test_a_sweep_may_grow_without_moving_what_is_there() -> None:
    small, large = (plan_tasks(config(seeds=seeds), OUT) for seeds in ((0, 1), (0, 1, 2)))
    kept = {task.name: (task.run, hash_task(task)) for task in small if task.stage != "atlas"}
    assert kept.items() <= {task.name: (task.run, hash_task(task)) for task in large}.items()
    assert hash_task(small[-1]) != hash_task(large[-1])


def test_a_further_hook_has_shards_of_its_own_and_leaves_what_is_trained(tmp_path: Path) -> None:
    small, large = (plan_tasks(config(hooks=hooks), OUT) for hooks in (("h1",), ("h1", "h2")))
    assert small[0].shards != large[0].shards
    trained = [
        {task.name: hash_task(task) for task in tasks if task.stage in ("train", "rank")} for tasks in (small, large)
    ]
    assert trained[0].items() <= trained[1].items()


@pytest.mark.parametrize(
    ("saes", "sweep", "finding"),
    [
        ((SaeShipped(name="a", shipped="x"),), {"seeds": (1,)}, "no SAE to train"),
        ((TOPK.model_copy(update={"architecture": "gated"}),), {"k": (1,)}, "SAE sae is gated, which has no k"),
    ],
)
def test_a_sweep_of_nothing_is_refused(saes: Any, sweep: Any, finding: str) -> None:
    with pytest.raises(UsageError, match=finding):
        group_saes(config(*saes, **sweep))


def test_each_group_is_a_run_that_is_trained_then_ranked_and_the_atlas_is_of_all() -> None:
    harvest, *tasks = plan_tasks(config(seeds=(0, 1)), OUT)
    assert [task.stage for task in tasks] == ["train", "train", "rank", "rank", "atlas"]
    runs = [OUT / "runs" / f"h1.d8.k2.seed{seed}" for seed in (0, 1)]
    assert [task.run for task in tasks] == [*runs, *runs, OUT]
    assert [task.last for task in tasks] == ["saes", "saes", "selectivity", "selectivity", "atlas"]
    assert [task.needs for task in tasks] == [
        (harvest.name,),
        (harvest.name,),
        ("train/h1.d8.k2.seed0",),
        ("train/h1.d8.k2.seed1",),
        ("rank/h1.d8.k2.seed0", "rank/h1.d8.k2.seed1"),
    ]
    assert tasks[-1].sources == tuple(runs)
    assert [sae.name for sae in tasks[-1].cfg.saes] == ["h1.d8.k2.seed0", "h1.d8.k2.seed1"]


def test_every_training_reads_the_shards_that_all_harvest_tasks_write() -> None:
    cfg = config(hooks=("h1", "h2"), seeds=(0, 1))
    cfg = cfg.model_copy(update={"shards": ShardsSection(tasks=3), "training": TrainingSection(documents=7)})
    tasks = plan_tasks(cfg, OUT)
    harvest, train = ([task for task in tasks if task.stage == stage] for stage in ("harvest", "train"))
    assert [(task.name, task.part, task.needs) for task in harvest] == [
        ("harvest/task-0", 0, ()),
        ("harvest/task-1", 1, ()),
        ("harvest/task-2", 2, ()),
    ]
    [folder] = {task.shards for task in harvest}
    assert folder.parent == OUT / "shards"
    assert [task.run for task in harvest] == [folder / f"task-{part}" for part in range(3)]
    assert len(train) == 4
    for task in train:
        assert task.needs == tuple(one.name for one in harvest)
    for task in tasks:
        assert (task.cfg.training.activations, task.cfg.shards.folder, task.cfg.shards.tasks) == ("given", folder, 3)
        assert task.cfg.training.documents == 7
    assert {hook for task in harvest for hook in hooks_to_train(task.cfg)} == {"h1", "h2"}


def test_the_config_may_say_memory_given_shards_or_another_place_for_them(tmp_path: Path) -> None:
    def plan(activations: str, **shards: Any) -> list[Task]:
        return plan_tasks(from_values(training={"activations": activations}, shards=shards), OUT)

    for way in ("memory", "given"):
        tasks = plan(way, folder=str(tmp_path))
        assert {task.stage for task in tasks} == {"train", "rank", "atlas"}
        assert [task.needs for task in tasks if task.stage == "train"] == [()] * 3
        assert {task.cfg.training.activations for task in tasks} == {way}
    assert {task.cfg.shards.folder for task in plan("given", folder=str(tmp_path))} == {tmp_path}
    [harvest] = [task for task in plan("shards", folder=str(tmp_path)) if task.stage == "harvest"]
    assert harvest.shards.parent == tmp_path


def test_saes_that_need_no_training_wait_for_no_harvest() -> None:
    shipped = SaeShipped(name="mine", shipped="x")
    assert {task.stage for task in plan_tasks(config(shipped), OUT)} == {"train", "rank", "atlas"}
    needs = {task.name: task.needs for task in plan_tasks(config(TOPK, shipped, seeds=(1,)), OUT)}
    assert needs["train/given"] == ()
    assert needs["train/h1.d8.k2.seed1"] == ("harvest/task-0",)


def test_wandb_sees_one_group_per_sweep() -> None:
    def groups(out: Path) -> set[str | None]:
        return {task.cfg.tracking.group for task in plan_tasks(config(seeds=(0, 1)), out)}

    [group] = groups(OUT)
    assert group is not None
    assert re.fullmatch(r"sweep-[0-9a-f]{6}", group)
    assert groups(OUT) != groups(Path("/elsewhere/sweep"))
    given = parse_config({"tracking": {"group": "mine"}}, source="test")
    assert {task.cfg.tracking.group for task in plan_tasks(given, OUT)} == {"mine"}


def test_a_fingerprint_follows_what_the_result_depends_on(tmp_path: Path) -> None:
    stories = tmp_path / "stories.jsonl"
    stories.write_text("one")

    def hashes(**changes: Any) -> list[str]:
        tasks = plan_tasks(from_values(stories={"path": str(stories)}, **changes), OUT)
        return [hash_task(task) for task in tasks if "seed0" in task.name or task.stage in ("harvest", "atlas")]

    def moved(now: list[str]) -> list[bool]:
        return [old != new for old, new in zip(before, now, strict=True)]

    before = hashes()  # one harvest, two train, two rank, one atlas
    assert hashes(cluster={"partition": "x"}, tracking={"project": "x"}, scenarios={"dose": 0.1}) == before
    assert hashes(shards={"folder": str(tmp_path), "check_hashes": False}) == before
    assert moved(hashes(selectivity={"top": 3})) == [False, False, False, True, True, True]
    assert moved(hashes(atlas={"seed": 3})) == [False, False, False, False, False, True]
    for changes in ({"training": {"documents": 3}}, {"shards": {"dtype": "float32"}}, {"shards": {"rows": 64}}):
        assert moved(hashes(**changes)) == [True] * 6
    assert len(set(hashes(shards={"tasks": 2})) | set(before)) == 6 + 7
    stories.write_text("two")
    assert moved(hashes()) == [True] * 6
    stories.unlink()
    with pytest.raises(UserError, match=r"stories\.jsonl: no such file"):
        hashes()


class FakeSlurm:
    """Numbers arrays from 1 and remembers what it was given."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], str | None]] = []

    def __call__(self, stage: ClusterStage, tasks: Any, dependency: str | None) -> list[str]:
        self.asked.append((stage, [task.group for task in tasks], dependency))
        number = len(self.asked)
        return [f"{number}_{index}" for index in range(len(tasks))] if len(tasks) > 1 else [str(number)]


def submit(tasks: list[Task], jobs: dict[str, str]) -> list[tuple[str, list[str], str | None]]:
    slurm = FakeSlurm()
    submit_tasks(Todo(tuple(tasks), jobs, {}), slurm)
    return slurm.asked


HARVEST, *TASKS = plan_tasks(config(seeds=(0, 1, 2)), OUT)
GROUPS = [task.group for task in TASKS[:3]]


def test_a_whole_sweep_is_an_array_a_stage_whose_tasks_wait_for_their_own() -> None:
    assert submit([HARVEST, *TASKS], {}) == [
        ("harvest", ["task-0"], None),
        ("train", GROUPS, "afterok:1"),
        ("rank", GROUPS, "aftercorr:2"),
        ("atlas", ["all"], "afterok:3"),
    ]


def test_all_trainings_wait_for_all_parts_of_the_text_and_for_no_other_job() -> None:
    cfg = config(seeds=(0, 1, 2)).model_copy(update={"shards": ShardsSection(tasks=3)})
    tasks = plan_tasks(cfg, OUT)
    parts = [task.group for task in tasks[:3]]
    assert submit(tasks, {})[:2] == [("harvest", parts, None), ("train", GROUPS, "afterok:1")]
    assert submit([tasks[1], *tasks[3:]], {"harvest/task-2": "60_2"})[:3] == [
        ("harvest", ["task-1"], None),
        ("train", GROUPS, "afterok:1:60_2"),
        ("rank", GROUPS, "aftercorr:2"),
    ]


def test_a_sweep_whose_shards_are_there_is_trained_at_once() -> None:
    assert submit(TASKS, {}) == [
        ("train", GROUPS, None),
        ("rank", GROUPS, "aftercorr:1"),
        ("atlas", ["all"], "afterok:2"),
    ]


def test_one_failed_task_is_submitted_alone_with_what_waited_for_it() -> None:
    left = [task for task in TASKS if task.group in (GROUPS[1], "all")]
    assert submit(left, {}) == [
        ("train", [GROUPS[1]], None),
        ("rank", [GROUPS[1]], "afterok:1"),
        ("atlas", ["all"], "afterok:2"),
    ]


def test_what_is_on_its_way_is_waited_for_job_by_job() -> None:
    on_its_way = {f"train/{GROUPS[0]}": "70_0", f"train/{GROUPS[2]}": "70_2", f"rank/{GROUPS[2]}": "80"}
    left = [task for task in TASKS if task.name not in on_its_way and task.name != f"train/{GROUPS[1]}"]
    assert submit(left, on_its_way) == [
        ("rank", [GROUPS[0]], "afterok:70_0"),
        ("rank", [GROUPS[1]], None),
        ("atlas", ["all"], "afterok:1:2:80"),
    ]


def test_an_array_that_matches_no_other_task_by_task_waits_for_all_it_needs() -> None:
    on_its_way = {f"train/{group}": f"70_{index}" for index, group in enumerate(GROUPS)}
    left = [task for task in TASKS if task.stage != "train"]
    assert submit(left, on_its_way)[0] == ("rank", GROUPS, "afterok:70_0:70_1:70_2")


def test_a_stages_own_table_goes_before_the_clusters() -> None:
    cluster = ClusterSection.model_validate(
        {
            "partition": "cpu",
            "minutes": 10,
            "gpus": 1,
            "requeue": False,
            "setup": ["module load cuda"],
            "srun": ["--container-image=x.sqsh"],
            "sbatch": ["--exclusive", "--constraint=a=b"],
            "train": {"partition": "gpu", "mem_gb": 64, "cpus": 8},
            "atlas": {"gpus": 0},
        }
    )
    train, atlas = (slurm_parameters(cluster, stage, "s", None) for stage in ("train", "atlas"))
    assert (train["partition"], train["mem"], train["time"], train["gpus_per_node"]) == ("gpu", "64GB", 10, 1)
    assert train["srun_args"] == ["--cpus-per-task=8", "--container-image=x.sqsh"]
    assert train["setup"] == ["module load cuda"]
    flags = {"kill-on-invalid-dep": "yes", "no-requeue": True, "exclusive": True, "constraint": "a=b"}
    assert train["additional_parameters"] == flags
    assert (atlas["partition"], atlas["cpus_per_task"]) == ("cpu", 1)
    assert "gpus_per_node" not in atlas
    assert "mem" not in atlas


def test_the_config_in_the_docs_is_a_sweep(repo_root: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", (repo_root / "docs" / "cluster.md").read_text(), re.DOTALL)
    cfg = parse_config(tomllib.loads(text), source="docs/cluster.md")
    assert [len(saes) for saes in group_saes(cfg).values()] == [2] * 4
    assert "blocks.22.hook_resid_post.d16384.k64" in group_saes(cfg)
    assert cfg.cluster is not None
    assert cfg.cluster.resources("atlas").gpus == 0
