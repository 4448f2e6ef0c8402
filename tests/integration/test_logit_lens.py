"""What a direction says to the vocabulary is what the model says when nothing but that direction is in the stream."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import D_IN, FAMILIES, save_tiny_model
from torch import Tensor

from emosae.lm import LanguageModel, open_lm
from emosae.logit_lens import read_directions

pytestmark = pytest.mark.integration


def logits_of_stream(lm: LanguageModel, stream: Tensor) -> Tensor:
    """The model's own logits if its last block put out `stream`, whatever it was given."""
    replace = lm.blocks[-1].register_forward_hook(
        lambda _module, _given, out: (
            (stream.expand_as(out[0]), *out[1:]) if isinstance(out, tuple) else stream.expand_as(out)
        )
    )
    with torch.no_grad():
        logits = lm.model(input_ids=torch.tensor([[5]])).logits[0, -1]
    replace.remove()
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_is_the_model_with_only_the_direction_in_its_stream(family: str, tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, family))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a norm that is not all ones
        for name, weight in lm.model.named_parameters():
            if "norm" in name or "ln_f" in name:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    directions = torch.randn(3, D_IN, generator=generator)
    kept = [token for token in range(len(lm.tokenizer)) if token not in lm.special_ids]
    for direction, found in zip(directions, read_directions(lm, directions, 4, batch=2), strict=True):
        expected = (logits_of_stream(lm, direction) - logits_of_stream(lm, torch.zeros(D_IN)))[kept]
        expected -= expected.mean()
        for ends, largest in ((found.promoted, True), (found.suppressed, False)):
            best = expected.topk(4, largest=largest)
            assert [token for token, _ in ends] == [kept[place] for place in best.indices.tolist()]
            assert [logit for _, logit in ends] == pytest.approx(best.values.tolist(), rel=1e-4, abs=1e-4)


def test_a_longer_direction_says_the_same(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path, "llama"))
    direction = torch.randn(1, D_IN, generator=torch.Generator().manual_seed(1))
    [short], [long] = (read_directions(lm, scale * direction, 5) for scale in (10.0, 1000.0))
    assert [token for token, _ in short.promoted] == [token for token, _ in long.promoted]
    assert [logit for _, logit in short.promoted] == pytest.approx([logit for _, logit in long.promoted], rel=1e-3)
    assert not {token for token, _ in long.promoted + long.suppressed} & lm.special_ids
