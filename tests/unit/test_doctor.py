"""What the doctor says of packages, of the hub, and of a machine on which nothing would work."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement

from emosae import doctor
from emosae.cli import main
from emosae.doctor import Check, check_package

NUMPY = Requirement("numpy>=2,<3")


def test_a_package_in_range_is_well() -> None:
    check = check_package(NUMPY)
    assert (check.is_well, check.is_needed) == (True, True)
    assert version("numpy") in check.line()
    assert check.line().startswith("ok")


@pytest.mark.parametrize("found", ["1.26.4", "3.0.0"])
def test_a_version_out_of_range_is_named_with_its_mend(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: found)
    line = check_package(NUMPY).line()
    assert line.startswith("FAIL")
    assert all(part in line for part in (found, "<3", ">=2", "pip install 'numpy"))


def test_a_missing_extra_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    check = check_package(Requirement("wandb>=0.19; extra == 'wandb'"))
    assert (check.is_well, check.is_needed) == (False, False)
    assert check.line().startswith("miss")
    assert "metrics.jsonl" in check.line()
    assert "emosae[wandb]" in check.line()


def test_every_needed_requirement_is_looked_at_and_those_of_the_tests_are_not() -> None:
    looked = {Requirement(text).name for text in requires("emosae") or () if doctor._is_looked_at(text)}
    assert {"torch", "sae-lens", "transformer-lens", "transformers", "wandb"} <= looked
    assert not {"pytest", "ruff", "playwright"} & looked


def test_a_hub_that_was_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked"))
    assert "HF_HUB_OFFLINE" in doctor.check_hub().line()


def test_a_hub_that_does_not_answer_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    check = doctor.check_hub()
    assert not check.is_well
    assert "does not answer" in check.line()


def test_only_what_is_needed_fails_the_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = Check("Slurm", "no sbatch", False, without="no jobs", mend="go elsewhere")
    monkeypatch.setattr(doctor, "check_machine", lambda: [slurm])
    assert main(["doctor"]) == 0
    monkeypatch.setattr(doctor, "check_machine", lambda: [slurm, Check("torch", "not installed", False, True)])
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "no sbatch" in captured.out
    assert "torch" in captured.err
