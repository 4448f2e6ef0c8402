"""Rank the features of a finished run again with its emotions exchanged within topics: nothing should be found.

`python scripts/shuffled_labels.py RUN [--times 5]`. On every topic the emotions change names among themselves, all
stories of one emotion and topic together. With q below 0.05, about one ranking in twenty may discover anything.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emosae.features import StoryFeatures
from emosae.pipeline.inputs import Inputs
from emosae.runs import config_of_run
from emosae.selectivity import rank_features
from emosae.store import Store
from emosae.stories import NEUTRAL, Story


def exchange(stories: Sequence[Story], rng: np.random.Generator) -> list[Story]:
    """The stories with the emotions of each topic renamed by a permutation of that topic's own."""
    names: dict[str | None, dict[str, str]] = {}
    for topic in dict.fromkeys(story.topic for story in stories):
        here = sorted({story.emotion for story in stories if story.topic == topic} - {NEUTRAL})
        names[topic] = dict(zip(here, rng.permutation(here).tolist(), strict=True))
    return [replace(story, emotion=names[story.topic].get(story.emotion, NEUTRAL)) for story in stories]


def count_found(
    features: Sequence[StoryFeatures], stories: Sequence[Story], rng: np.random.Generator
) -> tuple[int, int]:
    """Discoveries at q < 0.05, and emotions whose best feature has max-T p < 0.05."""
    summary = rank_features(features, stories, rng=rng, permutations=1024, top=1).summary.to_pylist()
    best = [row["p_maxt"] for row in summary if row["p_maxt"] is not None]
    return sum(row["n_discovered"] for row in summary), sum(p < 0.05 for p in best)


def main() -> None:
    """Print what is found with the emotions as they are, and with exchanged ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that has ranked its features")
    parser.add_argument("--times", type=int, default=5, help="exchanges")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    inputs = Inputs(config_of_run(arguments.run), Store.existing(arguments.run))
    features, stories = inputs.features, inputs.stories
    rng = np.random.default_rng(arguments.seed)
    print("labels", "discoveries (q < 0.05)", "emotions (max-T p < 0.05)", sep="\t")
    print("as they are", *count_found(features, stories, rng), sep="\t")
    for time in range(arguments.times):
        print(f"exchanged {time + 1}", *count_found(features, exchange(stories, rng), rng), sep="\t", flush=True)


if __name__ == "__main__":
    main()
