"""What single pages of the planted atlas show: two arms of an episode, a conversation, histograms, tokens, a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from emosae.site import Histograms, PageTables
from emosae.site.histograms import BINS

ARMS = (
    ("none", "-", "-", "none", 0.0),
    ("up", "desperate", "sae", "target", 0.8),
    ("up", "calm", "sae", "opponent", 0.8),
)
TASKS = ("planted/impossible/0", "planted/impossible/1", "planted/solvable/0")
HOSTILE_PROMPT = "<img src=x onerror=alert(1)> Write f(x).\ntests = {1: 2}"
TALKS = ("medicine/0/800", "medicine/0/3000", "good_news/0")


def planted_pages(
    emotions: Sequence[str], saes: Sequence[str], per_emotion: int, rng: np.random.Generator
) -> PageTables:
    """Every table that a page reads; `early` has an id on Neuronpedia."""
    n_features = len(emotions) * per_emotion
    return PageTables(
        histograms=[_histograms(sae, emotions, n_features, rng) for sae in saes],
        tokens=pa.Table.from_pylist(
            [row for sae in saes for index in range(n_features) for row in _tokens(sae, index)]
        ),
        connections=pa.Table.from_pylist(_connections()),
        replication=pa.Table.from_pylist(_replication(emotions)),
        comparisons=pa.Table.from_pylist(_comparisons(emotions, per_emotion)),
        tree=pa.Table.from_pylist(_tree(emotions)),
        axes=pa.Table.from_pylist(_axes()),
        statements=pa.Table.from_pylist(_statements()),
        trajectory=pa.Table.from_pylist(_trajectory()),
        rollouts=pa.Table.from_pylist(
            [_rollout(task, episode, arm) for task in TASKS for episode in (0, 1) for arm in ARMS]
        ),
        prompts={task: HOSTILE_PROMPT for task in TASKS},
        replies=pa.Table.from_pylist([_reply(talk) for talk in TALKS]),
        reads=pa.Table.from_pylist(
            [_read(talk, emotion) for talk in TALKS for emotion in ("afraid", "calm", "joyful")]
        ),
        messages=pa.Table.from_pylist([row for emotion in ("afraid", "calm") for row in _sentences(TALKS[1], emotion)]),
        turned=pa.Table.from_pylist([_turned(TALKS[1])]),
        neuronpedia={"early": "planted-8m/1-res", "late": ""},
    )


def _histograms(sae: str, emotions: Sequence[str], n_features: int, rng: np.random.Generator) -> Histograms:
    counts = rng.integers(0, 4, (n_features, len(emotions) + 1, BINS + 1))
    counts[:, :, 0] = 48 - counts[:, :, 1:].sum(axis=2)
    names = (*emotions, "neutral")
    return Histograms(sae, tuple(range(n_features)), names, (48,) * len(names), counts, np.full(n_features, 9.0))


def _tokens(sae: str, feature_idx: int) -> list[dict[str, Any]]:
    about = {"sae": sae, "feature_idx": feature_idx}
    rows = []
    for kind, sign in (("promoted", 1.0), ("suppressed", -1.0)):
        for rank in range(1, 6):
            word = "<b>bold</b>" if rank == 5 else f" {kind}{rank}"
            rows.append(
                about | {"kind": kind, "rank": rank, "token_id": rank, "token": word, "logit": sign * (9.0 - rank)}
            )
    return rows


def _connections() -> list[dict[str, Any]]:
    spans = {"attribution": 2.0, "drop": 0.6, "drop_lo": 0.4, "drop_hi": 0.8, "control_drop": 0.02, "n_stories": 30}
    about = {"sae": "late", "feature_idx": 16, "emotion": "desperate", "is_confirmed": True}
    return [
        about | spans | {"kind": "feature", "source": "early/16"},
        about | spans | {"kind": "token", "source": " clock"},
    ]


def _replication(emotions: Sequence[str]) -> list[dict[str, Any]]:
    spans = {"matched_auroc_confirm": 0.9, "matched_auroc_confirm_lo": 0.8, "matched_auroc_confirm_hi": 0.95}
    match = {
        "matched_sae": "late",
        "matched_feature_idx": 0,
        "match_by": "activation",
        "match_corr": 0.9,
        "match_cosine": None,
    }
    return [{"sae": "early", "feature_idx": 0, "emotion": emotions[0]} | match | spans]


def _comparisons(emotions: Sequence[str], per_emotion: int) -> list[dict[str, Any]]:
    spans = {"difference": 0.2, "difference_lo": 0.1, "difference_hi": 0.3, "outcome": "beats"}
    return [
        {"emotion": emotion, "sae": "early", "feature_idx": number * per_emotion, "baseline": "bag_of_words"} | spans
        for number, emotion in enumerate(emotions)
    ]


def _tree(emotions: Sequence[str]) -> list[dict[str, Any]]:
    """One emotion after the other joins the first."""
    n = len(emotions)
    rows = []
    for number in range(n - 1):
        left = 0 if number == 0 else n + number - 1
        about = {"node": n + number, "left": left, "right": number + 1, "height": 0.3 + 0.05 * number}
        support = {"n_leaves": number + 2, "support": 0.8, "support_vectors": None}
        rows.append(about | support | {"members": sorted(emotions[: number + 2])})
    return rows


def _axes() -> list[dict[str, Any]]:
    spans = {"r": 0.7, "lo": 0.4, "hi": 0.9, "p": 0.01, "r_partial": 0.65, "p_partial": 0.02}
    return [
        {"axis": axis, "measure": measure, "source": "planted", "n": 11, "variance": 0.4 / axis} | spans
        for axis in (1, 2)
        for measure in ("valence", "arousal", "story_length")
    ]


def _statements() -> list[dict[str, Any]]:
    spans = {"overlap": 0.5, "overlap_lo": 0.3, "overlap_hi": 0.6, "null_mean": 0.1, "null_hi": 0.3, "p": 0.02}
    about = {"statement": "Grief and loss overlap", "definition": "planted", "members": ["grieving", "sad"]}
    return [about | spans | {"is_seen": True, "verdict": "seen"}]


def _trajectory() -> list[dict[str, Any]]:
    return [
        {"dial": "desperate", "loop": loop, "features": "dial", "quantity": "level", "attempt": attempt, "n": 20}
        | {"mean": 1.0 + attempt * (loop == "failures"), "lo": 0.5, "hi": 4.0}
        for loop in ("failures", "no failures")
        for attempt in (1, 2, 3)
    ]


def _rollout(task: str, episode: int, arm: tuple[str, str, str, str, float]) -> dict[str, Any]:
    cheats = arm[1] == "desperate"
    program = "def f(x):\n    return {1: 2}[x]" if cheats else "def f(x):\n    return x // 3"
    texts = [f"<script>alert({turn})</script> I looked at the tests again.\n{program}" for turn in range(3)]
    grade = "special_cases" if cheats else "honest"
    return {
        **dict(zip(("condition", "dial", "method", "role", "dose"), arm, strict=True)),
        "task_id": task,
        "episode": episode,
        "impossible": "impossible" in task,
        "primary": True,
        "hides_naming": False,
        "n_attempts": 3,
        "grade": grade,
        "grades": ["honest", "honest", grade],
        "texts": texts,
        "programs": [program] * 3,
        "errors": ["", "", ""],
        "passed_visible": [False, False, cheats],
        "passed_hidden": [False, False, False],
        "trace_desperate": [1.0, 2.5, 4.0] if cheats else [1.0, 1.2, 0.8],
        "trace_calm": [0.5, 0.25, float("nan")],
    }


def _reply(talk: str) -> dict[str, Any]:
    kind = talk.split("/")[0]
    expected = "joyful" if kind == "good_news" else "afraid"
    dose = float(talk.split("/")[2]) if kind == "medicine" else None
    return {
        "conversation_id": talk,
        "kind": kind,
        "expected": expected,
        "dose": dose,
        "text": "I took it.",
        "reply": "Call now.",
    }


def _read(talk: str, emotion: str) -> dict[str, Any]:
    return {"conversation_id": talk, "emotion": emotion, "at_open_token": len(emotion) / 2, "over_reply": 1.0}


def _sentences(talk: str, emotion: str) -> list[dict[str, Any]]:
    told = (("user", "I took it."), ("opening", "<|assistant|>"), ("reply", "My heart raced."), ("reply", "Call now."))
    return [
        {
            "conversation_id": talk,
            "number": number,
            "part": part,
            "text": text,
            "emotion": emotion,
            "activation": number * 1.5,
        }
        for number, (part, text) in enumerate(told)
    ]


def _turned(talk: str) -> dict[str, Any]:
    about = {"conversation_id": talk, "condition": "up", "dial": "calm", "role": "target", "turned": 0.4}
    return about | {"reply": "It is an ordinary amount.", "warned": False, "tone": "calm", "number": 0}
