"""Interventions do to the planted features what they say, to no other, and only where they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import planted_lm, planted_sae
from torch import Tensor

from emosae.errors import UserError
from emosae.interventions import (
    Ablate,
    Cap,
    Clamp,
    Floor,
    Intervention,
    Op,
    Scale,
    Steer,
    edit_fns,
    edit_resid,
    floor_for_dose,
    mean_resid_norm,
)

SAE = planted_sae(d_in=5, d_sae=3)  # orthonormal W_dec, so re-encoding is exact
RESID = 2 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
ACTS = SAE.encode(RESID)
HOOK = SAE.hook_name
EXPECTED = {
    "clamp": (Clamp(1, 4.0), torch.full((8,), 4.0)),
    "clamp to nothing": (Clamp(1, 0.0), torch.zeros(8)),
    "floor": (Floor(1, 0.7), ACTS[:, 1].clamp(min=0.7)),
    "cap": (Cap(1, 0.7), ACTS[:, 1].clamp(max=0.7)),
    "scale": (Scale(1, 2.5), 2.5 * ACTS[:, 1]),
    "ablate": (Ablate(1), torch.zeros(8)),
}


def off_features(resid: Tensor) -> Tensor:
    """What the dictionary's rows do not span."""
    return resid - resid @ SAE.W_dec.T @ SAE.W_dec


@given(value=st.floats(0, 10), feature_idx=st.integers(0, 2))
def test_clamping_sets_the_feature_and_nothing_else(value: float, feature_idx: int) -> None:
    expected = ACTS.clone()
    expected[:, feature_idx] = value
    edited = edit_resid(RESID, SAE, [Clamp(feature_idx, value)])
    fires = ACTS[:, feature_idx] > 0  # where it did not, a negative pre-activation is the error term's and stays
    torch.testing.assert_close(SAE.encode(edited)[fires], expected[fires])
    torch.testing.assert_close(off_features(edited), off_features(RESID))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_feature_gets_the_activation_that_is_asked_for_and_the_error_stays(name: str) -> None:
    op, wanted = EXPECTED[name]
    acts = ACTS.clone()
    acts[:, 1] = wanted
    error = RESID - SAE.decode(ACTS)
    torch.testing.assert_close(edit_resid(RESID, SAE, [op]), SAE.decode(acts) + error)


def test_where_a_floor_or_a_cap_holds_already_no_bit_changes() -> None:
    high = RESID[ACTS[:, 1] > 0.1]
    assert torch.equal(edit_resid(high, SAE, [Floor(1, 0.1)]), high)
    assert torch.equal(edit_resid(RESID, SAE, [Cap(1, 1e6)]), RESID)
    assert torch.equal(edit_resid(RESID, SAE, [Scale(1, 1.0)]), RESID)


def test_steering_adds_the_direction_as_long_as_it_is() -> None:
    direction = torch.tensor([3.0, 0, 4, 0, 0])
    torch.testing.assert_close(edit_resid(RESID, None, [Steer(direction, -0.5)]), RESID - 0.5 * direction)


def test_operations_see_the_original_activations_and_add_up() -> None:
    crowded = planted_sae(d_in=5, d_sae=12, seed=1)  # not orthogonal: one clamp moves the others' activations
    ops = [Clamp(0, 3.0), Scale(5, 0.0), Steer(torch.ones(5), 0.1), Floor(7, 2.0)]
    added = sum(edit_resid(RESID, crowded, [op]) - RESID for op in ops)
    torch.testing.assert_close(edit_resid(RESID, crowded, ops), RESID + added)


def test_operations_on_one_feature_follow_each_other() -> None:
    both = edit_resid(RESID, SAE, [Scale(1, 3.0), Cap(1, 1.0)])
    acts = ACTS.clone()
    acts[:, 1] = (3 * ACTS[:, 1]).clamp(max=1.0)
    torch.testing.assert_close(both, SAE.decode(acts) + RESID - SAE.decode(ACTS))


def test_nothing_to_do_changes_no_bit() -> None:
    assert edit_resid(RESID, SAE, []) is RESID
    assert edit_fns([]) == {}
    assert edit_fns([Intervention(HOOK, SAE, ())]) == {}


