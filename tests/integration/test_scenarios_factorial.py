"""Shares of planted parts: found, covered, and none claimed where there is nothing to share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from part_rows import DIAL, PARTS, part_tables, play

from emosae.scenarios.factorial import TERMS, Term, split_change
from emosae.scenarios.mediation import share_of
from emosae.scenarios.part_arms import gather_arms
from emosae.scenarios.rollouts import make_rollouts

N_TASKS, PER_TASK = 60, 2
TASKS = np.repeat(np.arange(N_TASKS), PER_TASK)
DRAWS = 300
Arms = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def act(rng: np.random.Generator, inside: float, outside: float, both: float, *, base: float = 0.2) -> Arms:
    """Outcomes of the four arms whose rates are `base` and, above it, what each part and both do; paired by draw.

    Tasks differ in how easily they are cheated at, half of the chance is common to the arms of an episode.
    """
    task = rng.uniform(-0.1, 0.1, size=N_TASKS)[TASKS]
    common, is_common = rng.random(len(TASKS)), rng.random(len(TASKS)) < 0.5

    def draw(rate: float) -> np.ndarray:
        chance = np.where(is_common, common, rng.random(len(TASKS)))
        return (chance < rate + task).astype(np.float64)

    return draw(base), draw(base + inside), draw(base + outside), draw(base + both)


def by_name(terms: list[Term]) -> dict[str, Term]:
    return {term.name: term for term in terms}


PLANTED = {
    "all inside": (0.5, 0.0, 0.5),
    "all outside": (0.0, 0.5, 0.5),
    "both, adding up": (0.3, 0.2, 0.5),
    "only together": (0.05, 0.05, 0.5),
    "either suffices": (0.5, 0.5, 0.5),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_shares_and_effects_are_covered(rng: np.random.Generator, name: str) -> None:
    inside, outside, both = PLANTED[name]
    extra = both - inside - outside
    truth = {"total": both, "inside": inside, "outside": outside, "interaction": extra}
    truth |= {"inside_main": inside + extra / 2, "outside_main": outside + extra / 2}
    found = [by_name(split_change(*act(rng, inside, outside, both), TASKS)) for _ in range(DRAWS)]
    for term, effect in truth.items():
        covers = [one[term].effect.lo <= effect <= one[term].effect.hi for one in found]
        assert 0.92 <= np.mean(covers) <= 0.985, term
        if term == "total":
            continue
        shares = [share for one in found if (share := one[term].share) is not None]
        assert len(shares) >= 0.99 * DRAWS
        covers = [share.lo <= effect / both <= share.hi for share in shares]
        assert 0.92 <= np.mean(covers) <= 0.985, term
        assert np.median([share.estimate for share in shares]) == pytest.approx(effect / both, abs=0.04)


def test_terms_make_up_the_total_twice(rng: np.random.Generator) -> None:
    found = by_name(split_change(*act(rng, 0.3, 0.1, 0.5), TASKS))
    assert [*found] == list(TERMS)
    for parts in (("inside", "outside", "interaction"), ("inside_main", "outside_main")):
        assert sum(found[name].effect.estimate for name in parts) == pytest.approx(found["total"].effect.estimate)
        shares = [share.estimate for name in parts if (share := found[name].share)]
        assert sum(shares) == pytest.approx(1)


def test_effects_and_errors_are_those_of_a_regression_with_clusters(rng: np.random.Generator) -> None:
    """statsmodels: outcomes on inside x outside, dummies for the parts alone and halves for main effects."""
    sm = pytest.importorskip("statsmodels.api")
    arms = act(rng, 0.25, 0.1, 0.5)
    y, tasks = np.concatenate(arms), np.tile(TASKS, 4)
    at = np.repeat([(0, 0), (1, 0), (0, 1), (1, 1)], len(TASKS), axis=0).astype(float)
    found = by_name(split_change(*arms, TASKS))
    codings = {("inside", "outside", "interaction"): at, ("inside_main", "outside_main", "interaction"): at - 0.5}
    for names, coded in codings.items():
        design = np.column_stack([np.ones(len(y)), coded, coded.prod(axis=1)])
        fit = sm.OLS(y, design).fit(
            cov_type="cluster", cov_kwds={"groups": tasks, "use_correction": False, "df_correction": True}, use_t=True
        )
        errors = fit.bse * math.sqrt(N_TASKS / (N_TASKS - 1))
        for place, name in enumerate(names, start=1):
            effect = found[name].effect
            assert effect.estimate == pytest.approx(fit.params[place], abs=1e-9)
            half = effect.hi - effect.estimate
            assert half / errors[place] == pytest.approx(2.0010, abs=1e-3)  # t, 59 degrees of freedom


def test_no_total_no_share(rng: np.random.Generator) -> None:
    found = [by_name(split_change(*act(rng, 0.0, 0.0, 0.0), TASKS)) for _ in range(DRAWS)]
    assert np.mean([one["inside"].share is not None for one in found]) < 0.09
    assert all(one["total"].share is None for one in found)


def test_a_falling_rate_is_shared_too(rng: np.random.Generator) -> None:
    found = by_name(split_change(*act(rng, -0.5, 0.0, -0.5, base=0.7), TASKS))
    assert found["total"].effect.estimate < -0.3
    assert found["inside"].share is not None
    assert found["inside"].share.lo < 1 < found["inside"].share.hi


def test_a_part_that_does_the_same_in_every_episode_leaves_room_for_doubt() -> None:
    total = np.ones(len(TASKS))
    share = share_of(total, total, TASKS)
    assert share.estimate == 1
    assert share.hi - share.lo == pytest.approx(2 * (1 - 0.05 ** (1 / N_TASKS)))
    assert not math.isfinite(share_of(total, np.tile([1.0, -1.0], N_TASKS), TASKS).hi)


def test_the_tables_by_hand() -> None:
    terms, arms = (table.to_pylist() for table in part_tables())
    found = {row["term"]: row for row in terms}
    assert [*found] == list(TERMS)
    assert {(row["n"], row["n_tasks"], row["rank"], row["d_in"], row["chance"]) for row in terms} == {
        (38, 19, 2, 16, 1 / 8)
    }
    at = np.arange(2, 40)
    rate = {share: float(np.mean((at * 7) % 40 < 40 * share)) for share in (0.2, 0.3, 0.6, 0.7, 0.8, 0.35)}
    total = rate[0.8] - rate[0.2]
    expected = {"total": total, "inside": rate[0.6] - rate[0.2], "outside": rate[0.3] - rate[0.2]}
    expected |= {"interaction": total - expected["inside"] - expected["outside"]}
    assert {name: found[name]["effect"] for name in expected} == pytest.approx(expected)
    assert found["inside"]["share"] == pytest.approx(expected["inside"] / total)
    assert found["total"]["share"] is None
    whole = DIAL.dictionary.direction(2).double().numpy()
    assert found["inside"]["energy"] == pytest.approx(float((whole[:2] ** 2).sum()), rel=1e-5)
    rows = {(row["condition"], row["method"]): row for row in arms}
    assert len(rows) == len(arms) == 6
    assert [rows[key]["n"] for key in rows] == [38] * 6
    assert rows["up", "sae"]["rate"] == pytest.approx(rate[0.8])
    assert rows["random subspace 0", "equal norm"]["gap"] == pytest.approx(rate[0.7] - rate[0.35])
    assert rows["inside", "equal norm"]["gap"] is None
    cosine = math.sqrt(found["inside"]["energy"])
    assert rows["inside", "natural"]["cosine"] == pytest.approx(cosine)
    assert rows["inside", "natural"]["added"] == pytest.approx(0.4 * cosine)
    assert rows["outside", "natural"]["cosine"] == pytest.approx(math.sqrt(1 - cosine**2))
    assert rows["inside", "equal norm"]["added"] == rows["up", "sae"]["added"] == 0.4
    assert rows["none", "-"]["added"] == 0


def test_without_one_of_the_four_arms_nothing_is_shared() -> None:
    terms, arms = (table.to_pylist() for table in part_tables(PARTS[::2]))
    assert terms == []
    assert len(arms) == 5
    main, parts = make_rollouts(play("none", "-", 0.2, dial="-"), []), make_rollouts(play("inside", "natural", 0.5), [])
    assert gather_arms(main, parts, DIAL, 0.4).num_rows == 0
