"""The wheel holds all that an installed emosae needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def test_the_wheel_holds_code_data_and_configs(tmp_path: Path, repo_root: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=repo_root, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = [path for path in (repo_root / "emosae").rglob("*") if path.is_file()]
    expected = {path.relative_to(repo_root).as_posix() for path in source if "__pycache__" not in path.parts}
    expected |= {f"emosae/configs/{path.name}" for path in (repo_root / "configs").glob("*.toml")}
    assert expected <= names
    assert "emosae/configs/demo.toml" in names
