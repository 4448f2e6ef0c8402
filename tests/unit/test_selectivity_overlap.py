"""Emotions overlap by what their features tell beyond chance."""

from __future__ import annotations

import numpy as np

from emosae.selectivity.overlap import compare_profiles, measure_overlap, overlap_matrix


def test_profiles_are_compared_around_chance() -> None:
    profile = np.array([[0.9, 0.9, 0.1, 0.5], [0.5, 0.5, 0.5, 0.9]])
    np.testing.assert_allclose(
        compare_profiles(profile), [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]], atol=1e-12
    )


def test_an_emotion_without_features_overlaps_with_nothing() -> None:
    assert (compare_profiles(np.full((3, 2), 0.5)) == 0).all()
    assert (compare_profiles(np.zeros((0, 2))) == 0).all()


def test_jaccard_is_shared_over_either() -> None:
    selective = np.array([[True, True, False], [True, False, False], [False, True, False]])
    table = measure_overlap(("calm", "joyful", "sad"), np.zeros((0, 3)), selective)
    names, jaccard = overlap_matrix(table, "jaccard")
    assert names == ("calm", "joyful", "sad")
    np.testing.assert_allclose(jaccard, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(overlap_matrix(table, "n_shared")[1], [[2, 1, 0], [1, 2, 0], [0, 0, 0]])
