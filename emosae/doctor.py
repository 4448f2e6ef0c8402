"""What this machine has of what emosae uses: a line each, with what fails without it and how to mend that."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from emosae.scenarios import SandboxMissing

_HUB_SECONDS = 3.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked for.

    Attributes:
        name: What it is.
        found: What is there, in a few words.
        is_well: Whether that will do.
        is_needed: Whether nothing works without it.
        without: What fails without it.
        mend: How to get it.
    """

    name: str
    found: str
    is_well: bool
    is_needed: bool = False
    without: str = ""
    mend: str = ""

    def line(self) -> str:
        """The check as one line."""
        mark = "ok  " if self.is_well else "FAIL" if self.is_needed else "miss"
        told = f"{mark}  {self.name:<18} {self.found}"
        return told if self.is_well else f"{told}: without it {self.without}; {self.mend}"


def check_machine() -> list[Check]:
    """Every check, packages first; the hub is asked with a wait of three seconds at most."""
    checks = [check_package(Requirement(text)) for text in requires("emosae") or () if _is_looked_at(text)]
    others: Sequence[Callable[[], Check]] = (
        check_device,
        check_memory,
        check_sandbox,
        check_wandb_login,
        check_slurm,
        check_browser,
        check_hub,
    )
    return [*checks, *(check() for check in others)]


def _is_looked_at(text: str) -> bool:
    """Requirements of the package itself and of the extras that a user may want; not those of its tests."""
    marker = Requirement(text).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in _EXTRAS)


_EXTRAS = {
    "wandb": "metrics go to metrics.jsonl only",
    "cluster": "`emosae submit` cannot hand tasks to Slurm",
    "generate": "`emosae stories generate` cannot ask a model for stories",
}


def check_package(wanted: Requirement) -> Check:
    """Whether a package is installed in a version that emosae works with."""
    extras = [extra for extra in _EXTRAS if wanted.marker and wanted.marker.evaluate({"extra": extra})]
    without = _EXTRAS[extras[0]] if extras else "emosae does not run"
    install = f"pip install 'emosae[{extras[0]}]'" if extras else f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return Check(wanted.name, "not installed", False, not extras, without, install)
    is_well = wanted.specifier.contains(found, prereleases=True)
    range_ = f" (supported: {wanted.specifier})" if wanted.specifier else ""
    return Check(wanted.name, f"{found}{range_}", is_well, not extras, without, install)


def check_device() -> Check:
    """Where models can run."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Check("device", f"{len(names)} GPU: {', '.join(sorted(set(names)))}", True)
    if torch.backends.mps.is_available():
        return Check("device", "mps", True)
    mend = "install a torch build that knows the GPU, or keep to models of up to about a billion parameters"
    return Check("device", f"CPU only, {os.cpu_count()} cores", False, without="large models are slow", mend=mend)


def check_memory() -> Check:
    """Main memory in all; the demo takes about 3 GiB."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Check("memory", f"{gib:.0f} GiB", gib >= 4, without="the demo may be killed", mend="use a larger machine")


def check_sandbox() -> Check:
    """Whether a program that a model wrote can be run here."""
    from emosae.scenarios import Sandbox

    without = "impossible code is not run, since it would run what a model wrote"
    try:
        with Sandbox(workers=1):
            return Check("sandbox", "bubblewrap works", True)
    except SandboxMissing as missing:
        found = "bubblewrap is there but does not start" if shutil.which("bwrap") else "no bubblewrap"
        return Check("sandbox", found, False, without=without, mend=" ".join(str(missing).split()))


def check_wandb_login() -> Check:
    """Whether W&B would take metrics; the network is not asked."""
    from emosae.tracking import has_wandb_login

    if has_wandb_login():
        return Check("W&B login", "found", True)
    without = '`tracking.wandb = "online"` keeps metrics on this machine only'
    return Check("W&B login", "none", False, without=without, mend="run `wandb login`, or use offline")


def check_slurm() -> Check:
    """Whether jobs can be handed to a cluster from here."""
    found = shutil.which("sbatch")
    without = "`emosae submit` runs on this machine only, with --local"
    mend = "run it where sbatch is, on a login node"
    return Check("Slurm", found or "no sbatch", found is not None, without=without, mend=mend)


def check_browser() -> Check:
    """Whether the tests and the pictures of the docs have a browser; pages open in any."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    without = "tests of the pages are skipped and no screenshots are taken"
    return Check("Chromium", found or "none", found is not None, without=without, mend="install the package chromium")


def check_hub() -> Check:
    """Whether models and SAEs can be downloaded."""
    from huggingface_hub import constants

    without = "only local directories and what was downloaded before can be opened"
    if constants.HF_HUB_OFFLINE:
        mend = "unset HF_HUB_OFFLINE to download"
        return Check("model hub", "switched off by HF_HUB_OFFLINE", False, without=without, mend=mend)
    try:
        asked = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(asked, timeout=_HUB_SECONDS):
            return Check("model hub", "answers", True)
    except (urllib.error.URLError, OSError, ValueError) as failed:
        found = f"does not answer ({getattr(failed, 'reason', failed)})"
        mend = "check the network, or set HF_ENDPOINT to a mirror"
        return Check("model hub", found, False, without=without, mend=mend)
