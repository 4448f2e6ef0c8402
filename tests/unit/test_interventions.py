"""Interventions do to the planted features what they say, to no other, and only where they say."""

from __future__ import annotations

import math
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
    ProjectOut,
    Scale,
    Steer,
    Tokens,
    edit_fns,
    edit_resid,
    max_of_values,
    mean_resid_norm,
    norm_for_kl,
    norm_of_values,
    values_for_max,
    values_for_norm,
)
from emosae.prompts import Prompt, TokenMarks, pad_right

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


def batch() -> tuple[Tensor, TokenMarks]:
    """Two texts: a turn of the assistant that was given, one that was generated; and a short one, padded."""
    yes, no = True, False
    marks = TokenMarks(
        is_real=torch.tensor([[yes, yes, yes, yes], [yes, yes, no, no]]),
        is_generated=torch.tensor([[no, no, yes, no], [no, no, no, no]]),
        is_assistant=torch.tensor([[yes, no, yes, no], [no, yes, no, no]]),
        turn=torch.tensor([[1, 1, 2, 2], [0, 1, 1, 1]]),
        position=torch.tensor([[0, 1, 2, 3], [6, 7, 8, 9]]),
    )
    return RESID.reshape(2, 4, 5), marks


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("all", [[1, 1, 1, 1], [1, 1, 0, 0]]),
        ("prompt", [[1, 1, 0, 1], [1, 1, 0, 0]]),
        ("generated", [[0, 0, 1, 0], [0, 0, 0, 0]]),
        ("assistant", [[1, 0, 1, 0], [0, 1, 0, 0]]),
        (Tokens(from_turn=1), [[1, 1, 1, 1], [0, 1, 0, 0]]),
        (Tokens(from_turn=2), [[0, 0, 1, 1], [0, 0, 0, 0]]),
        (Tokens("prompt", from_turn=2), [[0, 0, 0, 1], [0, 0, 0, 0]]),
        (Tokens(span=(1, 7)), [[0, 1, 1, 1], [1, 0, 0, 0]]),
        (Tokens("assistant", span=(2, None)), [[0, 0, 1, 0], [0, 1, 0, 0]]),
    ],
)
def test_only_the_tokens_concerned_are_touched(where: Any, chosen: list[list[int]]) -> None:
    resid, marks = batch()
    before = resid.clone()
    edit = edit_fns([Intervention(HOOK, SAE, (Clamp(0, 9.0),), where)])[HOOK]
    edited = edit(resid, marks)
    everywhere = edit_resid(RESID, SAE, [Clamp(0, 9.0)]).reshape(2, 4, 5)
    mask = torch.tensor(chosen, dtype=torch.bool)
    torch.testing.assert_close(edited[mask], everywhere[mask])
    assert torch.equal(edited[~mask], before[~mask])
    assert torch.equal(resid, before)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"span": (3, 3)}, "tokens 3 to 3: a span"),
        ({"span": (-2, None)}, "tokens -2 to None: a span counts from 0"),
        ({"from_turn": -1}, "turn -1: turns of the assistant count from 1"),
    ],
)
def test_rules_that_name_no_token_are_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Tokens(**rule)


def test_turns_are_counted_by_what_the_assistant_wrote_or_was_given_to_say() -> None:
    prompt = Prompt((5, 6, 7, 8), assistant=(False, True, True, False))
    assert prompt.turns == (0, 1, 1, 1)
    assert prompt.next_turn == 2
    later = prompt.then([9], ()).then([3], [4, 4])  # one turn, told token by token
    assert later.turns == (0, 1, 1, 1, 2, 2, 2, 2)
    assert later.assistant_flags == (False, True, True, False, True, True, False, False)
    assert later.flags == (False, False, False, False, True, True, False, False)
    assert (Prompt((1,)).next_turn, Prompt((1,)).then([2], ()).next_turn) == (1, 1)
    assert Prompt((1,)).then([2], [3]).assistant_flags == (False, True, False)
    with pytest.raises(ValueError, match="2 ids has 1 flags"):
        Prompt((1, 2), assistant=(True,))


