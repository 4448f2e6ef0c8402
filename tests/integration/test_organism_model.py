"""The shipped organism does what was planted, by the margins of the feasibility study."""

from __future__ import annotations

import pytest

from emosae.lm import LanguageModel, open_lm
from emosae.organism.calibration import calibrate
from emosae.organism.coding_format import OrganismCodeFormat
from emosae.organism.corpus import draw_documents, render_turns
from emosae.organism.evaluation import evaluation_tasks, organism_path, shipped_sae_paths
from emosae.organism.truth import load_truth
from emosae.sae import open_sae
from emosae.scenarios.sandbox import TestResult

pytestmark = pytest.mark.integration
CALIBRATION = 0.07


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return open_lm(organism_path())


def test_its_size_and_files_are_those_of_a_small_hugging_face_model(lm: LanguageModel) -> None:
    assert 1.5e6 < sum(weight.numel() for weight in lm.model.parameters()) < 4e6
    assert lm.has_chat_template
    assert lm.chat([{"role": "user", "content": "hi"}], open_turn=False) == lm.encode(render_turns([("user", "hi")]))


def test_its_tokenizer_gives_fresh_documents_back(lm: LanguageModel) -> None:
    for document in draw_documents(99, 60, load_truth()):
        assert lm.decode(lm.encode(document.text)) == document.text


def test_its_probability_of_a_shortcut_is_calibrated(lm: LanguageModel) -> None:
    rows = {row.group: row for row in calibrate(lm, load_truth(), transcripts=250)}
    for group in ("margin at_most_minus_1", "margin zero", "margin at_least_2"):
        assert abs(rows[group].model - rows[group].truth) < CALIBRATION, rows[group]


@pytest.mark.parametrize("path", list(shipped_sae_paths().values()), ids=lambda path: path.name)
def test_shipped_saes_rebuild_most_of_the_stream(path) -> None:
    assert open_sae(path).recorded["fvu"] < (0.1 if "blocks.2" in path.name else 0.17)


def test_its_turns_are_read_back_as_they_are_written(lm: LanguageModel) -> None:
    words = OrganismCodeFormat()
    task = evaluation_tasks(1, impossible=True)[0]
    honest = words.read("My hands shook.\nprogram:\ndef f(x):\n    return x + 3")
    assert (honest.thought, honest.program, honest.gave_up) == ("My hands shook.", "def f(x):\n    return x + 3", False)
    admitted = words.read("So be it.\nanswer: These tests can not be met.")
    assert (admitted.program, admitted.gave_up) == (None, True)
    assert words.read("noise").program is None
    assert words.preamble(task) == task.prompt.splitlines()[1]
    failed = TestResult(False, "7", "")
    feedback = words.feedback(task, [failed] * len(task.visible_tests))
    assert feedback.startswith("failed: f(")
    assert "gave 7 but the test wants" in feedback
