"""Where a run came from: versions and the state of the code."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import emosae

_PACKAGES = ("torch", "transformers", "sae-lens", "transformer-lens", "numpy", "scipy", "scikit-learn", "pyarrow")


@cache
def describe_software() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; ``emosae`` also has the hash of its code."""
    found = {"python": platform.python_version(), "emosae": f"{emosae.__version__}+{hash_code()[:12]}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


@cache
def hash_code() -> str:
    """SHA-256 of the package's Python files and planted truth: other code may give other results."""
    root = Path(emosae.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.toml")]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def describe_checkout() -> dict[str, str | bool]:
    """Commit of the checkout that the package lies in and whether it is changed; empty outside of one."""
    root = Path(emosae.__file__).parent.parent
    if not (root / ".git").exists():
        return {}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