def batch() -> tuple[Tensor, Tensor, Tensor]:
    is_generated = torch.tensor([[False, True, True, False], [False, False, False, False]])
    is_real = torch.tensor([[True, True, True, True], [True, True, False, False]])
    return RESID.reshape(2, 4, 5), is_generated, is_real


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("all", [[1, 1, 1, 1], [1, 1, 0, 0]]),
        ("prompt", [[1, 0, 0, 1], [1, 1, 0, 0]]),
        ("generated", [[0, 1, 1, 0], [0, 0, 0, 0]]),
    ],
)
def test_only_the_tokens_concerned_are_touched(where: Any, chosen: list[list[int]]) -> None:
    resid, is_generated, is_real = batch()
    before = resid.clone()
    edit = edit_fns([Intervention(HOOK, SAE, (Clamp(0, 9.0),), where)])[HOOK]
    edited = edit(resid, is_generated, is_real)
    everywhere = edit_resid(RESID, SAE, [Clamp(0, 9.0)]).reshape(2, 4, 5)
    mask = torch.tensor(chosen, dtype=torch.bool)
    torch.testing.assert_close(edited[mask], everywhere[mask])
    assert torch.equal(edited[~mask], before[~mask])
    assert torch.equal(resid, before)


def test_interventions_at_one_hook_add_up_in_any_order_and_hooks_are_apart() -> None:
    crowded = replace(planted_sae(d_in=5, d_sae=12, seed=1), name="crowded")
    first = Intervention(HOOK, SAE, (Clamp(0, 9.0),))
    second = Intervention(HOOK, crowded, (Floor(3, 5.0),), "prompt")
    third = Intervention("blocks.1.hook_resid_post", None, (Steer(torch.ones(5), 1.0),))
    resid, is_generated, is_real = batch()
    forward, backward = edit_fns([first, second, third]), edit_fns([third, second, first])
    assert set(forward) == {HOOK, third.hook_name}
    found = forward[HOOK](resid, is_generated, is_real)
    torch.testing.assert_close(found, backward[HOOK](resid, is_generated, is_real))
    apart = [edit_fns([one])[HOOK](resid, is_generated, is_real) - resid for one in (first, second)]
    torch.testing.assert_close(found, resid + apart[0] + apart[1])


def test_half_residuals_are_edited_by_a_float32_dictionary_and_stay_half() -> None:
    resid, is_generated, is_real = batch()
    edit = edit_fns([Intervention(HOOK, SAE, (Clamp(0, 2.0),))])[HOOK]
    edited = edit(resid.bfloat16(), is_generated, is_real)
    assert edited.dtype == torch.bfloat16
    torch.testing.assert_close(edited.float(), edit(resid, is_generated, is_real), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("op", [Clamp(3, 1.0), Ablate(-1)])
def test_features_that_do_not_exist_are_refused(op: Op) -> None:
    feature_idx = getattr(op, "feature_idx", None)
    with pytest.raises(UserError, match=rf"feature {feature_idx} does not exist: SAE planted has 3"):
        Intervention(HOOK, SAE, (op,))


def test_a_feature_needs_an_sae() -> None:
    with pytest.raises(UserError, match=rf"intervention at {HOOK}: Clamp.* needs an SAE"):
        Intervention(HOOK, None, (Clamp(0, 1.0),))


def test_a_dose_is_the_added_length_over_the_mean_length() -> None:
    long = replace(SAE, W_dec=3 * SAE.W_dec)
    value = floor_for_dose(long, 2, mean_resid_norm=20.0, dose=0.3)
    added = edit_resid(torch.zeros(1, 5), replace(long, W_enc=0 * long.W_enc), [Floor(2, value)])
    assert added.norm().item() == pytest.approx(6.0)
    with pytest.raises(UserError, match="feature 1 of SAE planted writes nothing"):
        floor_for_dose(replace(SAE, W_dec=0 * SAE.W_dec), 1, 1.0, 0.3)


def test_the_mean_norm_leaves_out_special_tokens() -> None:
    lm = planted_lm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), ["long", "short"])  # NaN at BOS
    documents = [lm.document("long short"), lm.document("short")]
    assert mean_resid_norm(lm, documents, "blocks.0.hook_resid_post") == pytest.approx(7 / 3)
    with pytest.raises(UserError, match="no text"):
        mean_resid_norm(lm, [lm.document("")], "blocks.0.hook_resid_post")
