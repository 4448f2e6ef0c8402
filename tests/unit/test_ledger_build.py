"""The ledger joins every stage's evidence on the right row and on no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from report_fixture import EMOTIONS, make_candidates, make_episodes, make_links, make_profiles

from emosae.ledger import VERDICTS, build_ledger
from emosae.scenarios.arms import contrast_arms, slope_arms, summarize_arms

DIAL = {"emotion": "desperate", "sae": "resid3", "feature_idx": 17 * EMOTIONS.index("desperate")}


@pytest.fixture(scope="module")
def candidates() -> pa.Table:
    return make_candidates(np.random.default_rng(0))


@pytest.fixture(scope="module")
def arms() -> dict[str, pa.Table]:
    rollouts = make_episodes(np.random.default_rng(1), n_tasks=12, per_task=2)
    return {
        "summary": summarize_arms(rollouts),
        "contrasts": contrast_arms(rollouts),
        "slopes": slope_arms(rollouts),
        "profiles": make_profiles(np.random.default_rng(2)),
    }


def find_row(ledger: pa.Table, **where: Any) -> dict[str, Any]:
    (row,) = [row for row in ledger.to_pylist() if all(row[name] == value for name, value in where.items())]
    return row


def make_dials(**more: float) -> pa.Table:
    return pa.Table.from_pylist([{**DIAL, **more}])


def test_only_the_dial_gets_what_its_arm_did(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    ledger = build_ledger(candidates, dials=make_dials(), **arms)
    assert ledger.num_rows == candidates.num_rows
    turned = [row for row in ledger.to_pylist() if row["delta"] is not None]
    assert [(row["sae"], row["feature_idx"], row["emotion"]) for row in turned] == [
        (DIAL["sae"], DIAL["feature_idx"], DIAL["emotion"])
    ]
    summary = arms["summary"].to_pylist()
    (up,) = [
        row
        for row in summary
        if (row["condition"], row["dial"], row["method"]) == ("up", "desperate", "sae")
        and row["primary"]
        and not row["hides_naming"]
    ]
    assert turned[0]["delta"] == up["delta"]
    assert turned[0]["rate_lo"] == up["lo"]
    assert turned[0]["dose"] == 0.3
    assert (turned[0]["solved_lo"], turned[0]["solved_hi"]) == (up["solved_lo"], up["solved_hi"])


def test_a_slope_over_three_doses_comes_with_its_bend(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    row = find_row(build_ledger(candidates, dials=make_dials(), **arms), **DIAL)
    (slope,) = [
        one
        for one in arms["slopes"].to_pylist()
        if (one["dial"], one["method"], one["hides_naming"]) == ("desperate", "sae", False)
    ]
    assert (row["dose_slope"], row["p_dose_bend"]) == (slope["slope"], slope["p_bend"])
    two = pa.Table.from_pylist([{**slope, "n_doses": 2}], schema=arms["slopes"].schema)
    assert (
        find_row(build_ledger(candidates, dials=make_dials(), **{**arms, "slopes": two}), **DIAL)["dose_slope"] is None
    )


def test_a_second_choice_gets_nothing_of_what_the_first_ones_arm_did(
    candidates: pa.Table, arms: dict[str, pa.Table]
) -> None:
    second = pa.Table.from_pylist([{**DIAL, "choice": "second", "dial_size": 1, "output_score": 0.2}])
    row = find_row(build_ledger(candidates, dials=second, **arms), **DIAL)
    assert (row["dial_size"], row["output_score"]) == (1, 0.2)
    assert row["delta"] is None


def test_evidence_climbs_the_ladder(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    def verdict(dials: pa.Table | None, **more: pa.Table) -> str:
        return find_row(build_ledger(candidates, dials=dials, **arms, **more), **DIAL)["verdict"]

    scored = make_dials(output_score=0.2, output_score_lo=0.1, output_score_hi=0.3)
    assert verdict(None) == "specific"
    assert verdict(make_dials(output_score_lo=-0.1)) == "specific"
    assert verdict(scored) == "moves behaviour"
    assert verdict(scored, second_seed=arms["contrasts"]) == VERDICTS[-1]


def test_the_nearest_control_decides(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    row = find_row(build_ledger(candidates, dials=make_dials(), **arms), **DIAL)
    rows = [
        one
        for one in arms["contrasts"].to_pylist()
        if (one["condition"], one["dial"], one["method"], one["hides_naming"]) == ("up", "desperate", "sae", False)
    ]
    matched = [one for one in rows if one["control_condition"] != "prompt" and one["control_dial"] != "-"]
    matched = [one for one in matched if one["control_method"] == "sae" or one["control_condition"] == "direction"]
    assert row["n_controls"] == len(matched) == 8
    assert row["control_gap_lo"] == min(one["gap_lo"] for one in matched)
    assert row["n_random_sets"] == 3
    assert row["random_percentile"] is None  # three sets are too few to claim one


def test_random_controls_at_a_lower_dose_match_nothing(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    rows = [
        row | ({"control_dose": 0.2} if row["control_condition"] == "random" else {})
        for row in arms["contrasts"].to_pylist()
    ]
    contrasts = pa.Table.from_pylist(rows, schema=arms["contrasts"].schema)
    row = find_row(build_ledger(candidates, dials=make_dials(), **{**arms, "contrasts": contrasts}), **DIAL)
    assert (row["control_gap_lo"], row["n_controls"]) == (None, None)
    assert row["delta"] is not None


def test_a_percentile_needs_nineteen_random_sets(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    rows = arms["summary"].to_pylist()
    random = next(row for row in rows if row["condition"] == "random" and not row["hides_naming"])
    more = [{**random, "dial": f"random {n}", "delta": 0.9 if n < 2 else 0.0} for n in range(3, 22)]
    summary = pa.Table.from_pylist([*rows, *more], schema=arms["summary"].schema)
    row = find_row(build_ledger(candidates, dials=make_dials(), **{**arms, "summary": summary}), **DIAL)
    assert row["n_random_sets"] == 22
    assert row["random_percentile"] == pytest.approx(1 / 23)


def test_matches_are_counted_by_other_sae(candidates: pa.Table) -> None:
    ledger = build_ledger(candidates, links=make_links())
    row = find_row(ledger, **DIAL)
    assert (row["seed_matches"], row["layer_matches"]) == (1, 2)
    assert find_row(ledger, sae="resid2", feature_idx=5, emotion=EMOTIONS[0])["layer_matches"] == 1
    assert find_row(build_ledger(candidates), **DIAL)["seed_matches"] is None


def test_a_dial_that_is_no_candidate_is_not_lost(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    stranger = {**DIAL, "feature_idx": 511}
    ledger = build_ledger(candidates, dials=pa.Table.from_pylist([stranger]), **arms)
    row = find_row(ledger, **stranger)
    assert ledger.num_rows == candidates.num_rows + 1
    assert row["delta"] is not None
    assert row["verdict"] == "none"
    assert "q_bh is empty" in row["held_back_by"]


def test_no_candidates_give_an_empty_ledger(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    ledger = build_ledger(candidates.slice(0, 0), **arms, links=make_links())
    assert ledger.num_rows == 0
    assert {"verdict", "delta", "auroc_confirm"} <= set(ledger.column_names)


def test_types_do_not_depend_on_what_is_known(candidates: pa.Table, arms: dict[str, pa.Table]) -> None:
    full = build_ledger(candidates, dials=make_dials(output_score=0.1), links=make_links(), **arms)
    assert full.schema == build_ledger(candidates).schema
