"""Shares that pass through features: planted ones are found, and none is claimed where failures bring nothing about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from emosae.scenarios.mediation import Mediation, fieller_interval, split_effect, tabulate_mediation
from emosae.scenarios.tables import make_table

N_TASKS, PER_TASK = 50, 4
TASKS = np.repeat(np.arange(N_TASKS), PER_TASK)
DRAWS = 300


def draw_mediation(rng: np.random.Generator, *, total: float, share: float, spread: float = 0.08) -> Mediation:
    """Four loops whose rates have a common part per task; the draws of the loops are their own."""
    task = rng.uniform(-spread, spread, size=N_TASKS)[TASKS]

    def loop(rate: float) -> np.ndarray:
        return (rng.random(len(TASKS)) < rate + task).astype(np.float64)

    direct = (1 - share) * total
    return split_effect(loop(0.2 + total) - loop(0.2), loop(0.12 + direct) - loop(0.12), TASKS)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_a_planted_share_is_covered(rng: np.random.Generator, share: float) -> None:
    found = [draw_mediation(rng, total=0.45, share=share) for _ in range(DRAWS)]
    shares = [one.share for one in found if one.share is not None]
    assert len(shares) == DRAWS
    assert 0.92 <= np.mean([one.lo <= share <= one.hi for one in shares]) <= 0.98
    assert np.median([one.estimate for one in shares]) == pytest.approx(share, abs=0.03)
    mediated = share * 0.45
    assert 0.92 <= np.mean([one.mediated.lo <= mediated <= one.mediated.hi for one in found]) <= 0.98
    assert 0.92 <= np.mean([one.direct.lo <= 0.45 - mediated <= one.direct.hi for one in found]) <= 0.98


def test_features_that_carry_nothing_are_said_to_at_the_nominal_rate(rng: np.random.Generator) -> None:
    p = [draw_mediation(rng, total=0.45, share=0.0).mediated.p for _ in range(DRAWS)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_no_share_of_a_total_that_is_not_there(rng: np.random.Generator) -> None:
    """Under no effect the total lies above 0 by chance in 2.5% of draws; only those have a share."""
    found = [draw_mediation(rng, total=0.0, share=0.0) for _ in range(DRAWS)]
    assert np.mean([one.share is not None for one in found]) <= 0.05
    assert 0.92 <= np.mean([one.total.lo <= 0 <= one.total.hi for one in found]) <= 0.98


def test_holding_that_lowers_all_cheating_mediates_nothing(rng: np.random.Generator) -> None:
    """What holding does by itself it does without failures too, and cancels."""
    fails, none = (rng.random(len(TASKS)) < 0.6).astype(float), (rng.random(len(TASKS)) < 0.3).astype(float)
    removed = (rng.random(len(TASKS)) < 0.2).astype(float)
    found = split_effect(fails - none, (fails - removed) - (none - removed), TASKS)
    assert found.mediated.estimate == pytest.approx(0)


def test_holding_that_takes_everything_in_every_task_claims_no_certainty(rng: np.random.Generator) -> None:
    """Removed and total are then equal, and Fieller's interval of their ratio would be a point."""
    total = (rng.random(len(TASKS)) < 0.5).astype(float)
    share = split_effect(total, np.zeros(len(TASKS)), TASKS).share
    assert share is not None
    assert share.estimate == 1.0
    assert share.lo < 0.9
    assert share.hi > 1.1


def test_fieller_is_the_ratio_whose_contrast_is_just_not_refuted(rng: np.random.Generator) -> None:
    """Its ends solve |a - r b| = t se(a - r b): the definition, with statsmodels' cluster-robust errors."""
    sm = pytest.importorskip("statsmodels.api")
    below = rng.normal(1.0, 1.0, len(TASKS)) + rng.normal(0, 0.3, N_TASKS)[TASKS]
    above = 0.5 * below + rng.normal(0, 0.5, len(TASKS))
    found = fieller_interval(above, below, TASKS)
    for end in (found.lo, found.hi):
        fit = sm.OLS(above - end * below, np.ones(len(TASKS))).fit(
            cov_type="cluster", cov_kwds={"groups": TASKS, "df_correction": True}, use_t=True
        )
        assert float(fit.pvalues[0]) == pytest.approx(0.05, abs=1e-6)
    assert found.lo < found.estimate < found.hi


def test_fieller_without_clusters_is_fiellers(rng: np.random.Generator) -> None:
    """Against the closed form with a normal quantile, on so many observations that t is normal."""
    above, below = rng.normal(0.4, 1.0, 40_000), rng.normal(1.0, 1.0, 40_000)
    found = fieller_interval(above, below, np.arange(40_000))
    error = math.sqrt((1 + 0.4**2) / 40_000)
    assert (found.hi - found.lo) / 2 == pytest.approx(norm.ppf(0.975) * error, rel=0.03)


