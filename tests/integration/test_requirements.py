"""EMOSAE_REQUIRE turns a skip into a failure, and only where it names what the test needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SUITE = """
import pytest

@pytest.mark.browser
def test_that_skips_itself():
    pytest.skip("nothing to see")

@pytest.mark.shared
def test_that_needs_the_shared_folder(shared_dir):
    pass

@pytest.mark.shared
def test_that_forgot_the_fixture():
    pass

def test_that_needs_nothing():
    pytest.skip("own reasons")

@pytest.mark.browser
@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""


@pytest.fixture
def run_suite(tmp_path: Path, repo_root: Path):
    shutil.copy(repo_root / "tests" / "conftest.py", tmp_path)
    markers = "sandbox:\n    browser:\n    shared:"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers =\n    {markers}\n")

    def run(suite: str, required: str) -> tuple[int, str]:
        (tmp_path / "test_suite.py").write_text(suite)
        settings = {"EMOSAE_REQUIRE": required, "EMOSAE_SHARED": str(tmp_path / "none")}
        answer = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:jaxtyping", str(tmp_path)],
            capture_output=True,
            text=True,
            env=os.environ | settings,
            check=False,
        )
        return answer.returncode, answer.stdout + answer.stderr

    return run


def test_a_missing_component_skips(run_suite) -> None:
    code, printed = run_suite(SUITE, "")
    assert code == 0
    assert "4 skipped, 1 xfailed" in printed


@pytest.mark.parametrize(
    ("required", "n_failed", "reason"),
    [
        ("browser", 1, "EMOSAE_REQUIRE=browser, but skipped: Skipped: nothing to see"),
        ("shared", 2, "EMOSAE_REQUIRE=shared, but skipped: Skipped: shared: no shared folder"),
    ],
)
def test_a_required_component_fails_instead(run_suite, required: str, n_failed: int, reason: str) -> None:
    code, printed = run_suite(SUITE, required)
    assert code == 1
    assert f"{4 - n_failed} skipped, 1 xfailed" in printed
    assert reason in printed


def test_a_module_may_not_skip_itself_when_something_is_required(run_suite) -> None:
    suite = "import pytest\npytest.skip('all of it', allow_module_level=True)\n"
    assert run_suite(suite, "")[0] in {0, 5}
    code, printed = run_suite(suite, "browser")
    assert code == 2
    assert "the whole of test_suite.py was skipped" in printed


def test_an_unknown_requirement_is_named(run_suite) -> None:
    code, printed = run_suite(SUITE, "sandbx")
    assert code == 4
    assert "unknown ['sandbx']" in printed
