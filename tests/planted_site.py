"""A small atlas whose every number is made up from a seed: what the page tests open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from planted_pages import planted_pages

from emosae.site import Example, SiteData

EMOTIONS = (
    "afraid",
    "angry",
    "calm",
    "curious",
    "desperate",
    "excited",
    "grieving",
    "guilty",
    "joyful",
    "proud",
    "sad",
)
PAIRS = (("grieving", "sad"), ("excited", "joyful"))
SAES = ("early", "late", "late-seed1")
HOSTILE = (
    "<script>document.title='broken'</script><img src=x onerror=alert(1)>",
    " \"quoted\" 'text' & more",
    " \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    " \U0001f62d\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\n\n",
    " " + "y" * 10_000,
)
CUES = {
    "afraid": "her hands shook and she checked the lock twice",
    "angry": "he slammed the drawer and his jaw would not loosen",
    "calm": "she breathed slowly and let the kettle take its time",
    "curious": "he turned the odd shell over and asked what lived in it",
    "desperate": "nothing was left to try and the clock kept running",
    "excited": "she could not sit still and counted the hours again",
    "grieving": "his chair stayed empty and she set two plates by habit",
    "guilty": "he kept seeing the broken vase and rehearsed what to say",
    "joyful": "laughter ran through the kitchen and nobody wanted to leave",
    "proud": "she pinned the ribbon where every visitor would see it",
    "sad": "the rain went on and he watched it without moving",
}


def planted_site(*, per_emotion: int = 4, seed: int = 0, **changes: Any) -> SiteData:
    """A whole atlas: `per_emotion` features in each of three SAEs, evidence on every rung, two scenarios."""
    rng = np.random.default_rng(seed)
    ledger = [row for place, name in enumerate(SAES) for row in _ledger_rows(name, place, per_emotion, rng)]
    data: dict[str, Any] = {
        "model": "planted-8M",
        "synthetic": True,
        "manifest": {"format_version": 1, "model": {"name": "planted-8M", "weight_hash": "0" * 64}, "seed": seed},
        "saes": pa.Table.from_pylist([_sae_row(name, place) for place, name in enumerate(SAES)]),
        "nodes": _tabulate_nodes(ledger, per_emotion, rng),
        "links": _tabulate_links(per_emotion),
        "concepts": _tabulate_concepts(per_emotion),
        "emotions": pa.Table.from_pylist([_emotion_row(name) for name in EMOTIONS]),
        "ledger": pa.Table.from_pylist(ledger),
        "examples": () if "examples" in changes else [one for row in ledger for one in _examples_of(row, rng)],
        "overlap": _tabulate_overlap(rng),
        "baselines": pa.Table.from_pylist([row for name in EMOTIONS for row in _baseline_rows(name, rng)]),
        "scenarios": {"impossible_code": _tabulate_scenario(rng)},
        "planted": {"desperate": "cues in every slot; raises the rate of cheating"},
        "notes": ("One note of the run.",),
        "pages": planted_pages(EMOTIONS, SAES, per_emotion, rng),
    }
    return SiteData(**data | changes)


def empty_site() -> SiteData:
    """An atlas of a run that found nothing at all."""
    links = {"sae_a": pa.string(), "feature_a": pa.int64(), "sae_b": pa.string(), "feature_b": pa.int64()}
    nodes = {
        "sae": pa.string(),
        "feature_idx": pa.int64(),
        "emotion": pa.string(),
        "x": pa.float64(),
        "y": pa.float64(),
    }
    ledger = {"sae": pa.string(), "feature_idx": pa.int64(), "emotion": pa.string()}
    return SiteData(
        model="nothing",
        synthetic=False,
        manifest={},
        saes=_no_rows({"name": pa.string(), "hook_name": pa.string()}),
        nodes=_no_rows(nodes),
        links=_no_rows(links | {"relation": pa.string()}),
        concepts=_no_rows({"concept": pa.int64()}),
        emotions=_no_rows({"emotion": pa.string()}),
        ledger=_no_rows(ledger),
    )


def odd_example(tokens: Sequence[str], story_id: str = "odd", **changes: Any) -> Example:
    """A story of these tokens, strongest at the first, for the first feature of the atlas."""
    values = tuple(9.0 if place == 0 else 0.0 for place in range(len(tokens)))
    fields = {"sae": "early", "feature_idx": 0, "story_id": story_id, "emotion": "afraid", "split": "confirm"}
    return Example(**fields | {"tokens": tuple(tokens), "values": values} | changes)


def _no_rows(columns: dict[str, pa.DataType]) -> pa.Table:
    return pa.schema(list(columns.items())).empty_table()


def _sae_row(name: str, place: int) -> dict[str, Any]:
    hook = f"blocks.{1 if place == 0 else 3}.hook_resid_post"
    quality = {"d_sae": 1024, "l0": 11.6 + place, "fvu": 0.114, "dead_fraction": 0.02, "seed": place}
    return {"name": name, "hook_name": hook, "location": f"saes/{name}", "architecture": "batchtopk"} | quality


def _ledger_rows(sae: str, place: int, per_emotion: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for number, emotion in enumerate(EMOTIONS):
        for rank in range(per_emotion):
            rows.append(_ledger_row(sae, number * per_emotion + rank, emotion, rank + place, rng))
    return rows


def _ledger_row(sae: str, feature_idx: int, emotion: str, badness: int, rng: np.random.Generator) -> dict[str, Any]:
    auroc = float(np.clip(0.97 - 0.06 * badness - 0.05 * rng.random(), 0.5, 1))
    rival = next((other for pair in PAIRS if emotion in pair for other in pair if other != emotion), "calm")
    rival = rival if rival != emotion else "proud"
    row = {
        "sae": sae,
        "feature_idx": feature_idx,
        "emotion": emotion,
        "rank": badness + 1,
        "auroc": auroc,
        "cohens_d": 4 * (auroc - 0.5),
        "fire_rate_pos": auroc - 0.1,
        "fire_rate_neg": 1 - auroc,
        "q_bh": 10 ** (-12 * (auroc - 0.5)),
        "auroc_min_rival": auroc - 0.1,
        "rival": rival,
        "auroc_confirm": auroc - 0.02,
        "auroc_confirm_lo": auroc - 0.08,
        "auroc_confirm_hi": min(0.999, auroc + 0.02),
        "auroc_rival_confirm": auroc - 0.12,
        "auroc_rival_confirm_lo": auroc - 0.24,
        "auroc_rival_confirm_hi": auroc - 0.03,
        "auroc_control": 0.62,
        "verdict_cap": None,
        "verdict": _verdict(auroc, badness),
    }
    is_dial = badness == 0 and sae == "early" and emotion in ("desperate", "calm", "proud")
    change = {"desperate": 0.44, "calm": -0.29, "proud": 0.02}.get(emotion, 0.0)
    causal = {
        "output_score_lo": 1.2,
        "coherence": 0.97,
        "delta": change,
        "delta_lo": change - 0.09,
        "delta_hi": change + 0.09,
        "dose_slope": change,
        "dose_slope_lo": change - 0.1,
        "dose_slope_hi": change + 0.1,
        "control_gap_lo": abs(change) - 0.2,
        "second_seed_gap_lo": abs(change) - 0.25,
    }
    row |= {name: value if is_dial else None for name, value in causal.items()}
    if is_dial:
        row["verdict"] = {"desperate": "survives controls", "calm": "survives controls"}.get(emotion, "steers text")
    return row


def _verdict(auroc: float, badness: int) -> str:
    return "none" if auroc < 0.72 else "specific" if badness < 3 else "detected"


def _tabulate_nodes(ledger: list[dict[str, Any]], per_emotion: int, rng: np.random.Generator) -> pa.Table:
    rows = []
    for row in ledger:
        number = EMOTIONS.index(row["emotion"])
        angle = 2 * np.pi * _ring_place(number) / len(EMOTIONS)
        shift = rng.normal(0, 0.09, 2)
        profile = rng.uniform(0.3, 0.6, len(EMOTIONS))
        profile[number] = row["auroc"]
        profile[EMOTIONS.index(row["rival"])] = row["auroc"] - 0.2
        rows.append(
            {
                "sae": row["sae"],
                "feature_idx": row["feature_idx"],
                "emotion": row["emotion"],
                "fire_rate": 0.2,
                "x": float(np.cos(angle) + shift[0]),
                "y": float(np.sin(angle) + shift[1]),
                "profile": profile.tolist(),
                "concept": number if row["feature_idx"] % per_emotion == 0 else None,
            }
        )
    return pa.Table.from_pylist(rows)


def _ring_place(number: int) -> float:
    """Pairs that overlap stand side by side."""
    moved = {"sad": EMOTIONS.index("grieving") + 0.4, "excited": EMOTIONS.index("joyful") - 0.4}
    return moved.get(EMOTIONS[number], number)


def _tabulate_links(per_emotion: int) -> pa.Table:
    pairs = ((0, 1), (1, 2), (0, 2))
    return pa.Table.from_pylist(
        [
            {
                "sae_a": SAES[a],
                "feature_a": number * per_emotion,
                "sae_b": SAES[b],
                "feature_b": number * per_emotion,
                "relation": "match" if number % 5 else "split",
                "by": "activation",
                "activation_corr": 0.9 - 0.02 * number,
                "decoder_cosine": 0.8 if (a, b) == (1, 2) else None,
            }
            for a, b in pairs
            for number in range(len(EMOTIONS))
        ]
    )


def _tabulate_concepts(per_emotion: int) -> pa.Table:
    rows = []
    for number, emotion in enumerate(EMOTIONS):
        members = [f"{sae}/{number * per_emotion}" for sae in SAES]
        about = {"concept": number, "name": emotion, "emotions": [emotion], "members": members}
        rows.append(about | {"n_saes": 3, "stability": 1.0, "mean_activation_corr": 0.9})
    return pa.Table.from_pylist(rows)


def _emotion_row(name: str) -> dict[str, Any]:
    order = [*(e for e in EMOTIONS if e not in ("sad", "excited"))]
    order.insert(order.index("grieving") + 1, "sad")
    order.insert(order.index("joyful"), "excited")
    best = {"sae": "early", "feature_idx": EMOTIONS.index(name) * 4}
    return {"emotion": name, "order": order.index(name), "n_discovered": 9, "notes": "", **best}


def _tabulate_overlap(rng: np.random.Generator) -> pa.Table:
    noise = {frozenset((a, b)): float(rng.uniform(0, 0.16)) for a in EMOTIONS for b in EMOTIONS}
    near = {frozenset(pair): 0.5 for pair in PAIRS}
    rows = [
        {"emotion_a": a, "emotion_b": b, "cosine": 1.0 if a == b else (noise | near)[frozenset((a, b))]}
        for a in EMOTIONS
        for b in EMOTIONS
    ]
    return pa.Table.from_pylist([row | {"jaccard": row["cosine"] / 2, "n_shared": 1} for row in rows])


def _baseline_rows(emotion: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    values = {"bag_of_words": 0.6 + 0.2 * rng.random(), "difference_of_means": 0.85 + 0.1 * rng.random()}
    spans = {"auroc_confirm": 0.0, "auroc_confirm_lo": -0.05, "auroc_confirm_hi": 0.04}
    return [
        {"baseline": name, "hook_name": None, "emotion": emotion} | {key: value + by for key, by in spans.items()}
        for name, value in values.items()
    ]


def _tabulate_scenario(rng: np.random.Generator) -> pa.Table:
    rows = [_arm("none", "-", "none", 0.0, 0.0)]
    for dial, role, change in (("desperate", "target", 0.44), ("calm", "opponent", -0.29), ("proud", "decoy", 0.02)):
        rows += [_arm("up", dial, role, dose, change * dose / 0.8) for dose in (0.4, 0.8, 1.2)]
        rows += [_arm("down", dial, role, 0.8, -0.6 * change), _arm("off", dial, role, 0.0, -0.3 * change)]
    rows.append(_arm("up", "desperate", "target", 0.8, 0.5) | {"method": "vector"})
    rows.append(_arm("up", "desperate", "target", 0.8, 0.4) | {"hides_naming": True})
    rows += [_arm("random", f"set {n}", "control", 0.8, float(rng.normal(0, 0.02))) for n in range(3)]
    return pa.Table.from_pylist(rows)


def _arm(condition: str, dial: str, role: str, dose: float, change: float) -> dict[str, Any]:
    rate = float(np.clip(0.41 + change, 0.01, 0.99))
    about = {
        "condition": condition,
        "dial": dial,
        "method": "-" if role == "none" else "sae",
        "role": role,
        "dose": dose,
    }
    about |= {"primary": dose in (0.0, 0.8), "hides_naming": False, "n": 240, "silent": abs(change) < 0.03}
    spans = {"rate": rate, "lo": max(0.0, rate - 0.06), "hi": min(1.0, rate + 0.06), "coherence": 0.97}
    deltas = {
        "delta": change,
        "delta_lo": change - 0.08,
        "delta_hi": change + 0.08,
        "p": 0.001 if abs(change) > 0.1 else 0.6,
    }
    return about | spans | (deltas if condition != "none" else {name: None for name in deltas})


def _examples_of(row: dict[str, Any], rng: np.random.Generator) -> list[Example]:
    cue = CUES[row["emotion"]]
    own = [
        _read_story(row, row["emotion"], cue, split, place, rng)
        for place, split in enumerate(("confirm", "confirm", "discover"))
    ]
    other = row["rival"]
    return [*own, _read_story(row, other, CUES[other], "confirm", 9, rng, strength=0.3)]


def _read_story(
    row: dict[str, Any], emotion: str, cue: str, split: str, place: int, rng: np.random.Generator, strength: float = 1.0
) -> Example:
    topics = ("The last train had left the station", "Dinner was almost ready", "The letter lay on the table")
    topic, after = topics[place % 3], "Outside, a neighbour was sweeping the steps."
    words = f"{topic}, and {cue}. {after} Then {cue}, as on every other evening that week."
    tokens = [word if at == 0 else f" {word}" for at, word in enumerate(words.split(" "))]
    is_cue = [word.strip(" ,.") in cue.split() and len(word) > 4 for word in tokens]
    values = [round(float(strength * rng.gamma(4, 1.5)), 3) if hot else 0.0 for hot in is_cue]
    values[next(at for at, hot in enumerate(is_cue) if hot)] += 2 * strength
    story_id = f"{emotion}-{place:02d}"
    return Example(row["sae"], row["feature_idx"], story_id, emotion, split, tuple(tokens), tuple(values))
