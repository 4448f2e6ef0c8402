"""The whole sentence at reduced size: it ends in pages, and a kill at any stage changes nothing."""

from __future__ import annotations

import json
import os
import runpy
import signal
import time
from pathlib import Path
from typing import NoReturn

import pyarrow.parquet as pq
import pytest

from emosae.cli import main
from emosae.pipeline import STAGES
from emosae.scenarios.arms import KEY
from emosae.scenarios.plan import seal

pytestmark = pytest.mark.integration

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMALL = """
[stories]
per_emotion = 10
[training]
documents = 100
[[saes]]
name = "trained"
hook_name = "blocks.3.hook_resid_post"
d_sae = 96
k = 8
steps = 30
batch_size = 512
[[saes]]
name = "shipped"
shipped = "blocks.3.resid_post.seed1"
[selectivity]
permutations = 32
top = 4
[scenarios]
episodes = 6
n_tasks = 6
n_tune = 2
n_solvable = 2
max_attempts = 2
random_sets = 1
opponents = []
decoys = ["proud"]
other_doses = []
composure_doses = [0.1]
composure_episodes = 4
mediation_episodes = 4
subspace_episodes = 4
subspace_random = 1
conversations = "{tmp}/talk.jsonl"
"""
TALK = [
    {"id": f"dose/{dose}", "expected": "afraid", "text": f"I took {dose} mg of aspirin.", "dose": dose, "kind": "dose"}
    for dose in (200, 2000, 16000)
]
TABLES = (
    "ledger.parquet",
    "saes/saes.parquet",
    "selectivity/candidates.parquet",
    "selectivity/comparisons.parquet",
    "selectivity/layers.parquet",
    "atlas/nodes.parquet",
    "atlas/links.parquet",
    "scenarios/dials.parquet",
    "scenarios/conversation/reads.parquet",
    "scenarios/conversation/replies.parquet",
)
SANDBOXED = ("scenarios/impossible_code/rollouts.parquet", "scenarios/impossible_code/summary.parquet")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    (path.parent / "talk.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in TALK))
    path.write_text(SMALL.replace("{tmp}", str(path.parent)))
    return path


@pytest.fixture(scope="module")
def quiet_run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quiet") / "run"
    assert main(["run", str(config), "--out", str(out)]) == 0
    return out


def test_it_ends_in_a_report_and_an_atlas(quiet_run: Path) -> None:
    report = (quiet_run / "report/index.html").read_text()
    assert "not evidence of feelings" in report
    assert "synthetic" in report
    assert (quiet_run / "report/atlas/index.html").is_file()
    assert "Which features tell which emotions apart" in (quiet_run / "selectivity/index.html").read_text()
    for table in TABLES:
        assert pq.read_table(quiet_run / table).num_rows > 0


@pytest.mark.sandbox
def test_its_episodes_were_executed(quiet_run: Path) -> None:
    rows = pq.read_table(quiet_run / SANDBOXED[0]).to_pylist()
    assert {row["condition"] for row in rows} >= {"none", "up", "down", "off", "random", "direction", "prompt"}
    assert any(passed for row in rows for passed in row["passed_visible"])


@pytest.mark.sandbox
def test_its_plan_was_sealed_before_a_confirm_task_was_opened(quiet_run: Path) -> None:
    folder = quiet_run / "scenarios/impossible_code"
    plan, manifest = (
        json.loads((folder / "plan.json").read_text()),
        json.loads((quiet_run / "manifest.json").read_text()),
    )
    assert (seal(plan), manifest["plans"], manifest["looks"]["confirm_tasks"]) == (plan["sha256"], [seal(plan)], 1)
    sealed = (folder / "plan.json").stat().st_mtime_ns
    arms = [path.stat().st_mtime_ns for path in (*folder.glob("arms/*"), *folder.glob("second_seed/arms/*"))]
    assert (folder / "pilot/arms/none_-_-_0.parquet").stat().st_mtime_ns < sealed < min(arms)
    rows = pq.read_table(folder / "rollouts.parquet").to_pylist()
    pilot = pq.read_table(folder / "pilot/arms/none_-_-_0.parquet").to_pylist()
    assert not {row["task_id"] for row in rows} & {row["task_id"] for row in pilot}
    assert {tuple(row[name] for name in KEY) for row in rows} == {
        tuple(arm[name] for name in KEY) for arm in plan["arms"]
    }
    assert plan["sha256"] in (quiet_run / "report/report.md").read_text()


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.py")))
def test_a_notebook_goes_through(
    name: str, quiet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.setenv("EMOSAE_RUN", str(quiet_run))
    monkeypatch.setenv("EMOSAE_SCRATCH", str(tmp_path))
    with plt.rc_context({"backend": "agg"}):
        runpy.run_path(str(NOTEBOOKS / name))
    plt.close("all")
    assert capsys.readouterr().out


def test_a_finished_run_is_not_done_again(quiet_run: Path, config: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in quiet_run.rglob("stage.json")}
    assert main(["run", str(config), "--out", str(quiet_run)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in quiet_run.rglob("stage.json")}


def test_killed_at_every_stage_it_resumes_to_the_same_tables(quiet_run: Path, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = ["run", str(config), "--out", str(out)]
    unfinished = [_run_and_kill(command, out / stage) for stage in STAGES]
    assert sum(unfinished) > len(STAGES) / 2
    assert main(command) == 0
    for table in (*TABLES, *SANDBOXED):
        if (quiet_run / table).exists():
            assert _read(out / table) == _read(quiet_run / table), table


def _read(path: Path) -> str:
    """A table's rows as text, in which NaN equals NaN, without the paths of the run directory that it lies in."""
    table = pq.read_table(path)
    return repr((table.drop_columns(["location"]) if "location" in table.column_names else table).to_pylist())


def _run_and_kill(command: list[str], stage: Path) -> bool:
    """Run a command in a fork of this process, which is warm, and kill it with its children soon after a stage began.

    Returns whether the stage was still unfinished.
    """
    process = os.fork()
    if not process:
        _run_in_silence(command)
    while (
        not (stage / "begun.json").exists()
        and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return not (stage / "stage.json").exists()


def _run_in_silence(command: list[str]) -> NoReturn:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        os._exit(main(command))
    finally:
        os._exit(1)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("[model]\nnmae = 'x'\n", 2, "nmae"),
        (
            "[model]\nname = '{tmp}/bare'\n[stories]\npath='{tmp}/two.jsonl'\n[[saes]]\nname='a'\nhook_name='x'\n",
            1,
            "bare",
        ),
        ("[stories]\npath = '{tmp}/empty.jsonl'\n", 1, "empty.jsonl"),
        ("[stories]\npath = '{tmp}/one.jsonl'\n", 1, "afraid"),
        (
            "[training]\ndocuments = 9\n[[saes]]\nname = 'a'\nhook_name = 'blocks.77.hook_resid_post'\n",
            1,
            "blocks.77.hook_resid_post",
        ),
        ("[[saes]]\nname = 'a'\nshipped = 'nothing'\n", 1, "nothing"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing_finished(
    text: str, code: int, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/config.json").write_text("{}")
    (tmp_path / "empty.jsonl").write_text("")
    line = '{"emotion": "EMOTION", "topic": "t", "text": "Some words."}\n'
    (tmp_path / "one.jsonl").write_text(line.replace("EMOTION", "sad") * 2 + line.replace("EMOTION", "afraid"))
    (tmp_path / "two.jsonl").write_text(line.replace("EMOTION", "sad") * 2 + line.replace("EMOTION", "afraid") * 2)
    config = tmp_path / "bad.toml"
    config.write_text(text.replace("{tmp}", str(tmp_path)))
    assert main(["run", str(config), "--out", str(tmp_path / "out")]) == code
    complaint = [row for row in capsys.readouterr().err.splitlines() if "emosae: error" in row]
    assert len(complaint) == 1
    assert named in complaint[0]
    assert not (tmp_path / "out/report/index.html").exists()


def test_a_foreign_directory_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.shared
def test_a_model_and_stories_that_nobody_here_made(shared_dir: Path, tmp_path: Path) -> None:
    stories = shared_dir / "data/emotion_stories_20"
    config = tmp_path / "real.toml"
    config.write_text(
        f"""
[model]
name = "{shared_dir / "models/stories260K"}"
[stories]
path = "{stories / "stories.jsonl"}"
per_emotion = 8
[[saes]]
name = "resid3"
hook_name = "blocks.3.hook_resid_post"
d_sae = 128
k = 8
steps = 100
batch_size = 512
[selectivity]
permutations = 32
[scenarios]
episodes = 4
n_tasks = 4
n_tune = 1
n_solvable = 2
max_attempts = 1
random_sets = 0
opponents = []
decoys = []
other_doses = []
composure_doses = []
mediation_episodes = 4
"""
    )
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    assert "cannot write code" in (tmp_path / "run/report/report.md").read_text() or not _has_sandbox(tmp_path / "run")


def _has_sandbox(run: Path) -> bool:
    return (run / SANDBOXED[0]).exists()
