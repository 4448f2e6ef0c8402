"""kill -9 at any moment leaves whole files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emosae.store import DONE, Store

pytestmark = pytest.mark.integration

WRITER = """
import sys
from pathlib import Path
from emosae.store import Store
stage = Store(Path(sys.argv[1])).stage("loop")
print("ready", flush=True)
while True:
    for round in range(10 ** 6):
        stage.write_json("value", {"text": "x" * 200_000, "round": round})
        stage.append_line("log", {"text": "y" * 5_000})
"""


@pytest.mark.parametrize("delay", [0.003, 0.011, 0.027])
def test_kill_9_leaves_whole_files(tmp_path: Path, delay: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    while not (tmp_path / "loop" / "value.json").exists():
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    stage = Store.existing(tmp_path).stage("loop")
    assert len(stage.read_json("value")["text"]) == 200_000
    assert all(len(record["text"]) == 5_000 for record in stage.read_lines("log"))
    stage.finish("hash", seconds=0.0)
    listed = json.loads((stage.path / DONE).read_text())["files"]
    assert set(listed) <= {"value.json", "log.jsonl"}
