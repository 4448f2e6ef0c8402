"""What all tests share: where things are, what may be missing, and that chance is the same every time.

A test says by marker what it needs from the machine (`sandbox`, `browser`, `slurm`, `shared`); without it the test is
skipped. EMOSAE_REQUIRE names what must be there (`sandbox,browser,slurm`): a test that needs it then fails instead.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums in one order

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(filter(None, os.environ.get("EMOSAE_REQUIRE", "").split(",")))

settings.register_profile("emosae", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("emosae")


@cache
def find_shared() -> Path:
    """The folder of data and models beside the checkout, or the one that EMOSAE_SHARED names."""
    return Path(os.environ.get("EMOSAE_SHARED") or ROOT.parent / "shared").resolve()


@cache
def is_sandbox_working() -> bool:
    """Whether bubblewrap is here and may make namespaces; inside a container it may not."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return False
    command = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"]
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == 0


def is_slurm_here() -> bool:
    """Whether the programs that make up a Slurm are installed; daemons may lie where only root looks."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return all(shutil.which(program, path=path) for program in ("munged", "sbatch", "slurmctld", "slurmd", "srun"))


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "sandbox": (is_sandbox_working, "bubblewrap (bwrap) is missing or may not make namespaces"),
    "browser": (lambda: shutil.which("chromium") is not None, "chromium is missing"),
    "slurm": (is_slurm_here, "Slurm is missing (slurmctld, slurmd, sbatch, srun) or munged is"),
    "shared": (lambda: find_shared().is_dir(), "no shared folder beside the checkout; set EMOSAE_SHARED"),
}

if unknown := REQUIRED - set(NEEDS):
    raise pytest.UsageError(f"EMOSAE_REQUIRE: unknown {sorted(unknown)}; known are {sorted(NEEDS)}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what this machine lacks."""
    for need, (is_there, reason) in NEEDS.items():
        if item.get_closest_marker(need) and not is_there():
            pytest.skip(f"{need}: {reason}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal files to the workers, and the folder of the Slurm cluster as if it were one: there is but one cluster."""
    from xdist.scheduler import LoadFileScheduling

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/cluster" if nodeid.startswith("tests/cluster/") else super()._split_scope(nodeid)

    return OneCluster(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn the skip of a test that needs something required into a failure, whoever skipped it."""
    report: Any = yield
    required = sorted(need for need in REQUIRED if item.get_closest_marker(need))
    is_expected_to_fail = hasattr(report, "wasxfail")
    if report.skipped and required and not is_expected_to_fail:
        report.outcome = "failed"
        report.longrepr = f"EMOSAE_REQUIRE={','.join(required)}, but skipped: {report.longrepr[-1]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """With EMOSAE_REQUIRE a module may not skip itself: what it needs could not be told from its markers."""
    report: Any = yield
    if report.skipped and REQUIRED:
        report.outcome = "failed"
        report.longrepr = f"EMOSAE_REQUIRE is set, but the whole of {collector.nodeid} was skipped"
    return report


@pytest.fixture(autouse=True)
def _same_chance_every_time() -> None:
    """Seed the global generators that third parties draw from; our own code takes an `rng`."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator, the same for every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The shared folder; skips where there is none. Mark the test `shared` so that it can be required."""
    if not find_shared().is_dir():
        pytest.skip(NEEDS["shared"][1])
    return find_shared()


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return ROOT
