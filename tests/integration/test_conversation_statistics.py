"""What is claimed of conversations: found where it is planted, at the nominal level where nothing is, as scipy says."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import page_trend_test, spearmanr, ttest_1samp

from emosae.scenarios.conversations.foils import contrast_variants
from emosae.scenarios.conversations.ladders import find_trend, measure_trends
from emosae.scenarios.conversations.ranks import compare_with_shuffled
from emosae.scenarios.conversations.tone import share_tones
from emosae.scenarios.conversations.whose import ROLES, compose_scenes, tabulate_whose
from emosae.scenarios.statistics import mean_interval

DOSES = (1.0, 3.0, 9.0, 27.0, 81.0)
DRAWS = 300


def ladders(rng: np.random.Generator, slope: float, n: int = 6) -> list[tuple[tuple[float, ...], list[float]]]:
    """Each wording has its own level, which pooled ranks would mistake for spread."""
    return [
        (DOSES, (slope * np.log(DOSES) + rng.normal(0, 3) + rng.normal(size=len(DOSES))).tolist()) for _ in range(n)
    ]


def test_pages_statistic_is_scipys(rng: np.random.Generator) -> None:
    data = ladders(rng, 0.3, n=12)
    found = find_trend(data, 1.0, rng, 4999)
    expected = page_trend_test([values for _, values in data], method="asymptotic")
    assert found.page_l == expected.statistic
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)
    inside: list[Any] = [spearmanr(*one) for one in data]
    assert found.rho.estimate == pytest.approx(np.mean([one.statistic for one in inside]))


def test_a_trend_is_found_in_its_direction_only(rng: np.random.Generator) -> None:
    data = ladders(rng, 1.0)
    assert find_trend(data, 1.0, rng, 999).p == 1 / 1000
    assert find_trend(data, -1.0, rng, 999).p > 0.99
    assert find_trend(data, None, rng, 999).p == 1 / 1000


def test_without_a_trend_p_is_uniform(rng: np.random.Generator) -> None:
    p = [find_trend(ladders(rng, 0.0, n=4), 1.0, rng, 99).p for _ in range(DRAWS)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
    assert 0.42 <= np.mean(p) <= 0.58


def test_what_never_varies_has_no_trend(rng: np.random.Generator) -> None:
    found = find_trend([(DOSES, [0.0] * 5)] * 3, 1.0, rng, 99)
    assert math.isnan(found.p)
    assert math.isnan(found.z)


def rungs(rng: np.random.Generator, slopes: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {
            "conversation_id": f"{wording}/{dose}",
            "kind": "medicine",
            "ladder": f"medicine/{wording}",
            "dose": dose,
            "emotion": emotion,
            "direction": {"afraid": 1.0, "calm": -1.0}.get(emotion),
            "at_open_token": math.nan,
            "over_reply": slope * math.log(dose) + rng.normal(),
        }
        for wording, dose in itertools.product(range(6), DOSES)
        for emotion, slope in slopes.items()
    ]


def test_planned_trends_are_corrected_and_others_are_not(rng: np.random.Generator) -> None:
    table = measure_trends(rungs(rng, {"afraid": 1.0, "calm": -1.0, "bored": 0.0}), rng, 999).to_pylist()
    rows = {(row["emotion"], row["place"]): row for row in table}
    afraid, calm, bored = (rows[name, "over_reply"] for name in ("afraid", "calm", "bored"))
    assert (afraid["n"], afraid["n_ladders"]) == (30, 6)
    assert afraid["p_holm"] == calm["p_holm"] == pytest.approx(2 / 1000)
    assert afraid["rho_lo"] > 0 > calm["rho_hi"]
    assert bored["p_holm"] is None
    assert rows["afraid", "at_open_token"]["n"] == 0


EMOTIONS = ("loving", "angry", "calm", "joyful")


def talks(rng: np.random.Generator, lift: float, per_kind: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "conversation_id": f"{expected}/{number}",
            "kind": f"kind of {expected}",
            "expected": expected,
            "item": f"{expected}/{number}",
            "ladder": "",
            "emotion": emotion,
            "at_open_token": rng.normal(),
            "over_reply": rng.normal() + lift * (emotion == expected),
        }
        for expected in EMOTIONS
        for number in range(per_kind)
        for emotion in EMOTIONS
    ]


def test_the_expected_emotion_is_told_from_shuffled_labels(rng: np.random.Generator) -> None:
    rows = compare_with_shuffled(talks(rng, 4.0), rng, 199).to_pylist()
    told = {(row["place"], row["kind"]): row for row in rows}
    over, opening = told["over_reply", "all"], told["at_open_token", "all"]
    assert (over["n"], over["n_items"], over["n_emotions"]) == (24, 24, 4)
    assert over["p_rank"] == over["p_first"] == 1 / 200
    assert over["mean_rank_hi"] < 1.6
    assert over["first_lo"] > 0.7
    assert over["mean_rank_null"] == pytest.approx(2.5, abs=0.15)
    assert over["first_null"] == pytest.approx(0.25, abs=0.06)
    assert opening["p_rank"] > 0.05
    assert told["over_reply", "kind of calm"]["n"] == 6


def test_without_emotions_the_label_test_is_nominal() -> None:
    rng, p = np.random.default_rng(5), []
    for _ in range(DRAWS):
        rows = compare_with_shuffled(talks(rng, 0.0, per_kind=4), rng, 99).to_pylist()
        p.append(next(row["p_rank"] for row in rows if (row["place"], row["kind"]) == ("over_reply", "all")))
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09


def test_rungs_of_ladders_have_no_part_in_the_label_test(rng: np.random.Generator) -> None:
    rows = talks(rng, 0.0) + [
        row | {"expected": "calm", "item": "m"} for row in rungs(rng, dict.fromkeys(EMOTIONS, 0.0))
    ]
    found = compare_with_shuffled(rows, rng, 9).to_pylist()
    assert [row["n"] for row in found if row["kind"] == "all"] == [24, 24]


def foils(rng: np.random.Generator, dose: float, words: float) -> list[dict[str, Any]]:
    """Fear follows the dose by `dose` and scary words by `words`; every item has a level of its own."""
    cells = {"danger": ("afraid", dose), "a_safe_dose": ("calm", words), "cheerful_overdose": ("afraid", dose)}
    levels = rng.normal(0, 3, size=20)
    return [
        {
            "conversation_id": f"{variant}/{item}",
            "set": "medicine",
            "variant": variant,
            "item": str(item),
            "expected": expected,
            "emotion": "afraid",
            "at_open_token": 0.0,
            "over_reply": levels[item] + lift + rng.normal(0, 0.5),
        }
        for item in range(20)
        for variant, (expected, lift) in cells.items()
    ]


@pytest.mark.parametrize(("dose", "words", "sign"), [(2.0, 0.0, 1), (0.0, 2.0, -1)])
def test_foils_tell_matter_from_words(rng: np.random.Generator, dose: float, words: float, sign: int) -> None:
    table = contrast_variants(foils(rng, dose, words)).to_pylist()
    rows = {(row["variant"], row["other"]): row for row in table if row["place"] == "over_reply"}
    assert set(rows) == {
        ("danger", "a_safe_dose"),
        ("cheerful_overdose", "a_safe_dose"),
        ("cheerful_overdose", "danger"),
    }
    told = rows["danger", "a_safe_dose"]
    assert told["matter"]
    assert sign * told["lo"] > 0 < sign * told["hi"]
    same = rows["cheerful_overdose", "danger"]
    assert not same["matter"]
    assert same["p_holm"] is None
    assert same["lo"] < 0 < same["hi"]


def test_the_mean_of_anything_is_a_t_test(rng: np.random.Generator) -> None:
    values = rng.normal(3, 20, size=11)
    expected: Any = ttest_1samp(values, 0)
    found = mean_interval(values)
    ends = expected.confidence_interval()
    assert (found.lo, found.hi, found.p) == pytest.approx((ends.low, ends.high, expected.pvalue))
    assert mean_interval(np.full(5, 2.0)).p == 1 / 16
    assert mean_interval(np.zeros(5)).p == 1.0
    assert math.isnan(mean_interval(np.ones(1)).lo)


def test_the_tone_of_replies_is_told_from_shuffled_labels(rng: np.random.Generator) -> None:
    rows = [
        {
            "kind": expected,
            "item": f"{expected}/{number}",
            "expected": expected,
            "part": "said",
            "tone": expected if expected != "calm" and number < 8 else "bored",
        }
        for expected in EMOTIONS
        for number in range(10)
    ]
    found = {row["kind"]: row for row in share_tones(rows, rng, 199).to_pylist()}
    assert found["all"]["share"] == pytest.approx(0.6)
    assert found["all"]["p"] == found["angry"]["p"] == 1 / 200
    assert found["all"]["share_null"] == pytest.approx(0.15, abs=0.02)
    assert (found["calm"]["share"], found["calm"]["p"], found["calm"]["commonest"]) == (0.0, 1.0, "bored")


def scenes(rng: np.random.Generator, at_user: dict[str, float]) -> Any:
    """Crossed dialogues; at the user's words each feature holds the roles' emotions by these weights, else noise."""
    feels: list[dict[str, str]] = [dict(zip(ROLES, one, strict=True)) for one in itertools.permutations("abcdef", 3)]
    values = rng.normal(5, 0.3, size=(len(feels), 3, 6))
    for row, one in enumerate(feels):
        for role, weight in at_user.items():
            values[row, 0, "abcdef".index(one[role])] += weight
    return feels, list("abcdef"), values


def test_whose_emotion_it_is_is_told_apart(rng: np.random.Generator) -> None:
    table = tabulate_whose(*scenes(rng, {"user": 2.0, "third": 0.6})).to_pylist()
    cells = {(row["tokens"], row["whose"]): row for row in table}
    assert len(cells) == 3 * 6
    assert cells["user", "user"]["lo"] > cells["user", "third"]["hi"] > cells["user", "third"]["lo"] > 0
    assert cells["user", "user - third"]["lo"] > 0
    assert abs(cells["user", "assistant"]["effect"]) < 0.2
    assert abs(cells["assistant", "assistant"]["effect"]) < 0.4


def test_where_nobody_is_felt_the_interval_covers_zero() -> None:
    rng, missed = np.random.default_rng(2), 0
    for _ in range(DRAWS):
        row = tabulate_whose(*scenes(rng, {})).to_pylist()[0]
        missed += not row["lo"] <= 0 <= row["hi"]
    assert 0.02 <= missed / DRAWS <= 0.09


def test_scenes_cross_the_emotions(rng: np.random.Generator) -> None:
    voices = {
        role: {name: [f"{role} {name}."] for name in ("sad", "proud", "calm", "angry")}
        for role in ("user", "assistant", "third", "again")
    }
    found = compose_scenes(voices, ["sad", "proud", "calm", "angry", "unheard of"], rng)
    assert len(found) == 24
    assert len({tuple(one.feels.values()) for one in found}) == 24
    for scene in found:
        assert len(set(scene.feels.values())) == 3
        assert scene.opening == f"user {scene.feels['user']}."
        assert scene.messages[2].content == f"again {scene.feels['user']}."
        assert scene.messages[0].content.endswith(f"third {scene.feels['third']}.")
