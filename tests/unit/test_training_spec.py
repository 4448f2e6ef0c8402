"""What a training spec refuses and how it names an SAE."""

from __future__ import annotations

from typing import Any

import pytest
from planted import HOOK

from emosae.errors import UserError
from emosae.training import SaeTrainSpec


def test_an_sae_is_named_after_its_hook_architecture_and_seed_unless_it_has_a_name() -> None:
    assert SaeTrainSpec(model_name="tiny", hook_name=HOOK, seed=4).name == f"{HOOK}.batchtopk.seed4"
    assert SaeTrainSpec(model_name="tiny", hook_name=HOOK, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"k": 600}, "k is 600: an SAE of 512 features"),
        ({"steps": 0}, "steps is 0: it must be above 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(option: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        SaeTrainSpec(model_name="tiny", hook_name=HOOK, **option)
