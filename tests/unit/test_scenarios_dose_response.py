"""Dose-response: against statsmodels, and against doses whose effect is planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm, t

from emosae.scenarios.dose_response import fit_doses
from emosae.scenarios.gee import fit_logistic

DOSES = (0.0, 0.1, 0.2, 0.4, 0.6)


def draw(
    rng: np.random.Generator, n_tasks: int, per_task: int, slope: float = 0.0, bend: float = 0.0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes whose log-odds vary by task; arms share half of each episode's luck, as paired arms do."""
    shape = (n_tasks, per_task, len(DOSES))
    doses = np.broadcast_to(np.array(DOSES), shape)
    luck = np.sqrt(0.5) * (rng.normal(size=(n_tasks, per_task, 1)) + rng.normal(size=shape))
    odds = -1.0 + spread * rng.normal(size=(n_tasks, 1, 1)) + slope * doses + bend * doses**2
    tasks = np.broadcast_to(np.arange(n_tasks)[:, None, None], shape)
    return (norm.cdf(luck) < expit(odds)).astype(float).ravel(), doses.ravel(), tasks.ravel()


@pytest.mark.parametrize("n_tasks", [6, 12, 60])
def test_the_fit_is_that_of_statsmodels(rng: np.random.Generator, n_tasks: int) -> None:
    import statsmodels.api as sm

    tasks = np.repeat(np.arange(n_tasks), rng.integers(2, 9, n_tasks))
    doses = rng.choice(DOSES, len(tasks))
    outcomes = (rng.random(len(tasks)) < expit(rng.normal(size=n_tasks)[tasks] - 1 + 3 * doses)).astype(float)
    design = np.stack([np.ones(len(tasks)), doses], axis=1)
    model = sm.GEE(
        outcomes, design, groups=tasks, family=sm.families.Binomial(), cov_struct=sm.cov_struct.Exchangeable()
    )
    expected = model.fit(cov_type="bias_reduced", ctol=1e-12, maxiter=300)
    found = fit_logistic(outcomes, design, tasks)
    assert found is not None
    assert found.coefficients == pytest.approx(expected.params, abs=1e-6)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(expected.bse, rel=1e-5)
    assert np.sqrt(np.diag(found.naive)) == pytest.approx(model.fit(cov_type="naive", ctol=1e-12).bse, rel=1e-5)
    assert found.correlation == pytest.approx(model.cov_struct.dep_params, abs=1e-6)
    z = expected.params[1] / expected.bse[1]
    assert found.interval(1).p == pytest.approx(2 * t.sf(abs(z), n_tasks - 2), rel=1e-4)


def test_order_and_names_of_tasks_do_not_matter(rng: np.random.Generator) -> None:
    outcomes, doses, tasks = draw(rng, 15, 3, slope=2.0)
    order = rng.permutation(len(tasks))
    expected = fit_doses(outcomes, doses, tasks)
    found = fit_doses(outcomes[order], doses[order], np.array([f"t{task}" for task in tasks[order]]))
    assert (found.slope.lo, found.bend.hi) == pytest.approx((expected.slope.lo, expected.bend.hi))


def test_a_line_has_a_slope_and_no_bend(rng: np.random.Generator) -> None:
    found = fit_doses(*draw(rng, 300, 2, slope=3.0, spread=0.0))
    assert found.slope.lo < 3.0 < found.slope.hi
    assert found.slope.p < 1e-6
    assert found.bend.p > 0.01


def test_a_rise_that_turns_is_seen_though_its_line_is_flat(rng: np.random.Generator) -> None:
    found = fit_doses(*draw(rng, 150, 2, slope=12.0, bend=-20.0))
    assert found.bend.hi < 0
    assert found.turn == pytest.approx(0.3, abs=0.05)


def test_a_dose_without_cheats_still_has_a_finite_slope() -> None:
    tasks = np.tile(np.repeat(np.arange(20), 5), 3)
    doses = np.repeat([0.0, 0.2, 0.4], 100)
    outcomes = np.where(doses == 0, (np.arange(300) % 5 == 0).astype(float), 0.0)
    found = fit_doses(outcomes, doses, tasks)
    assert found.slope.hi < 0
    assert np.isfinite([found.slope.lo, found.bend.lo, found.bend.hi]).all()
    silent = fit_doses(np.zeros(300), doses, tasks)
    assert silent.slope.lo < 0 < silent.slope.hi


def test_two_doses_have_no_bend_and_one_task_says_nothing(rng: np.random.Generator) -> None:
    outcomes, doses, tasks = draw(rng, 20, 3, slope=3.0)
    two = np.isin(doses, (0.0, 0.6))
    assert np.isnan(fit_doses(outcomes[two], doses[two], tasks[two]).bend.estimate)
    assert np.isnan(fit_doses(outcomes, doses, np.zeros(len(tasks))).slope.estimate)
    assert np.isnan(fit_doses(outcomes[two], np.zeros(two.sum()), tasks[two]).slope.estimate)


def rejections(rng: np.random.Generator, n_tasks: int, per_task: int, repeats: int) -> np.ndarray:
    """Shares of draws without any effect in which slope and bend have p < 0.05."""
    found = [fit_doses(*draw(rng, n_tasks, per_task)) for _ in range(repeats)]
    return np.array([[one.slope.p < 0.05, one.bend.p < 0.05] for one in found]).mean(axis=0)


def test_without_an_effect_one_in_twenty_is_rejected(rng: np.random.Generator) -> None:
    assert (rejections(rng, 12, 2, 150) <= 0.09).all()


@pytest.mark.slow
@pytest.mark.parametrize(("n_tasks", "per_task"), [(8, 4), (12, 4), (30, 2), (100, 2)])
def test_rejection_is_nominal_from_few_tasks_up(rng: np.random.Generator, n_tasks: int, per_task: int) -> None:
    share = rejections(rng, n_tasks, per_task, 2000)
    assert (share <= 0.065).all()
    assert (share >= 0.015).all()
