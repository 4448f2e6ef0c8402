"""A dial at a small dose leaves text alone, at a huge one breaks it; what a kill left is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from planted import PlantedSae, planted_sae
from tiny_models import D_IN, save_tiny_model

from emosae.config import RunConfig, ScenariosSection
from emosae.hooks import NO_EDITS
from emosae.lm import LanguageModel, open_lm
from emosae.pipeline import calibration
from emosae.pipeline.calibration import DoseGrid, calibrate_turned
from emosae.pipeline.dial_stage import Dials
from emosae.pipeline.inputs import Inputs
from emosae.scenarios.calibration import TuneText, measure_dose, write_on
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.dials import Dial
from emosae.store import Stage, Store
from emosae.stories import Story

pytestmark = pytest.mark.integration
HOOK = "blocks.1.hook_resid_post"
TEXTS = ("a cat sat on the mat", "the dog ran off", "it was all quiet again", "nobody knew why", "for a while it ran")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return replace(open_lm(save_tiny_model(tmp_path_factory.mktemp("llama"), "llama")), stop_ids=frozenset())


@dataclass(frozen=True, eq=False)
class HashedSae(PlantedSae):
    weight_hash: str = "planted"


def dial(name: str, feature_idx: int) -> FeatureSet:
    planted = planted_sae(D_IN, 8, hook_name=HOOK)
    sae = HashedSae(planted.W_enc, planted.b_enc, planted.W_dec, planted.b_dec, name="sae", hook_name=HOOK)
    return FeatureSet(name, sae, (feature_idx,), 4.0, max_act=(2.0,))


def test_a_small_dose_is_coherent_and_a_huge_one_is_not(lm: LanguageModel) -> None:
    documents = [lm.document(text) for text in TEXTS]
    text = TuneText([ids[:4] for ids in documents] * 6, documents, {"calm": documents[:2]}, {"calm": documents[2:]}, 12)
    ordinary = write_on(lm, text, NO_EDITS)
    again = write_on(lm, text, NO_EDITS)
    assert (ordinary.surprise == again.surprise).all()
    rows = [measure_dose(lm, dial("calm", 2), dose, text, ordinary) for dose in (1e-6, 0.5, 50.0)]
    assert [row["coherent"] for row in (rows[0], rows[2])] == [True, False]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["kl"] < rows[1]["kl"] < rows[2]["kl"]
    assert rows[2]["surprise"] > ordinary.surprise.mean() + 0.5
    assert rows[1]["dose_of_max"] == pytest.approx(0.5 * 4.0 / 2.0)
    assert rows[1]["text_gain"] != 0
    assert measure_dose(lm, dial("sad", 2), 0.5, text, ordinary)["text_gain"] is None


def open_inputs(lm: LanguageModel, dials: list[FeatureSet], folder: Path) -> Inputs:
    splits = ("tune", "tune", "tune", "confirm", "discover")
    stories = [
        Story(id=str(at), emotion=("calm", "neutral", "sad")[at % 3], topic="x", text=text, split=split)
        for at, (text, split) in enumerate(zip(TEXTS, splits, strict=True))
    ]
    inputs = Inputs(RunConfig(), Store(folder))
    inputs.__dict__.update(lm=lm, stories=stories, dictionaries={"sae": dials[0].dictionary})
    return inputs


def test_what_was_measured_before_a_kill_is_kept_and_only_tune_text_is_read(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dials = [dial("calm", 2), dial("sad", 5)]
    inputs, stage, grid = (
        open_inputs(lm, dials, tmp_path / "run"),
        Stage(tmp_path / "dials"),
        DoseGrid((0.2, 0.4), (1e-3,)),
    )
    measured: list[float] = []
    seen: list[TuneText] = []

    def measure(lm: LanguageModel, features: FeatureSet, dose: float, text: TuneText, ordinary: Any) -> dict[str, Any]:
        if len(measured) == 4:
            measured.append(-1.0)
            raise KeyboardInterrupt
        measured.append(dose)
        seen.append(text)
        return measure_dose(lm, features, dose, text, ordinary)

    monkeypatch.setattr(calibration, "measure_dose", measure)
    with pytest.raises(KeyboardInterrupt):
        calibration._measure_all(inputs, dials, grid, stage)
    rows = calibration._measure_all(inputs, dials, grid, stage)
    assert len(rows) == 6
    assert len(measured) == 7  # the kill counts as one
    assert calibration._measure_all(inputs, dials, grid, stage) == rows
    assert len(measured) == 7
    assert [row["kl"] for row in rows if row["dose"] not in grid.doses] == pytest.approx([1e-3] * 2, rel=0.1)
    assert calibration._tabulate(rows).num_rows == 6
    tune = [lm.document(text) for text in TEXTS[:3]]
    read = [*seen[0].beginnings, *seen[0].neutral, *seen[0].own["calm"], *seen[0].others["calm"]]
    assert all(any(ids == whole[: len(ids)] for whole in tune) for ids in read)
    few = calibration._measure_all(inputs, dials[:1], grid, stage)  # other dials that are asked for change nothing
    assert few == [row for row in rows if row["emotion"] == "calm"]
    assert len(measured) == 7
    moved = [replace(dials[0], resid_norm=5.0), dials[1]]
    calibration._measure_all(inputs, moved, grid, stage)
    assert len(measured) == 10


def test_scenarios_take_the_doses_that_tune_stories_fix_and_those_of_the_config_first(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = (0.2, 0.4, 0.8)
    gains = {"calm": {0.2: 0.1, 0.4: 0.3, 0.8: 0.2}, "sad": dict.fromkeys(grid, 0.1)}

    def measure(lm: LanguageModel, features: FeatureSet, dose: float, text: TuneText, ordinary: Any) -> dict[str, Any]:
        row = dict.fromkeys(("dose_of_max", "kl", "loss_rise", "surprise", "repetition", "well_formed"), 0.0)
        gain = gains[features.name][dose]
        return {**row, "dose": dose, "text_gain": gain, "coherent": features.name == "calm"}

    monkeypatch.setattr(calibration, "measure_dose", measure)
    inputs = open_inputs(lm, [dial("calm", 2), dial("sad", 5)], tmp_path / "run")
    chosen = {name: choose(name, at) for name, at in (("calm", 2), ("sad", 5), ("proud", 3))}
    section = ScenariosSection(
        dose="calibrated",
        calibration_doses=grid,
        targets=("calm",),
        opponents=("sad",),
        decoys=("proud",),
        conversation_dials=(),
        doses_by_dial={"proud": 0.7},
    )
    inputs.cfg = RunConfig(scenarios=section)
    dials = Dials(chosen, {}, {HOOK: 4.0}, {"calm": 0.4, "sad": 0.4, "proud": 0.7}, {})
    stage = Stage(tmp_path / "scenarios")
    found, notes = calibrate_turned(inputs, dials, stage)
    assert found.doses == {"calm": 0.4, "sad": 0.2, "proud": 0.7}
    assert notes == ["No dose of sad leaves text in one piece; it is turned at the lowest, 0.2."]
    rows = stage.read_table("calibration").to_pylist()
    assert [(row["emotion"], row["dose"]) for row in rows if row["primary"]] == [("calm", 0.4)]
    assert {row["emotion"] for row in rows} == {"calm", "sad"}
    inputs.cfg = RunConfig(scenarios=section.model_copy(update={"dose": 0.3}))
    assert calibrate_turned(inputs, dials, stage) == (dials, [])


def choose(emotion: str, feature_idx: int) -> Dial:
    return Dial(emotion, "sae", HOOK, (feature_idx,), (2.0,), auroc=0.9, cosine=0.5, score=1.0)
