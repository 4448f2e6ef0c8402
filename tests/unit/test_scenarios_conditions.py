"""Arms do what their names say, in the units that tables report."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import HOOK, planted_sae

from emosae.errors import UserError
from emosae.interventions import edit_fns, edit_resid
from emosae.prompts import TokenMarks
from emosae.scenarios.conditions import (
    NONE,
    FeatureSet,
    Vector,
    build_conditions,
    draw_direction,
    draw_matched_direction,
    draw_matched_features,
    hide_naming,
)

SAE = planted_sae(d_in=8, d_sae=6)
NORM = 5.0


def features(name: str, *feature_idx: int) -> FeatureSet:
    return FeatureSet(name, SAE, feature_idx, NORM, max_act=(2.0,) * len(feature_idx))


def silent_resid() -> torch.Tensor:
    """Residuals on which no feature fires."""
    return -3.0 * SAE.W_dec.sum(dim=0).expand(4, -1)


@given(dose=st.floats(0.05, 1.0), chosen=st.sets(st.integers(0, 5), min_size=1, max_size=3))
def test_up_adds_the_dose_to_silent_features(dose: float, chosen: set[int]) -> None:
    [*ops] = features("desperate", *chosen).up(dose).ops
    resid = silent_resid()
    added = (edit_resid(resid, SAE, ops) - resid).norm(dim=1)
    # orthonormal rows: each feature is silent at a hidden value of -3 and is given its floor
    torch.testing.assert_close(added, torch.full((4,), dose * NORM), rtol=1e-4, atol=1e-4)


def test_up_leaves_a_feature_that_is_louder_and_off_silences_it() -> None:
    resid = 9.0 * SAE.W_dec[2].expand(3, -1)
    dial = features("desperate", 2)
    torch.testing.assert_close(edit_resid(resid, SAE, dial.up(0.3).ops), resid)
    assert SAE.encode(edit_resid(resid, SAE, dial.off().ops)).norm() < 1e-4


def test_down_takes_away_as_much_as_up_adds() -> None:
    resid = torch.randn(5, 8)
    for chosen in ((1,), (1, 4)):
        dial = features("desperate", *chosen)
        change = edit_resid(resid, None, dial.down(0.3).ops) - resid
        torch.testing.assert_close(change.norm(dim=1), torch.full((5,), 0.3 * NORM))
        assert (change @ SAE.W_dec[list(chosen)].T < 0).all()


def test_a_vector_is_added_at_the_dose_whatever_its_length() -> None:
    vector = Vector("desperate", HOOK, 40 * torch.randn(8), NORM)
    resid = torch.randn(5, 8)
    for dose in (0.3, -0.3):
        change = edit_resid(resid, None, vector.steer(dose).ops) - resid
        torch.testing.assert_close(change.norm(dim=1), torch.full((5,), 0.3 * NORM))
        assert ((change @ vector.direction) * dose > 0).all()


def test_only_what_the_model_writes_is_touched() -> None:
    [condition] = [one for one in build_conditions(dose=0.3, targets=[features("a", 0)]) if one.condition == "down"]
    resid = torch.randn(1, 4, 8)
    generated = torch.tensor([[False, True, False, True]])
    real, turn = torch.ones_like(generated), torch.zeros(1, 4, dtype=torch.long)
    marks = TokenMarks(real, generated, generated, turn, turn)
    edited = edit_fns(condition.interventions)[HOOK](resid, marks)
    assert ((edited != resid).any(dim=2) == generated).all()


def test_a_dose_is_also_told_in_maxima() -> None:
    assert features("a", 0).dose_of_max(0.4) == pytest.approx(0.4 * NORM / 2.0)
    assert np.isnan(FeatureSet("a", SAE, (0,), NORM).dose_of_max(0.4))


def all_arms() -> list:
    return build_conditions(
        dose=0.3,
        targets=[features("desperate", 0)],
        opponents=[features("calm", 1)],
        decoys=[features("proud", 2), features("curious", 3)],
        random_sets=[features("random 0", 4), features("random 1", 5)],
        vectors=[Vector(name, HOOK, torch.ones(8), NORM) for name in ("desperate", "calm", "proud")],
        directions=[Vector("random direction", HOOK, torch.ones(8), NORM)],
        other_doses=[0.15, 0.45],
    )


def test_all_arms_of_the_contract_are_there() -> None:
    found = [(one.condition, one.dial, one.method, one.role, one.dose, one.primary) for one in all_arms()]
    for expected in [
        ("none", "-", "-", "none", 0.0, True),
        ("up", "desperate", "sae", "target", 0.3, True),
        ("down", "desperate", "sae", "target", 0.3, True),
        ("off", "desperate", "sae", "target", 0.0, True),
        ("up", "desperate", "sae", "target", 0.45, False),
        ("up", "calm", "sae", "opponent", 0.3, True),
        ("off", "calm", "sae", "opponent", 0.0, True),
        ("up", "proud", "sae", "decoy", 0.3, True),
        ("random", "random 1", "sae", "control", 0.3, True),
        ("up", "desperate", "vector", "target", 0.3, True),
        ("down", "calm", "vector", "opponent", 0.3, True),
        ("up", "proud", "vector", "decoy", 0.3, True),
        ("direction", "random direction", "vector", "control", 0.3, True),
        ("prompt", "calm words", "-", "control", 0.0, True),
    ]:
        assert found.count(expected) == 1
    assert len(found) == 21
    assert found[0][0] == "none"


def test_every_dial_has_its_own_dose_and_controls_that_of_the_experiment() -> None:
    arms = build_conditions(
        dose=0.3,
        doses={"calm": 0.15, "proud": 0.2},
        targets=[features("desperate", 0)],
        opponents=[features("calm", 1)],
        decoys=[features("proud", 2), features("curious", 3)],
        random_sets=[features("random 0", 4)],
        vectors=[Vector(name, HOOK, torch.ones(8), NORM) for name in ("desperate", "calm")],
        other_doses=[0.15],
        composure_doses=[0.3, 0.15],
    )
    turned = {(one.condition, one.dial, one.method): one.dose for one in arms if one.primary and one.interventions}
    assert turned == {
        ("up", "desperate", "sae"): 0.3,
        ("down", "desperate", "sae"): 0.3,
        ("off", "desperate", "sae"): 0.0,
        ("up", "calm", "sae"): 0.15,
        ("off", "calm", "sae"): 0.0,
        ("up", "proud", "sae"): 0.2,
        ("up", "curious", "sae"): 0.3,
        ("random", "random 0", "sae"): 0.3,
        **{(way, "desperate", "vector"): 0.3 for way in ("up", "down")},
        **{(way, "calm", "vector"): 0.15 for way in ("up", "down")},
    }
    others = [(one.dial, one.dose) for one in arms if not one.primary]
    assert others == [("desperate", 0.15), ("calm", 0.3)]  # calm has 0.15 already, as its own
    for one in arms:
        if one.condition in ("up", "random") and one.method == "sae":
            [intervention] = one.interventions
            change = edit_resid(torch.zeros(1, 8), SAE, intervention.ops)
            assert float(change.norm()) == pytest.approx(one.dose * NORM)


def test_arms_have_names_that_differ_and_fit_a_disk() -> None:
    arms = all_arms() + hide_naming(all_arms(), ["desperate"])
    assert len({one.slug for one in arms}) == 42
    assert all(set(one.slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for one in arms)
    assert not NONE.hides_naming
    with pytest.raises(UserError, match=r"two arms are called up_proud_sae_0\.3"):
        build_conditions(dose=0.3, targets=[features("proud", 0)], decoys=[features("proud", 1)])


def test_a_feature_that_writes_nothing_has_no_dose() -> None:
    mute = planted_sae(d_in=8, d_sae=6)
    mute.W_dec[3] = 0
    with pytest.raises(UserError, match="writes nothing"):
        FeatureSet("a", mute, (3,), NORM).up(0.3)


@given(seed=st.integers(0, 99), n_sets=st.integers(1, 4), size=st.integers(1, 3))
def test_random_sets_are_disjoint_matched_and_never_of_an_emotion(seed: int, n_sets: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rates, norms = rng.uniform(0, 0.3, 80), rng.uniform(0.8, 1.2, 80)
    rates[:10] = 0
    excluded = range(60, 80)
    target = tuple(int(index) for index in rng.choice(np.arange(10, 80), size, replace=False))
    sets = draw_matched_features(rates, norms, excluded, target, n_sets, rng)
    drawn = [index for one in sets for index in one]
    assert [len(one) for one in sets] == [size] * n_sets
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & {*excluded, *target, *range(10)}


def test_random_sets_are_as_loud_as_the_dial() -> None:
    rng = np.random.default_rng(0)
    rates, norms = np.geomspace(1e-4, 0.5, 500), np.ones(500)
    for target in (50, 250, 450):
        for one in draw_matched_features(rates, norms, [], (target,), 3, rng):
            assert 0.7 < rates[one[0]] / rates[target] < 1.4


def test_too_few_features_are_refused() -> None:
    with pytest.raises(UserError, match="3 random sets of 2 features cannot be drawn: 4 features fire"):
        draw_matched_features(np.full(9, 0.1), np.ones(9), [0, 1, 2], (3, 4), 3, np.random.default_rng(0))


def test_directions_are_unit_and_the_matched_one_lies_where_residuals_vary() -> None:
    rng = np.random.default_rng(0)
    resid = torch.randn(50, 8) * torch.tensor([9.0, 5, 0, 0, 0, 0, 0, 0]) + 100
    matched = draw_matched_direction(resid, rng)
    torch.testing.assert_close(matched[2:], torch.zeros(6))
    for direction in (matched, draw_direction(8, rng)):
        assert direction.norm() == pytest.approx(1.0)


def test_the_honest_way_out_is_an_arm_of_its_own() -> None:
    with_it = build_conditions(dose=0.3, targets=[features("a", 0)], way_out=True)
    without = build_conditions(dose=0.3, targets=[features("a", 0)])
    assert [one.slug for one in with_it[:-1]] == [one.slug for one in without]
    assert (with_it[-1].condition, with_it[-1].dial, with_it[-1].role) == ("prompt", "way out", "control")
    assert "It cannot be done" in with_it[-1].instruction
    assert not any("cannot" in one.instruction for one in without)