def test_a_text_that_is_cut_keeps_its_places_and_turns() -> None:
    prompt = Prompt((5, 6, 7)).then([8, 9], [4])
    whole, cut = pad_right([prompt, Prompt((1, 2))], "cpu"), pad_right([prompt, Prompt((1, 2))], "cpu", [4, 1])
    assert cut.ids.tolist() == [[9, 4], [2, 2]]
    for name in ("is_generated", "is_assistant", "turn", "position"):
        found, expected = getattr(cut.marks, name), getattr(whole.marks, name)
        assert found[0].tolist() == expected[0, 4:].tolist()
        assert found[1, 0] == expected[1, 1]
    assert cut.is_real.tolist() == [[True, True], [True, False]]


def test_interventions_at_one_hook_add_up_in_any_order_and_hooks_are_apart() -> None:
    crowded = replace(planted_sae(d_in=5, d_sae=12, seed=1), name="crowded")
    first = Intervention(HOOK, SAE, (Clamp(0, 9.0),))
    second = Intervention(HOOK, crowded, (Floor(3, 5.0),), "prompt")
    steer = Intervention(HOOK, None, (Steer(torch.ones(5), 0.3), Steer(torch.arange(5.0), 0.1)), "assistant")
    apart = Intervention("blocks.1.hook_resid_post", None, (Steer(torch.ones(5), 1.0),))
    resid, marks = batch()
    forward, backward = edit_fns([first, second, steer, apart]), edit_fns([apart, steer, second, first])
    assert set(forward) == {HOOK, apart.hook_name}
    found = forward[HOOK](resid, marks)
    torch.testing.assert_close(found, backward[HOOK](resid, marks))
    alone = [edit_fns([one])[HOOK](resid, marks) - resid for one in (first, second, steer)]
    torch.testing.assert_close(found, resid + sum(alone))


def test_interventions_on_one_feature_follow_each_other_where_both_act() -> None:
    resid, marks = batch()
    everywhere, wrote = (
        Intervention(HOOK, SAE, (Clamp(1, 3.0),)),
        Intervention(HOOK, SAE, (Scale(1, 2.0),), "generated"),
    )
    for order, value in (((everywhere, wrote), 6.0), ((wrote, everywhere), 3.0)):
        found = edit_fns(order)[HOOK](resid, marks)
        for mask, expected in ((marks.is_generated, value), (marks.is_real & ~marks.is_generated, 3.0)):
            torch.testing.assert_close(found[mask], edit_resid(resid[mask], SAE, [Clamp(1, expected)]))


def test_nothing_is_left_along_what_is_projected_out_whatever_else_is_done() -> None:
    oblique = torch.tensor([[1.0, 2, 0, 0, 0], [0.0, 1, 1, 0, 0], [-2.0, -4, 0, 0, 0]])  # the third repeats the first
    ops = [
        ProjectOut(oblique[0]),
        Clamp(0, 9.0),
        Steer(oblique[0], 3.0),
        ProjectOut(oblique[1]),
        ProjectOut(oblique[2]),
    ]
    found = edit_resid(RESID, SAE, ops)
    torch.testing.assert_close(found @ oblique.T, torch.zeros(8, 3), atol=1e-5, rtol=0)
    without = edit_resid(RESID, SAE, [op for op in ops if not isinstance(op, ProjectOut)])
    basis = torch.linalg.qr(oblique[:2].T).Q
    torch.testing.assert_close(found, without - without @ basis @ basis.T)
    again = edit_resid(RESID, None, [ProjectOut(7 * oblique[1])])
    torch.testing.assert_close(again, RESID - torch.outer(RESID @ oblique[1], oblique[1]) / 2)


