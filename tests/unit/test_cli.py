"""A verb turns flags into one call of the pipeline; a mistake into one line and an exit code."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import emosae
from emosae.cli import BAD_USAGE, DONE, FAILED, INTERRUPTED, main
from emosae.config import RunConfig, SaeFromRelease, SaeOnDisk, SaeToTrain
from emosae.errors import UsageError, UserError
from emosae.store import Store
from emosae.verbs import VERBS

HEAVY = ["torch", "transformers", "sae_lens", "transformer_lens", "wandb", "pyarrow", "numpy", "matplotlib"]


class FakePipeline(SimpleNamespace):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failure: BaseException | None = None

    def _answer(self, store: Store, *call: Any) -> Path:
        self.calls.append((*call, store.root))
        if self.failure:
            raise self.failure
        return store.root / "result"

    def run(self, cfg: RunConfig, store: Store, *, first: str | None = None) -> Path:
        return self._answer(store, "run", cfg, first)

    def run_until(self, cfg: RunConfig, store: Store, stage: str) -> Path:
        return self._answer(store, stage, cfg)

    def grade_answers(self, tasks: Path, answers: Path, store: Store, *, workers: int, unsafe: bool) -> Path:
        return self._answer(store, "grade", tasks, answers, workers, unsafe)

    def join_runs(self, runs: tuple[Path, ...], out: Path) -> Path:
        return self._answer(Store(out), "join", runs)


@pytest.fixture(autouse=True)
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "emosae.pipeline", fake)
    monkeypatch.setattr(emosae, "pipeline", fake, raising=False)
    return fake


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    store = Store(tmp_path / "done")
    store.update_manifest(config=RunConfig().model_dump(mode="json"))
    for sae in RunConfig().saes:
        (store.stage("saes").path / sae.name).mkdir(parents=True)
    return store.root


def test_no_help_imports_anything_heavy() -> None:
    program = f"""
import contextlib, io, json, sys
from emosae.cli import main
from emosae.verbs import VERBS
with contextlib.redirect_stdout(io.StringIO()):
    codes = [main([*verb.split(), "--help"]) for verb in ["", "atlas", "scenario", *VERBS]]
print(json.dumps([codes, [name for name in {HEAVY} if name in sys.modules]]))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    codes, imported = json.loads(answer.stdout)
    assert codes == [DONE] * (len(VERBS) + 3)
    assert imported == []


