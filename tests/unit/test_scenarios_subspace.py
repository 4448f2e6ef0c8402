"""The emotion subspace, a dial's parts on either side of it, and that parts add what the whole adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from planted import planted_sae
from sklearn.decomposition import PCA
from torch import Tensor

from emosae.errors import UserError
from emosae.interventions import Floor, edit_resid
from emosae.interventions.redirect import Redirected
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.part_arms import build_part_arms
from emosae.scenarios.subspace import (
    Subspace,
    draw_matched_subspace,
    draw_subspace,
    draw_varying_subspace,
    find_emotion_subspace,
    has_part,
    turn_part,
)

D_IN, DOSE = 64, 0.5
SAE = planted_sae(D_IN, 24, seed=2)
CROWDED = planted_sae(16, 40, seed=3)
RESID = 2 * torch.randn(50, D_IN, generator=torch.Generator().manual_seed(0))
DIAL = FeatureSet("desperate", SAE, (3, 5), resid_norm=4.0)


def planted_vectors(rng: np.random.Generator, rank: int, noise: float = 0.01) -> tuple[dict[str, Tensor], np.ndarray]:
    """Emotion vectors that lie, but for noise, in a subspace of that rank; and its basis."""
    basis = np.linalg.qr(rng.standard_normal((D_IN, rank)))[0].T
    rows = 3 * rng.standard_normal((12, rank)) @ basis + noise * rng.standard_normal((12, D_IN))
    return {f"emotion {n}": torch.from_numpy(row).float() for n, row in enumerate(rows)}, basis


def test_the_planted_subspace_is_found(rng: np.random.Generator) -> None:
    vectors, basis = planted_vectors(rng, rank=4)
    found = find_emotion_subspace(vectors, held=0.99)
    assert found.rank == 4
    assert 0.99 <= found.held < 1
    cosines = np.linalg.svd(found.basis @ basis.T, compute_uv=False)
    assert cosines.min() > 0.999


def test_components_and_their_share_are_scikit_learns(rng: np.random.Generator) -> None:
    vectors, _ = planted_vectors(rng, rank=6, noise=0.5)
    found = find_emotion_subspace(vectors)
    fit = PCA(svd_solver="full").fit(torch.stack([vectors[name] for name in sorted(vectors)]).double().numpy())
    held = np.cumsum(fit.explained_variance_ratio_)
    assert found.rank == int(np.flatnonzero(held >= 0.90)[0]) + 1
    assert found.held == pytest.approx(held[found.rank - 1])
    ours, theirs = (rows.T @ rows for rows in (found.basis, fit.components_[: found.rank]))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_the_rank_is_an_eighth_of_the_width_at_most(rng: np.random.Generator) -> None:
    vectors, _ = planted_vectors(rng, rank=11)
    found = find_emotion_subspace(vectors, held=1.0)
    assert found.rank == D_IN // 8
    assert found.held < 1


def test_emotions_that_do_not_differ_span_nothing() -> None:
    same = dict.fromkeys(("angry", "calm"), torch.arange(16.0))
    assert find_emotion_subspace(same).rank == 0
    assert find_emotion_subspace(dict.fromkeys(("angry", "calm"), torch.zeros(16))).rank == 0


def test_the_parts_sum_to_the_direction_and_are_orthogonal(rng: np.random.Generator) -> None:
    for subspace in (draw_subspace(5, D_IN, rng), Subspace(np.zeros((0, D_IN))), Subspace(np.eye(D_IN))):
        direction = torch.from_numpy(rng.standard_normal(D_IN))
        inside, outside = subspace.split(direction)
        assert float((inside + outside - direction).abs().max()) < 1e-12
        assert abs(float(inside @ outside)) < 1e-12
        assert subspace.energy(direction) == pytest.approx(1 - float(outside.square().sum() / direction.square().sum()))


def test_a_random_subspace_holds_its_rank_over_the_width(rng: np.random.Generator) -> None:
    """The energy inside is Beta(r / 2, (d - r) / 2), with mean r / d."""
    direction = torch.from_numpy(rng.standard_normal(D_IN)).float()
    energies = np.array([draw_subspace(8, D_IN, rng).energy(direction) for _ in range(2000)])
    spread = math.sqrt(2 * 8 * (D_IN - 8) / (D_IN**2 * (D_IN + 2)))
    assert energies.mean() == pytest.approx(8 / D_IN, abs=4 * spread / math.sqrt(2000))
    assert energies.std() == pytest.approx(spread, rel=0.1)


def test_a_varying_subspace_lies_where_residuals_vary(rng: np.random.Generator) -> None:
    basis = np.linalg.qr(rng.standard_normal((D_IN, 6)))[0].T
    resid = torch.from_numpy(rng.standard_normal((40, 6)) @ basis + 5.0).float()
    found = draw_varying_subspace(resid, 3, rng)
    assert found.rank == 3
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(3), atol=1e-12)
    assert np.linalg.svd(found.basis @ basis.T, compute_uv=False).min() > 1 - 1e-6
    with pytest.raises(UserError, match="3 residuals"):
        draw_varying_subspace(resid[:3], 3, rng)


def test_a_matched_subspace_holds_as_much_of_the_direction_and_is_random_otherwise(rng: np.random.Generator) -> None:
    direction = -torch.from_numpy(rng.standard_normal(D_IN))
    drawn = [draw_matched_subspace(direction, 0.4, 6, rng) for _ in range(400)]
    for one in drawn[:20]:
        np.testing.assert_allclose(one.basis @ one.basis.T, np.eye(6), atol=1e-12)
        assert one.energy(direction) == pytest.approx(0.4, abs=1e-12)
    other = torch.from_numpy(rng.standard_normal(D_IN))
    other -= (other @ direction) / (direction @ direction) * direction
    expected = (6 - 0.4) / (D_IN - 1)  # what is left of the rank, over the dimensions across the direction
    assert np.mean([one.energy(other) for one in drawn]) == pytest.approx(expected, abs=0.01)
    with pytest.raises(UserError, match="rank 64"):
        draw_matched_subspace(direction, 0.4, D_IN, rng)


@pytest.mark.parametrize("features", [DIAL, FeatureSet("one", CROWDED, (7,), resid_norm=3.0)])
def test_both_parts_together_add_what_up_adds(features: FeatureSet, rng: np.random.Generator) -> None:
    d_in = features.dictionary.d_in
    resid = RESID[:, :d_in]
    subspace = draw_subspace(d_in // 8, d_in, rng)
    sides = [turn_part(features, subspace, side, DOSE) for side in ("inside", "outside")]
    added = [edit_resid(resid, one.dictionary, one.ops) - resid for one in sides]
    whole = features.up(DOSE)
    expected = edit_resid(resid, whole.dictionary, whole.ops) - resid
    assert float((added[0] + added[1] - expected).abs().max()) < 1e-6
    assert float((added[0] @ torch.from_numpy(subspace.basis).float().T).norm()) > 0.1
    assert float((added[1] @ torch.from_numpy(subspace.basis).float().T).abs().max()) < 1e-5


def test_an_equal_norm_part_is_as_long_as_the_whole_and_points_like_the_part(rng: np.random.Generator) -> None:
    subspace = draw_subspace(8, D_IN, rng)
    silent = RESID - SAE.encode(RESID) @ SAE.W_dec  # no feature fires, so that a floor adds its most
    silent = silent - silent @ SAE.W_dec.T @ SAE.W_dec
    for side in ("inside", "outside"):
        own, long = (turn_part(DIAL, subspace, side, DOSE, equal_norm=equal) for equal in (False, True))
        natural, lengthened = (edit_resid(silent, one.dictionary, one.ops) - silent for one in (own, long))
        np.testing.assert_allclose(lengthened.norm(dim=1), DOSE * DIAL.resid_norm, rtol=1e-4)
        assert float(natural.norm(dim=1).max()) < DOSE * DIAL.resid_norm
        assert float(torch.cosine_similarity(natural, lengthened).min()) > 1 - 1e-5


def test_a_part_without_length_has_no_arm_and_cannot_be_lengthened() -> None:
    spanned = Subspace(np.linalg.qr(SAE.W_dec[[3, 5]].double().numpy().T)[0].T)
    assert has_part(DIAL, spanned, "inside", DOSE)
    assert not has_part(DIAL, spanned, "outside", DOSE)
    with pytest.raises(UserError, match="no part outside"):
        turn_part(DIAL, spanned, "outside", DOSE, equal_norm=True)
    arms = build_part_arms(DIAL, spanned, {}, DOSE, n_episodes=4)
    assert [(arm.condition, arm.method) for arm in arms] == [("inside", "natural"), ("inside", "equal norm")]


def test_arms_are_told_apart(rng: np.random.Generator) -> None:
    emotion, controls = draw_subspace(8, D_IN, rng), {f"random {n}": draw_subspace(8, D_IN, rng) for n in range(3)}
    arms = build_part_arms(DIAL, emotion, controls, DOSE, n_episodes=4)
    assert len({arm.slug for arm in arms}) == len(arms) == 7
    assert len({one.dictionary.name for arm in arms for one in arm.interventions if one.dictionary}) == 7
    assert [arm.role for arm in arms] == ["target"] * 4 + ["control"] * 3


def test_a_redirected_feature_reads_as_ever_and_writes_elsewhere() -> None:
    elsewhere = torch.ones(D_IN)
    moved = Redirected(SAE, {3: elsewhere})
    acts = SAE.encode(RESID)
    assert torch.equal(moved.encode(RESID), acts)
    assert torch.equal(moved.direction(3), elsewhere)
    assert torch.equal(moved.direction(4), SAE.direction(4))
    assert (moved.d_in, moved.d_sae, moved.hook_name) == (SAE.d_in, SAE.d_sae, SAE.hook_name)
    one = torch.zeros(2, SAE.d_sae)
    one[0, 3] = 1
    torch.testing.assert_close(moved.decode(one)[0] - moved.decode(one)[1], elsewhere)
    added = edit_resid(RESID, moved, [Floor(3, 1.5), Floor(4, 1.0)]) - RESID
    expected = (1.5 - acts[:, 3:4]).relu() * elsewhere + (1.0 - acts[:, 4:5]).relu() * SAE.direction(4)
    torch.testing.assert_close(added, expected)
    assert moved.name != Redirected(SAE, {3: 2 * elsewhere}).name
    assert moved.name == Redirected(SAE, {3: elsewhere.clone()}).name
