"""Whether what was planted in two SAEs of one dictionary is found again, and nothing in two that share none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from emosae.files import content_hash
from emosae.matching import Criteria, match_features
from emosae.store import Stage
from emosae.validation.experiments import Counts
from emosae.validation.plan import Bar
from emosae.validation.twins import Twins, TwinWorld, plant_twins
from emosae.validation.verdicts import Finding, format_findings, judge_bar

DEFAULT = Criteria()

_LABELLED = ("split", "merge", "absorbed")
_BARE = TwinWorld(n_changed=0, is_related=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """A world, and how its SAEs are matched."""

    name: str
    world: TwinWorld
    criteria: Criteria = DEFAULT


SETTINGS = (
    *(Setting(f"noise {noise:g}", TwinWorld(noise=noise)) for noise in (0.1, 0.3, 0.6)),
    *(Setting(f"{n} features", TwinWorld(n_features=n, n_changed=n // 10)) for n in (40, 400)),
    *(Setting(f"{n} stories", TwinWorld(n_stories=n)) for n in (200, 800)),
    Setting("other place", TwinWorld(same_hook=False)),
    Setting("assignment", TwinWorld(), Criteria(rule="assignment")),
    Setting("unrelated", _BARE),
    Setting("unrelated, other place", TwinWorld(n_changed=0, is_related=False, same_hook=False)),
    Setting("unrelated, 200 stories", TwinWorld(n_changed=0, is_related=False, n_stories=200)),
)
"""The worlds of the validation; what a name does not say is as in `TwinWorld` and `Criteria`."""


def _list_bars() -> tuple[Bar, ...]:
    bars: list[Bar] = []
    for setting in SETTINGS:
        name = setting.name
        if not setting.world.is_related:
            bars.append(Bar(f"{name}: share of features that are linked", name, "linked", 0.0, DEFAULT.alpha))
            continue
        bars += [Bar(f"{name}: {kind} of matches", name, kind, 0.95, 1.0) for kind in ("precision", "recall")]
        bars += [Bar(f"{name}: {kind} labelled so", name, kind, 0.9, 1.0) for kind in _LABELLED]
        bars.append(Bar(f"{name}: orphans without a link", name, "orphan", 0.95, 1.0))
        bars.append(Bar(f"{name}: false matches beyond the share foretold", name, "excess", 0.0, 0.01))
    return tuple(bars)


BARS = _list_bars()


def validate_atlas(simulations: int, seed: int, stage: Stage, *, progress: bool = True) -> list[Finding]:
    """Plant, match and count `simulations` times in every setting, and judge every bar.

    Writes `validation.json` and `validation.md`.

    Args:
        simulations: Of each setting; each has its own random numbers.
        seed: Start of every random number.
        stage: Where the result goes.
        progress: Whether to show a bar.
    """
    counts: dict[str, list[Counts]] = {}
    with tqdm(total=len(SETTINGS) * simulations, unit="simulation", disable=not progress) as bar:
        for setting in SETTINGS:
            stream = int(content_hash(asdict(setting.world), setting.criteria.rule)[:8], 16)
            counts[setting.name] = []
            for number in range(simulations):
                counts[setting.name].append(count_links(setting, np.random.default_rng([seed, stream, number])))
                bar.update()
    findings = [judge_bar(bar, counts[bar.condition]) for bar in BARS]
    records = [
        asdict(one.bar) | {"value": one.rate.value, "error": one.rate.error, "verdict": one.verdict} for one in findings
    ]
    stage.write_json("validation", {"simulations": simulations, "seed": seed, "bars": records})
    command = f"emosae validate atlas --simulations {simulations} --seed {seed}"
    stage.write_text("validation.md", _write_page(findings, command))
    return findings


def count_links(setting: Setting, rng: np.random.Generator) -> Counts:
    """Match one pair of twins and compare the links with what was planted.

    Returns:
        `precision` and `recall` of matches; share of planted pairs `split`, `merge` and `absorbed` that are labelled
        so; share of planted `orphan`s without a link; `linked`, share of all features that have one. `excess`: false
        matches less those that `activation_false_share` and `decoder_false_share` foretell, over matches.
    """
    twins = plant_twins(setting.world, rng)
    links = match_features(
        twins.a, twins.b, twins.dict_a, twins.dict_b, rng=rng, block=twins.block, criteria=setting.criteria
    ).to_pylist()
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    ends: set[tuple[str, int]] = set()
    for row in links:
        own = ("a", row["feature_a"]) if row["sae_a"] == twins.a.sae else ("b", row["feature_a"])
        other = ("b" if own[0] == "a" else "a", row["feature_b"])
        ends |= {own, other}
        if own[0] == "a":
            found[row["relation"]].add((own[1], other[1]))
    return _compare(twins, found, ends, _foretell(links))


def _compare(
    twins: Twins, found: Mapping[str, set[tuple[int, int]]], ends: set[tuple[str, int]], foretold: float
) -> Counts:
    true, matches = twins.pairs, found.get("match", set())
    right = len(matches & true["match"])
    orphans = [("a", i) if j < 0 else ("b", j) for i, j in true["orphan"]]
    counts = {
        "precision": (float(right), float(len(matches))),
        "recall": (float(right), float(len(true["match"]))),
        "orphan": (float(sum(end not in ends for end in orphans)), float(len(orphans))),
        "linked": (float(len(ends)), float(twins.a.d_sae + twins.b.d_sae)),
        "excess": (max(0.0, len(matches) - right - foretold), float(len(matches))),
    }
    for kind in _LABELLED:
        counts[kind] = (float(len(found.get(kind, set()) & true[kind])), float(len(true[kind])))
    return counts


def _foretell(links: Sequence[Mapping[str, object]]) -> float:
    """How many matches the null takes for false: each measure's share of what it found, a pair of both by the less."""
    total = 0.0
    for row in links:
        shares = {name: row[f"{name}_false_share"] for name in ("activation", "decoder")}
        named = [value for name, value in shares.items() if row["by"] in (name, "both") and isinstance(value, float)]
        total += min(named, default=0.0) if row["relation"] == "match" else 0.0
    return total


def _write_page(findings: Sequence[Finding], command: str) -> str:
    failed = [one.bar.claim for one in findings if one.verdict != "ok"]
    said = f"Failed: {'; '.join(failed)}." if failed else f"All {len(findings)} bars hold."
    return f"# Matching on planted truth\n\n`{command}` printed:\n\n```\n{format_findings(findings)}\n```\n\n{said}\n"
