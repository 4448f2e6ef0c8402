"""Selectivity: which features tell one emotion from the others, on topics they were not chosen on."""

from emosae.selectivity.baselines import emotion_vectors, measure_baselines, score_baselines
from emosae.selectivity.comparison import compare_baselines
from emosae.selectivity.intervals import Interval, jackknife_difference, jackknife_interval
from emosae.selectivity.layers import sweep_layers
from emosae.selectivity.multiplicity import bh, label_blind_filter
from emosae.selectivity.overlap import measure_overlap, overlap_matrix
from emosae.selectivity.permutation import max_t, permutation_p
from emosae.selectivity.ranking import Selectivity, rank_features
from emosae.selectivity.ranks import auroc_all, van_elteren
from emosae.selectivity.words import find_predictive_words, mask_words

__all__ = [
    "Interval",
    "Selectivity",
    "auroc_all",
    "bh",
    "compare_baselines",
    "emotion_vectors",
    "find_predictive_words",
    "jackknife_difference",
    "jackknife_interval",
    "label_blind_filter",
    "mask_words",
    "max_t",
    "measure_baselines",
    "measure_overlap",
    "overlap_matrix",
    "permutation_p",
    "rank_features",
    "score_baselines",
    "sweep_layers",
    "van_elteren",
]
