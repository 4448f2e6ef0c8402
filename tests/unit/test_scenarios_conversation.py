"""Which emotion comes first, and what rises with a dose, on reads in which it is planted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emosae.errors import UserError
from emosae.scenarios.conversations import correlate_doses, dose_of, kind_of, rank_emotions
from emosae.stories import Conversation

KINDS = {"bereaved": "loving", "insult": "angry", "how_to": "calm"}


def reads(noise: float = 0.1, n: int = 12) -> list[dict[str, Any]]:
    """The expected emotion is 1 higher in its own kind; `loud` is always high, `dead` never changes."""
    rng = np.random.default_rng(0)
    rows = []
    for kind, expected in KINDS.items():
        for number in range(n):
            for emotion in ("loving", "angry", "calm", "loud", "dead"):
                base = 0.0 if emotion == "dead" else (emotion == expected) + noise * rng.normal()
                value = base + (50.0 if emotion == "loud" else 0.0)
                where = {"at_open_token": value, "over_reply": value if number else math.nan}
                rows.append(
                    {
                        "conversation_id": f"{kind}/{number}",
                        "kind": kind,
                        "expected": expected,
                        "emotion": emotion,
                        "dose": None,
                        **where,
                    }
                )
    return rows


def test_the_expected_emotion_comes_first_though_another_is_louder() -> None:
    rows = rank_emotions(reads()).to_pylist()
    assert len(rows) == 6
    for row in rows:
        assert (row["first"], row["rank"], row["n"]) == (KINDS[row["kind"]], 1, 12)
        assert len(row["order"]) == 5
        assert row["score"] == row["score_first"] > 0.5


def test_the_unit_of_an_emotion_does_not_matter() -> None:
    rows = reads()
    scale = {"loving": 0.01, "angry": 1.0, "calm": 3.0, "loud": 400.0, "dead": 1.0}
    scaled = [row | {"at_open_token": row["at_open_token"] * scale[row["emotion"]]} for row in rows]
    found, expected = (rank_emotions(one).to_pylist() for one in (scaled, rows))
    assert [row["order"] for row in found] == [row["order"] for row in expected]


def test_an_emotion_without_a_feature_has_no_rank() -> None:
    rows = rank_emotions([row for row in reads() if row["emotion"] != "angry"]).to_pylist()
    assert [row["rank"] for row in rows if row["expected"] == "angry"] == [None, None]


def test_the_order_of_reads_does_not_matter() -> None:
    rows = reads()
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = rank_emotions([rows[index] for index in order])
    assert shuffled.drop(["score", "score_first"]).equals(rank_emotions(rows).drop(["score", "score_first"]))


def ladder(slope: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "conversation_id": f"{wording}/{dose}",
            "kind": "medicine",
            "expected": "afraid",
            "emotion": emotion,
            "dose": float(dose),
            "at_open_token": (slope if emotion == "afraid" else 0) * math.log(dose) + rng.normal(),
            "over_reply": math.nan,
        }
        for wording in range(6)
        for dose in (100, 400, 1000, 3000, 8000, 16000)
        for emotion in ("afraid", "calm")
    ]


def test_fear_rises_with_the_dose_and_calm_does_not() -> None:
    rows = {(row["emotion"], row["place"]): row for row in correlate_doses(ladder(2.0)).to_pylist()}
    afraid, calm = rows["afraid", "at_open_token"], rows["calm", "at_open_token"]
    assert (afraid["n"], afraid["n_doses"]) == (36, 6)
    assert afraid["spearman_lo"] > 0.6
    assert calm["spearman_lo"] < 0 < calm["spearman_hi"]
    assert math.isnan(rows["afraid", "over_reply"]["spearman"])


def test_kind_and_dose_come_from_the_file() -> None:
    rung = Conversation("a", "afraid", "I took 400 mg.", {"kind": "medicine", "dose": 400})
    plain = Conversation("b", "joyful", "I won!")
    assert (kind_of(rung), dose_of(rung)) == ("medicine", 400.0)
    assert (kind_of(plain), dose_of(plain)) == ("joyful", None)
    with pytest.raises(UserError, match="conversation c: field 'dose' is '400 mg'"):
        dose_of(Conversation("c", "afraid", "-", {"dose": "400 mg"}))
