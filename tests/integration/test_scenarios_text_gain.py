"""The gain of a dial, recomputed from plain forward passes of the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from planted import HOOK, planted_sae
from tiny_models import D_IN, save_tiny_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from emosae.lm import LanguageModel, open_lm
from emosae.scenarios import FeatureSet, measure_text_gains

pytestmark = pytest.mark.integration
DICTIONARY = planted_sae(D_IN, 12, threshold=0.1)
DOSE = 0.8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), "llama")


def dial(feature_idx: int) -> FeatureSet:
    return FeatureSet("dial", DICTIONARY, (feature_idx,), 5.0, (2.0,))


def texts(lm: LanguageModel) -> tuple[list[list[int]], list[list[int]]]:
    return [lm.document(t) for t in ("the cat ran off", "a mat")], [lm.document("nobody knew why it was quiet")]


def log_likelihood(folder: Path, ids: list[int], feature_idx: int | None) -> float:
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    value = DOSE * 5.0  # decoder rows have norm 1

    def floor(_: object, __: object, output: Any) -> Any:
        resid: Tensor = output[0] if isinstance(output, tuple) else output
        act = DICTIONARY.encode(resid[0])[:, feature_idx]
        raised = resid + (value - act).clamp(min=0)[None, :, None] * DICTIONARY.direction(feature_idx or 0)
        return (raised, *output[1:]) if isinstance(output, tuple) else raised

    if feature_idx is not None:
        model.model.layers[0].register_forward_hook(floor)
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0, :-1].log_softmax(dim=1)
    return float(log_p[range(len(ids) - 1), ids[1:]].mean())


def test_the_gain_is_that_of_own_texts_over_others(folder: Path) -> None:
    lm = open_lm(str(folder))
    assert DICTIONARY.hook_name == HOOK
    own, others = texts(lm)
    for feature_idx, gain in zip((1, 7), measure_text_gains(lm, [dial(1), dial(7)], own, others, DOSE), strict=True):
        change = [log_likelihood(folder, ids, feature_idx) - log_likelihood(folder, ids, None) for ids in own + others]
        assert gain == pytest.approx(sum(change[:2]) / 2 - change[2], abs=1e-5)
        assert abs(gain) > 1e-3


def test_a_dose_of_nothing_gains_nothing_and_text_over_itself_neither(folder: Path) -> None:
    lm = open_lm(str(folder))
    own, others = texts(lm)
    assert measure_text_gains(lm, [dial(1)], own, others, 1e-12) == [pytest.approx(0.0, abs=1e-6)]
    assert measure_text_gains(lm, [dial(1)], own, own, DOSE) == [pytest.approx(0.0, abs=1e-9)]
