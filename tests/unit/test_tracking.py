"""The file gets every metric; the guest may fail at any call."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emosae.errors import UserError
from emosae.store import Store
from emosae.tracking import Tracker, open_tracker


class FailingSink:
    """Works until its n-th call."""

    def __init__(self, calls_until_failure: int) -> None:
        self.left = calls_until_failure
        self.calls = 0

    def _call(self) -> None:
        self.calls += 1
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError("the service is gone\nand more")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._call()

    def close(self) -> None:
        self._call()


def test_every_metric_is_a_line_of_json(tmp_path: Path) -> None:
    home = Store(tmp_path).home
    with Tracker(lambda record: home.append_line("metrics", record), series="resid3") as tracker:
        tracker.log({"loss": 0.5}, step=1)
        tracker.log({"loss": float("nan"), "l0": float("inf")}, step=2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    refuse = pytest.fail
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert records == [
        {"series": "resid3", "step": 1, "loss": 0.5},
        {"series": "resid3", "step": 2, "loss": None, "l0": None},
    ]


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_dying_sink_is_left_behind_and_named_once(calls: int, caplog: pytest.LogCaptureFixture) -> None:
    written: list[Mapping] = []
    sink = FailingSink(calls)
    with caplog.at_level(logging.WARNING), Tracker(written.append, sink) as tracker:
        for step in range(3):
            tracker.log({"loss": 1.0}, step)
    assert [record["step"] for record in written] == [0, 1, 2]
    assert sink.calls == calls + 1
    assert [record.getMessage() for record in caplog.records] == [
        "W&B stopped (ConnectionResetError: the service is gone); metrics go on in the file"
    ]


def test_a_healthy_sink_is_told_everything_and_closed() -> None:
    sink = FailingSink(10)
    with Tracker(lambda record: None, sink) as tracker:
        tracker.log({"loss": 1.0}, 0)
    assert sink.calls == 2


def test_a_full_disk_is_not_hidden() -> None:
    def refuse(record: Mapping) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        Tracker(refuse).log({"loss": 1.0}, 0)


def test_disabled_never_imports_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    open_tracker(lambda record: None).log({"loss": 1.0}, 0)


def test_wandb_that_was_asked_for_but_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'emosae\[wandb\]'"):
        open_tracker(lambda record: None, wandb="offline")
