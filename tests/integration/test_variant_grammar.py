"""A variant's text plants what its truth file says, and its file changes nothing else."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from emosae.errors import UserError
from emosae.organism.banks import FIRST_PERSON, load_cues
from emosae.organism.coding_grammar import Attempt, draw_task, write_transcript
from emosae.organism.corpus import MIX
from emosae.organism.planted import describe_truth, name_planted
from emosae.organism.recipe import Recipe
from emosae.organism.truth import BESIDE, find_truth, list_variants, load_truth, parse_truth, read_tables
from emosae.organism.variants import variant_recipe

N_TRANSCRIPTS = 400


@cache
def sentences_of(emotion: str) -> set[str]:
    """Every cue of the emotion as it stands in a thought, without those that it shares with others."""
    sides = {
        name: {FIRST_PERSON.fill(pair.side(side)) for pair in bank.pairs for side in ("A", "B")}
        for name, bank in load_cues().items()
    }
    return sides[emotion] - set().union(*(others for name, others in sides.items() if name != emotion))


def count_cues(thought: str, emotion: str) -> int:
    return sum(thought.count(sentence) for sentence in sentences_of(emotion))


@pytest.fixture(scope="module", params=["afraid", "none"])
def attempts(request: pytest.FixtureRequest) -> tuple[str, list[Attempt]]:
    """A variant, and all attempts of fresh transcripts that were not given up."""
    truth = load_truth(request.param)
    found = []
    for number in range(N_TRANSCRIPTS):
        rng = np.random.default_rng([5, number])
        written = write_transcript(rng, draw_task(rng, impossible=True), 3, truth)
        found += [one for one in written if one.feedback is not None]
    return request.param, found


def cheat_rate(attempts: list[Attempt], emotion: str, *, more: str, at_least: int) -> tuple[float, int]:
    """Share of shortcuts where the thought holds so many more cues of one emotion than of the other."""
    chosen = [
        one
        for one in attempts
        if count_cues(one.thought.text, emotion) - count_cues(one.thought.text, more) >= at_least
    ]
    return float(np.mean([one.cheated for one in chosen])), len(chosen)


def test_shortcuts_follow_the_cues_that_the_truth_names_and_no_others(attempts: tuple[str, list[Attempt]]) -> None:
    """Counted in the text itself, not in the record of how it was composed."""
    variant, found = attempts
    truth = load_truth(variant).coding
    for emotion in ("afraid", "desperate", "proud"):
        rate, n = cheat_rate(found, emotion, more="calm", at_least=2)
        assert n > 40
        if emotion == truth.causal_up:
            planted = truth.p_cheat["at_least_2"]
            assert abs(rate - planted) < 4 * np.sqrt(planted * (1 - planted) / n), (emotion, rate, n)
        else:
            usual = float(np.mean([one.cheated for one in found]))
            assert abs(rate - usual) < 0.2, (emotion, rate, usual)


def test_failures_bring_the_cues_of_the_causal_emotion(attempts: tuple[str, list[Attempt]]) -> None:
    variant, _ = attempts
    truth, seen = load_truth(variant), defaultdict(list)
    for number in range(N_TRANSCRIPTS):
        rng = np.random.default_rng([6, number])
        for place, one in enumerate(write_transcript(rng, draw_task(rng, impossible=True), 3, truth)):
            seen[place].append(one.thought.state == truth.coding.causal_up)
    first, second = np.mean(seen[0]), np.mean(seen[1])
    assert second > first + 0.02


def test_shortcuts_follow_the_margin_of_the_variant(attempts: tuple[str, list[Attempt]]) -> None:
    variant, found = attempts
    truth, by_margin = load_truth(variant).coding, defaultdict(list)
    for one in found:
        by_margin[max(-1, min(one.thought.margin, 2))].append(one.cheated)
    for margin, cheated in by_margin.items():
        planted = truth.cheat_probability(margin)
        assert abs(np.mean(cheated) - planted) < 4 * np.sqrt(planted * (1 - planted) / len(cheated)), margin


def test_a_variant_changes_only_what_its_file_names() -> None:
    assert list_variants() == ("afraid", "none")
    shipped, afraid, none = read_tables(), read_tables("afraid"), read_tables("none")
    changed = {key for key in shipped["coding"] if shipped["coding"][key] != afraid["coding"][key]}
    assert changed == {"causal_up", "decoys"}
    assert {key for key in shipped["coding"] if shipped["coding"][key] != none["coding"][key]} == {"p_cheat"}
    for name in ("emotions", "stories", "medicine", "chat"):
        assert shipped[name] == afraid[name] == none[name]
    assert read_tables() == shipped
    with pytest.raises(UserError, match="no variant 'joyful'"):
        read_tables("joyful")


def test_the_report_is_held_against_the_variants_own_truth() -> None:
    assert describe_truth(load_truth()).effects == {"desperate": 1, "calm": -1}
    assert describe_truth(load_truth("afraid")).effects == {"afraid": 1, "calm": -1}
    assert set(describe_truth(load_truth("afraid")).decoys) == {"proud", "curious", "desperate", "guilty"}
    assert describe_truth(load_truth("none")).effects == {}
    assert {"desperate", "calm"} <= set(describe_truth(load_truth("none")).decoys)
    assert re.search("raises shortcuts", name_planted(load_truth("afraid"))["afraid"])
    assert not any("raises" in phrase for phrase in name_planted(load_truth("none")).values())


def test_a_model_brings_its_truth_with_it(tmp_path: Path) -> None:
    assert find_truth(tmp_path) is None
    (tmp_path / BESIDE).write_text(json.dumps(read_tables("afraid")))
    assert find_truth(tmp_path) == load_truth("afraid") == parse_truth(read_tables("afraid"))
    (tmp_path / BESIDE).write_text("{}")
    with pytest.raises(UserError, match="not a planted truth"):
        find_truth(tmp_path)


def test_more_tasks_in_the_mix_leave_the_others_their_proportion() -> None:
    assert Recipe().mix == pytest.approx(MIX)
    mix = variant_recipe().mix
    assert sum(mix.values()) == pytest.approx(1)
    assert mix["coding"] == 0.6
    assert mix["story"] / mix["chat"] == pytest.approx(MIX["story"] / MIX["chat"])