def test_help_shows_every_verb_and_every_setting(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == DONE
    overview = capsys.readouterr().out
    assert all(verb in overview for verb in VERBS)
    assert main(["demo", "--help"]) == DONE
    flags = capsys.readouterr().out
    for name, field in RunConfig.model_fields.items():
        for key in getattr(type(field.default), "model_fields", {}):
            assert f"--{name}.{key.replace('_', '-')}" in flags


def test_groups_show_their_own_verbs_only(capsys: pytest.CaptureFixture) -> None:
    assert main(["atlas", "--help"]) == DONE
    shown = capsys.readouterr().out
    assert "atlas build" in shown
    assert "scenario" not in shown


def test_demo_is_the_default_config(pipeline: FakePipeline, capsys: pytest.CaptureFixture) -> None:
    assert main(["demo"]) == DONE
    assert pipeline.calls == [("run", RunConfig(), None, Path("runs/demo"))]
    assert capsys.readouterr().out == "runs/demo/result\n"


def test_flags_override_the_defaults(pipeline: FakePipeline) -> None:
    flags = "--out x --from atlas --seed 3 --scenarios.episodes 5 --scenarios.enabled conversation --saes.1.steps 9"
    assert main(["demo", *flags.split()]) == DONE
    [(_, cfg, first, out)] = pipeline.calls
    assert (first, out) == ("atlas", Path("x"))
    assert (cfg.seed, cfg.scenarios.episodes, cfg.scenarios.enabled) == (3, 5, ("conversation",))
    assert [sae.steps for sae in cfg.saes if isinstance(sae, SaeToTrain)] == [900, 9]
    assert cfg.scenarios.dose == RunConfig().scenarios.dose


def test_a_file_is_overridden_by_flags_and_the_rest_of_it_holds(pipeline: FakePipeline, work_dir: Path) -> None:
    (work_dir / "c.toml").write_text(
        "seed = 4\n[scenarios]\nepisodes = 7\ndose = 0.1\n"
        "[[saes]]\nname='a'\npath='p'\n[[saes]]\nname='b'\nhook_name='h'\n[[saes]]\nname='c'\npath='p'"
    )
    assert main(["run", "--out", "x", "c.toml", "--scenarios.episodes", "5", "--saes.1.k", "2"]) == DONE
    [(verb, cfg, first, out)] = pipeline.calls
    assert (verb, first, out) == ("run", None, Path("x"))
    assert (cfg.seed, cfg.scenarios.episodes, cfg.scenarios.dose) == (4, 5, 0.1)
    assert cfg.saes == (
        SaeOnDisk(name="a", path=work_dir / "p"),
        SaeToTrain(name="b", hook_name="h", k=2),
        SaeOnDisk(name="c", path=work_dir / "p"),
    )
    assert main(["train", "c.toml", "--out", "x"]) == DONE
    assert pipeline.calls[1][0] == "saes"


def test_rank_builds_its_config_from_flags(pipeline: FakePipeline, work_dir: Path) -> None:
    (work_dir / "my sae").mkdir()
    saes = ["--sae", "my sae", "--sae", "gpt2-small-res-jb:blocks.8.hook_resid_pre", "--sae", "r:a/b"]
    flags = ["--model", "gpt2", *saes, "--stories", "s.jsonl", "--out", "x", "--selectivity.top", "3"]
    assert main(["rank", *flags]) == DONE
    [(stage, cfg, out)] = pipeline.calls
    assert (stage, out) == ("selectivity", Path("x"))
    assert (cfg.model.name, cfg.stories.path, cfg.selectivity.top) == ("gpt2", work_dir / "s.jsonl", 3)
    assert cfg.saes == (
        SaeOnDisk(name="my-sae", path=work_dir / "my sae"),
        SaeFromRelease(name="blocks.8.hook_resid_pre", release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre"),
        SaeFromRelease(name="a-b", release="r", sae_id="a/b"),
    )


@pytest.mark.parametrize("flags", ["--saes r:a r:b r:c", "--sae r:a --sae r:b --sae r:c", "--saes r:a r:b --sae r:c"])
def test_rank_takes_several_saes_behind_one_flag_or_several(pipeline: FakePipeline, flags: str) -> None:
    assert main(["rank", "--model", "gpt2", *flags.split(), "--stories", "s.jsonl", "--out", "x"]) == DONE
    [(_, cfg, _)] = pipeline.calls
    assert [sae.name for sae in cfg.saes] == ["a", "b", "c"]


def test_rank_has_short_flags_and_ends_with_its_page(
    pipeline: FakePipeline, work_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = ["--model", "gpt2", "--sae", "r:a", "--stories", "s.jsonl", "--out", "x", "--top", "3", "--alpha", "0.1"]
    hooks = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    assert main(["rank", *flags, "--permutations", "64", "--hooks", *hooks]) == DONE
    [(_, cfg, _)] = pipeline.calls
    section = cfg.selectivity
    assert (section.top, section.alpha, section.permutations, cfg.features.hooks) == (3, 0.1, 64, tuple(hooks))
    assert capsys.readouterr().out == f"{Path('x/result/index.html')}\n"


def test_an_atlas_of_other_runs_joins_them(pipeline: FakePipeline, finished_run: Path) -> None:
    assert main(["atlas", "build", str(finished_run), str(finished_run), "--out", "x"]) == DONE
    assert pipeline.calls == [("join", (finished_run, finished_run), Path("x"))]


def test_an_atlas_in_place_goes_on_from_the_run(pipeline: FakePipeline, finished_run: Path) -> None:
    assert main(["atlas", "build", str(finished_run), "--out", str(finished_run)]) == DONE
    assert pipeline.calls == [("atlas", RunConfig(), finished_run)]


def test_a_scenario_starts_from_the_runs_settings(pipeline: FakePipeline, finished_run: Path) -> None:
    section = RunConfig().scenarios.model_copy(update={"dose": 0.1, "episodes": 7})
    Store(finished_run).update_manifest(config={"scenarios": section.model_dump(mode="json")})
    flags = ["--run", str(finished_run), "--tasks", "t.jsonl", "--out", "x", "--scenarios.episodes", "5"]
    assert main(["scenario", "run", "impossible_code", *flags]) == DONE
    [(stage, cfg, out)] = pipeline.calls
    assert (stage, out) == ("scenarios", Path("x"))
    assert (cfg.scenarios.enabled, cfg.scenarios.episodes) == (("impossible_code",), 5)
    assert cfg.scenarios.dose == 0.1
    assert cfg.scenarios.tasks == Path.cwd() / "t.jsonl"
    flags[3] = "shipped"
    assert main(["scenario", "run", "impossible_code", *flags]) == DONE
    assert pipeline.calls.pop()[1].scenarios.tasks == Path("shipped")
    assert not any(isinstance(sae, SaeToTrain) for sae in cfg.saes)


def test_grade_and_report_hand_on_their_paths(pipeline: FakePipeline, finished_run: Path) -> None:
    assert main(["scenario", "grade", "t.jsonl", "a.jsonl", "--out", "x"]) == DONE
    assert main(["scenario", "grade", "shipped", "a.jsonl", "--out", "x", "--unsafe-no-sandbox"]) == DONE
    assert main(["report", str(finished_run)]) == DONE
    assert pipeline.calls == [
        ("grade", Path("t.jsonl"), Path("a.jsonl"), 2, False, Path("x")),
        ("grade", Path("shipped"), Path("a.jsonl"), 2, True, Path("x")),
        ("report", RunConfig(), finished_run),
    ]


@pytest.mark.parametrize(
    ("args", "code", "finding"),
    [
        ("", BAD_USAGE, "give a verb"),
        ("runn x", BAD_USAGE, "no verb 'runn x'; did you mean 'run'?"),
        ("atlas bild x", BAD_USAGE, "did you mean 'atlas build'?"),
        ("atlas", BAD_USAGE, "no verb 'atlas'"),
        ("run", BAD_USAGE, "give a config"),
        ("run none.toml --out x", FAILED, "none.toml: cannot be read"),
        ("run bad.toml --out x", BAD_USAGE, "unknown key 'sed'; did you mean 'seed'?"),
        ("run good.toml", BAD_USAGE, "--out DIR"),
        ("demo --ouut x", BAD_USAGE, "--ouut"),
        ("demo --seed x", BAD_USAGE, "--seed"),
        ("demo --from nowhere", BAD_USAGE, "nowhere"),
        ("demo --scenarios.episodes 0", BAD_USAGE, "episodes"),
        ("demo --saes.0.name resid2", BAD_USAGE, "same name: resid2"),
        ("demo --out foreign", FAILED, "foreign: holds files but no manifest.json"),
        ("rank --model m --stories s --out x", BAD_USAGE, "at least one --sae"),
        ("rank --model m --stories s --out x --sae nope", FAILED, "--sae nope: no such directory"),
        ("atlas build --out x", BAD_USAGE, "at least one run"),
        ("atlas build none --out x", FAILED, "none: no emosae run there"),
        ("atlas serve none", FAILED, "none: no such directory"),
        ("atlas export none --out x", FAILED, "none: no such directory"),
        ("atlas export foreign --out x", FAILED, "foreign: no atlas there"),
        ("scenario run impossible_code --run none --out x", FAILED, "none: no emosae run there"),
        ("scenario run juggling --out x", BAD_USAGE, "juggling"),
        ("scenario grade t.jsonl --out x", BAD_USAGE, "ANSWERS.jsonl"),
        ("scenario grade t.jsonl a.jsonl --out x --workers 0", BAD_USAGE, "--workers must be 1 or more"),
        ("report none", FAILED, "none: no emosae run there"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    pipeline: FakePipeline, work_dir: Path, capsys: pytest.CaptureFixture, args: str, code: int, finding: str
) -> None:
    (work_dir / "bad.toml").write_text("sed = 1")
    (work_dir / "good.toml").write_text("seed = 1")
    (work_dir / "foreign").mkdir()
    (work_dir / "foreign" / "thesis.tex").write_text("")
    before = sorted(work_dir.rglob("*"))
    assert main(args.split()) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("emosae: error: ")
    assert finding in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(work_dir.rglob("*")) == before
    assert pipeline.calls == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UserError("stories without tokens: [17, 203]"), FAILED),
        (UsageError("two\nlines"), BAD_USAGE),
        (KeyboardInterrupt(), INTERRUPTED),
    ],
)
def test_what_a_stage_refuses_is_one_line(
    pipeline: FakePipeline, capsys: pytest.CaptureFixture, failure: BaseException, code: int
) -> None:
    pipeline.failure = failure
    assert main(["demo"]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["demo", "--debug"]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code != INTERRUPTED)


def test_a_bug_is_not_hidden(pipeline: FakePipeline) -> None:
    pipeline.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


@pytest.mark.parametrize(
    ("script", "verb"),
    [
        ("train_sae", "train"),
        ("rank_features", "rank"),
        ("build_atlas", "atlas build"),
        ("run_scenarios", "scenario run"),
    ],
)
def test_each_script_is_its_verb(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, script: str, verb: str
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(repo_root / "scripts" / f"{script}.py"), run_name="__main__")
    assert stop.value.code == DONE
    assert f"usage: emosae {verb} " in capsys.readouterr().out
