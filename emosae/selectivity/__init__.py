"""Selectivity: which features tell one emotion from the others, on topics they were not chosen on."""

from emosae.selectivity.baselines import BaselineScores, measure_baselines, score_baselines
from emosae.selectivity.comparison import compare_baselines
from emosae.selectivity.detection import measure_detection
from emosae.selectivity.directions import emotion_vectors
from emosae.selectivity.intervals import Interval, jackknife_difference, jackknife_interval
from emosae.selectivity.layers import sweep_layers
from emosae.selectivity.multiplicity import bh, label_blind_filter
from emosae.selectivity.overlap import measure_overlap, overlap_matrix
from emosae.selectivity.permutation import max_t, permutation_p
from emosae.selectivity.random_controls import score_random_features, score_random_model
from emosae.selectivity.ranking import Selectivity, rank_features
from emosae.selectivity.ranks import auroc_all, van_elteren
from emosae.selectivity.replication import count_looks, replicate_candidates
from emosae.selectivity.words import find_predictive_words, list_masked_words, mask_stories, mask_words

__all__ = [
    "BaselineScores",
    "Interval",
    "Selectivity",
    "auroc_all",
    "bh",
    "compare_baselines",
    "count_looks",
    "emotion_vectors",
    "find_predictive_words",
    "jackknife_difference",
    "jackknife_interval",
    "label_blind_filter",
    "list_masked_words",
    "mask_stories",
    "mask_words",
    "max_t",
    "measure_baselines",
    "measure_detection",
    "measure_overlap",
    "overlap_matrix",
    "permutation_p",
    "rank_features",
    "replicate_candidates",
    "score_baselines",
    "score_random_features",
    "score_random_model",
    "sweep_layers",
    "van_elteren",
]