def test_an_unclear_denominator_leaves_every_ratio_open(rng: np.random.Generator) -> None:
    below = rng.normal(0.0, 1.0, len(TASKS))
    found = fieller_interval(below, below - below.mean() + 1e-3, TASKS)
    assert (found.lo, found.hi) == (-math.inf, math.inf)
    assert math.isnan(fieller_interval(below, np.zeros(len(TASKS)), TASKS).estimate)
    assert fieller_interval(below, below + 1, np.zeros(len(TASKS))).hi == math.inf


def make_loops(grades: dict[tuple[str, str], list[list[str]]]) -> pa.Table:
    roles = {"desperate": "target", "proud": "decoy"}
    rows: list[dict[str, Any]] = [
        {
            "condition": loop,
            "dial": dial,
            "role": roles.get(dial, "none"),
            "task_id": f"t{at // 2}",
            "episode": at % 2,
            "impossible": True,
            "n_attempts": len(one),
            "grades": one,
        }
        for (loop, dial), episodes in grades.items()
        for at, one in enumerate(episodes)
    ]
    texts, counts = ("condition", "dial", "role", "task_id", "grades[]"), ("episode", "n_attempts")
    return make_table(rows, texts=texts, counts=counts, flags=("impossible",))


H, C, A = "honest", "special_cases", "admits"


def test_the_table_by_hand() -> None:
    """Eight episodes of four tasks: one cheats at once, one admits at once, six go on."""
    first = [[C], [A]]
    table = tabulate_mediation(
        make_loops(
            {
                ("failures", "-"): [*first, [H, C], [H, H, C], [H, C], [H, C], [H, A], [H, H, H]],
                ("no failures", "-"): [*first, [H, H, H], [H, H, H], [H, C], [H, H, H], [H, H, H], [H, H, H]],
                ("failures", "desperate"): [*first, [H, H, H], [H, H, H], [H, H, H], [H, C], [H, H, H], [H, H, H]],
                ("no failures", "desperate"): first + [[H, H, H]] * 6,
                ("failures", "proud"): [*first, [H, C], [H, C], [H, C], [H, C], [H, H, H], [H, H, H]],
                ("no failures", "proud"): [*first, [H, H, H], [H, H, H], [H, H, C], [H, H, H], [H, H, H], [H, H, H]],
            }
        )
    )
    target, decoy = table.to_pylist()
    assert (target["features"], target["role"], target["n"], target["n_tasks"]) == ("desperate", "target", 6, 3)
    assert (target["n_first"], target["first"], target["later"]) == (8, 1 / 8, 4 / 8)
    assert [target[name] for name in ("rate_failures", "rate_none", "held_failures", "held_none")] == pytest.approx(
        [4 / 6, 1 / 6, 1 / 6, 0]
    )
    assert [target[name] for name in ("total", "direct", "mediated")] == pytest.approx([3 / 6, 1 / 6, 2 / 6])
    assert target["share"] is None  # three tasks do not show a total
    assert target["beyond"] is None
    assert decoy["mediated"] == pytest.approx(0)
    assert decoy["beyond"] == pytest.approx(2 / 6)


def test_a_cheat_at_the_first_attempt_that_did_not_pass_is_no_later_one() -> None:
    arms = [(loop, held) for loop in ("failures", "no failures") for held in ("-", "desperate")]
    [row] = tabulate_mediation(make_loops({arm: [["edits_tests", H, H], [H, C]] for arm in arms})).to_pylist()
    assert (row["rate_failures"], row["first"]) == (0.5, 0.5)


def test_a_clear_total_has_a_share() -> None:
    n = 24
    table = tabulate_mediation(
        make_loops(
            {
                ("failures", "-"): [[H, C]] * 18 + [[H, H]] * (n - 18),
                ("no failures", "-"): [[H, H]] * n,
                ("failures", "desperate"): [[H, C]] * 6 + [[H, H]] * (n - 6),
                ("no failures", "desperate"): [[H, H]] * n,
            }
        )
    )
    [row] = table.to_pylist()
    assert row["share"] == pytest.approx(12 / 18)
    assert row["share_lo"] < 12 / 18 < row["share_hi"]


def test_without_episodes_there_is_no_row() -> None:
    assert tabulate_mediation(make_loops({("failures", "-"): [[C]], ("no failures", "-"): [[C]]})).num_rows == 0
    assert tabulate_mediation(make_loops({})).num_rows == 0
