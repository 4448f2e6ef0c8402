"""An SAE that nobody recorded anything of is held to plain bounds, and its mistake is named on planted residuals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import PlantedSae, planted_lm, planted_resid

from emosae.errors import UserError
from emosae.features import check_fidelity, check_saes
from emosae.features.mistakes import find_mistake
from emosae.hooks import neighbour_hooks
from emosae.lm import LanguageModel

BEFORE, HOOK, AFTER = (f"blocks.{layer}.hook_resid_post" for layer in range(3))
VECTORS, ROWS = planted_resid(200, 16, 12, l0=2.0)
CENTRE = VECTORS.mean(0) - (VECTORS - VECTORS.mean(0)).mean(0)
WORDS = [f"w{number}" for number in range(len(VECTORS))]


def world() -> tuple[LanguageModel, list[list[int]]]:
    """Residuals are the words' vectors, twice, and four times as long after blocks 0, 1 and 2."""
    lm = planted_lm(VECTORS, WORDS, n_layers=3)
    return lm, [lm.document(" ".join(WORDS[start : start + 5])) for start in range(0, len(WORDS), 5)]


def fitted(scale: float, hook_name: str = HOOK, **recorded: float) -> PlantedSae:
    """Rebuilds vectors of that length."""
    W_enc, zero = torch.linalg.pinv(ROWS), torch.full((12,), -0.1)
    return PlantedSae(W_enc, scale * zero, ROWS, scale * CENTRE, hook_name=hook_name, recorded=recorded)


def test_an_sae_at_its_own_hook_has_no_mistake(recwarn: pytest.WarningsRecorder) -> None:
    lm, documents = world()
    assert check_saes(lm, {"planted": fitted(2)}, documents)["planted"].fvu < 0.2
    assert find_mistake(lm, fitted(2), documents) is None
    assert not recwarn.list


@pytest.mark.parametrize(("scale", "right"), [(1, BEFORE), (4, AFTER)])
@pytest.mark.parametrize("recorded", [{}, {"l0": 2.0, "fvu": 0.1}, {"fvu": 0.1}, {"l0": 2.0}])
def test_the_layer_that_it_reads_is_named(scale: float, right: str, recorded: dict[str, float]) -> None:
    lm, documents = world()
    with pytest.raises(UserError, match=rf"^SAE planted reads {right} best: fvu .* at {HOOK}"):
        check_saes(lm, {"planted": fitted(scale, **recorded)}, documents)


def test_a_scale_that_was_not_folded_is_named_with_its_factor() -> None:
    lm, documents = world()
    read = torch.cat([2 * VECTORS[start + 1 : start + 5] for start in range(0, len(WORDS), 5)])
    factor = 4 / read.norm(dim=1).mean().item()
    sae = fitted(2 * factor)
    with pytest.raises(UserError, match=rf"^SAE planted expects scaled residuals: .*\({factor:.3g} on"):
        check_saes(lm, {"planted": sae}, documents)


@pytest.mark.parametrize(
    ("change", "seen"),
    [({"W_dec": 0.2 * ROWS}, r"fvu 0\.[6-9]"), ({"b_enc": torch.full((12,), 0.3)}, r"l0 (7|8|9|1\d)\.")],
)
def test_plain_bounds_are_said_where_nothing_is_recorded(change: dict[str, torch.Tensor], seen: str) -> None:
    odd = replace(fitted(1), **change)
    with pytest.warns(UserWarning, match=rf"{seen}.* nothing is recorded; an SAE of use has an fvu under 0\.5 and"):
        check_fidelity(odd, VECTORS)


def test_the_mistake_is_asked_for_only_in_doubt() -> None:
    asked: list[int] = []
    quality = check_fidelity(fitted(1), VECTORS, lambda: asked.append(1))
    for recorded, times in [
        ({"fvu": quality.fvu, "l0": quality.l0}, 0),
        ({"fvu": quality.fvu, "l0": quality.l0 / 1.6}, 1),
        ({"fvu": quality.fvu / 1.4 - 0.02}, 1),
    ]:
        asked.clear()
        check_fidelity(replace(fitted(1), recorded=recorded), VECTORS, lambda: asked.append(1))
        assert len(asked) == times


def test_neighbours_are_of_one_kind_and_end_with_the_model() -> None:
    lm, _ = world()
    assert neighbour_hooks(lm, HOOK) == [BEFORE, AFTER]
    assert neighbour_hooks(lm, BEFORE) == ["blocks.0.hook_resid_pre", HOOK]
    assert neighbour_hooks(lm, AFTER) == [HOOK]
    assert neighbour_hooks(lm, "blocks.0.hook_resid_pre") == ["blocks.1.hook_resid_pre"]
    assert neighbour_hooks(lm, "blocks.2.hook_resid_pre") == ["blocks.1.hook_resid_pre", AFTER]