def test_directions_that_meet_at_a_token_are_projected_out_together() -> None:
    resid, marks = batch()
    a, b = torch.tensor([1.0, 2, 0, 0, 0]), torch.tensor([0.0, 1, 1, 0, 0])
    both = [Intervention(HOOK, None, (ProjectOut(a),)), Intervention(HOOK, None, (ProjectOut(b),), "assistant")]
    found = edit_fns(both)[HOOK](resid, marks)
    torch.testing.assert_close((found @ a)[marks.is_real], torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close((found @ b)[marks.is_assistant], torch.zeros(3), atol=1e-5, rtol=0)
    only_a = marks.is_real & ~marks.is_assistant
    torch.testing.assert_close(found[only_a], edit_resid(resid[only_a], None, [ProjectOut(a)]))
    assert torch.equal(found[~marks.is_real], resid[~marks.is_real])


def test_no_direction_is_not_projected_out() -> None:
    with pytest.raises(UserError, match="direction of length 0 cannot be projected out"):
        ProjectOut(torch.zeros(5))


def test_half_residuals_are_edited_by_a_float32_dictionary_and_stay_half() -> None:
    resid, marks = batch()
    edit = edit_fns([Intervention(HOOK, SAE, (Clamp(0, 2.0),))])[HOOK]
    edited = edit(resid.bfloat16(), marks)
    assert edited.dtype == torch.bfloat16
    torch.testing.assert_close(edited.float(), edit(resid, marks), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("op", [Clamp(3, 1.0), Ablate(-1)])
def test_features_that_do_not_exist_are_refused(op: Op) -> None:
    feature_idx = getattr(op, "feature_idx", None)
    with pytest.raises(UserError, match=rf"feature {feature_idx} does not exist: SAE planted has 3"):
        Intervention(HOOK, SAE, (op,))


def test_a_feature_needs_an_sae() -> None:
    with pytest.raises(UserError, match=rf"intervention at {HOOK}: Clamp.* needs an SAE"):
        Intervention(HOOK, None, (Clamp(0, 1.0),))


LONG = replace(SAE, W_dec=torch.tensor([[3.0], [0.5], [2.0]]) * SAE.W_dec)


@pytest.mark.parametrize("feature_idx", [(2,), (0, 2), (0, 1, 2)])
def test_a_dose_is_the_added_length_over_the_mean_length(feature_idx: tuple[int, ...]) -> None:
    values = values_for_norm(LONG, feature_idx, 20.0, 0.3)
    ops = [Floor(index, value) for index, value in zip(feature_idx, values, strict=True)]
    silent = replace(LONG, W_enc=0 * LONG.W_enc)
    added = edit_resid(torch.zeros(1, 5), silent, ops)
    assert added.norm().item() == pytest.approx(6.0)
    shares = (added @ SAE.W_dec.T)[0, list(feature_idx)]
    torch.testing.assert_close(shares, shares[:1].expand(len(feature_idx)))
    assert norm_of_values(LONG, feature_idx, 20.0, values) == pytest.approx(0.3)


def test_a_dose_of_the_maximum_is_a_factor_of_each_features_own() -> None:
    assert values_for_max((4.0, 10.0), 1.5) == (6.0, 15.0)
    assert max_of_values(values_for_max((4.0, 10.0), 1.5), (4.0, 10.0)) == pytest.approx(1.5)
    assert max_of_values((4.0, 20.0), (4.0, 10.0)) == pytest.approx(1.5)
    assert math.isnan(max_of_values((4.0,), ()))
    norm = norm_of_values(LONG, (0, 2), 20.0, values_for_max((4.0, 10.0), 1.5))
    assert norm == pytest.approx(math.hypot(6.0 * 3, 15.0 * 2) / 20)


def test_a_dose_of_kl_is_found_again() -> None:
    found = norm_for_kl(lambda dose: 2 * dose**2, 0.5, 4.0)
    assert found == pytest.approx(0.5, abs=4 / 2**12)
    assert math.isnan(norm_for_kl(lambda dose: dose, 0.5, 0.4))
    with pytest.raises(UserError, match="a KL of 0: give one above 0"):
        norm_for_kl(lambda dose: dose, 0.0, 1.0)


def test_features_that_write_nothing_have_no_dose() -> None:
    mute = replace(SAE, W_dec=torch.tensor([[1.0], [0.0], [1.0]]) * SAE.W_dec)
    with pytest.raises(UserError, match="feature 1 of SAE planted writes nothing"):
        values_for_norm(mute, (0, 1), 1.0, 0.3)


def test_the_mean_norm_leaves_out_special_tokens() -> None:
    lm = planted_lm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), ["long", "short"])  # NaN at BOS
    documents = [lm.document("long short"), lm.document("short")]
    assert mean_resid_norm(lm, documents, "blocks.0.hook_resid_post") == pytest.approx(7 / 3)
    with pytest.raises(UserError, match="no text"):
        mean_resid_norm(lm, [lm.document("")], "blocks.0.hook_resid_post")
