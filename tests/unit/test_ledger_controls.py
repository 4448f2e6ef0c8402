"""Control features are those that fire as often and were not chosen for the emotion."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from emosae.ledger.controls import LEVEL, N_CONTROLS, measure_controls


def make_profiles(auroc: np.ndarray, fire_rate: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "sae": pa.array(["one"] * len(auroc)),
            "feature_idx": np.arange(len(auroc)),
            "fire_rate": fire_rate,
            "sad": auroc.astype(np.float32),
        }
    )


def candidate(feature_idx: int, emotion: str = "sad") -> dict[str, object]:
    return {"sae": "one", "feature_idx": feature_idx, "emotion": emotion}


def test_controls_are_the_nearest_in_firing_rate() -> None:
    rng = np.random.default_rng(0)
    rate = np.exp(rng.uniform(-5, 0, 400))
    auroc = np.where(rate > 0.2, 0.9, 0.5)  # here AUROC is a matter of firing rate alone
    often, rarely = int(np.argmax(rate)), int(np.argmin(rate))
    got = measure_controls([candidate(often), candidate(rarely)], make_profiles(auroc, rate))
    assert got == pytest.approx([0.9, 0.5])


def test_candidates_for_the_same_emotion_are_no_controls() -> None:
    auroc = np.full(60, 0.55)
    auroc[:10] = 0.99
    profiles = make_profiles(auroc, np.full(60, 0.1))
    chosen = [candidate(index) for index in range(10)]
    assert measure_controls(chosen, profiles) == pytest.approx([0.55] * 10)
    assert measure_controls([candidate(0)], profiles)[0] > 0.9  # the nine others count, unless they were chosen


def test_the_percentile_is_over_at_most_so_many() -> None:
    auroc = np.linspace(0, 1, 101)
    rate = np.exp(-np.abs(np.arange(101) - 50) / 10)  # the nearest to feature 50 are its neighbours
    expected = np.quantile(np.sort(np.delete(auroc, 50)[35:65]), LEVEL)
    assert N_CONTROLS == 30
    assert measure_controls([candidate(50)], make_profiles(auroc, rate)) == pytest.approx([expected])


@pytest.mark.parametrize("n", [1, 5])
def test_too_few_controls_are_none(n: int) -> None:
    assert measure_controls([candidate(0)], make_profiles(np.full(n, 0.5), np.full(n, 0.1))) == [None]


def test_unknown_features_emotions_and_profiles_have_no_controls() -> None:
    profiles = make_profiles(np.full(20, 0.5), np.full(20, 0.1))
    assert measure_controls([candidate(99), candidate(0, "glad")], profiles) == [None, None]
    assert measure_controls([candidate(0)], None) == [None]
    assert measure_controls([], profiles) == []
