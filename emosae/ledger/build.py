"""Join what every stage says of a feature into one row, and judge it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.ledger.behaviour import read_behaviour
from emosae.ledger.controls import measure_controls
from emosae.ledger.verdicts import judge

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

TEXTS = ("verdict", "earned_by", "held_back_by", "nearest_control")
COUNTS = ("seed_matches", "layer_matches", "n_controls", "n_random_sets", "dial_size")
NUMBERS = (
    "auroc_control", "output_score", "output_score_lo", "output_score_hi", "dose", "dose_of_max", "rate", "rate_lo",
    "rate_hi", "delta", "delta_lo", "delta_hi", "p_behaviour", "p_holm", "coherence", "parse_rate", "solved",
    "solved_lo", "solved_hi", "kl_neutral", "dose_slope", "dose_slope_lo", "dose_slope_hi", "p_dose_bend", "dose_turn",
    "control_gap", "control_gap_lo", "control_gap_hi", "random_percentile", "second_seed_gap", "second_seed_gap_lo",
    "second_seed_gap_hi",
)  # fmt: skip
_SCORE = ("output_score", "output_score_lo", "output_score_hi")


def build_ledger(
    candidates: pa.Table,
    *,
    profiles: pa.Table | None = None,
    links: pa.Table | None = None,
    dials: pa.Table | None = None,
    summary: pa.Table | None = None,
    contrasts: pa.Table | None = None,
    slopes: pa.Table | None = None,
    second_seed: pa.Table | None = None,
) -> pa.Table:
    """One row per candidate: its own columns, what other stages say of it (null where nothing does), its verdict.

    What an arm did is evidence for the features that were its dial, and for no other; `dial_size` says how many were
    turned together. A dial that is no candidate gets a row too, so that no evidence is lost.

    Args:
        candidates: `selectivity/candidates`.
        profiles: `selectivity/profiles`, for `auroc_control`.
        links: `atlas/links`, for `seed_matches` (SAEs that read the same place and hold a match) and `layer_matches`.
        dials: Rows `emotion, sae, feature_idx` of the features that were turned, with `output_score` and its interval
            if it was measured.
        summary: `scenarios/impossible_code/summary`.
        contrasts: `scenarios/impossible_code/contrasts`.
        slopes: `scenarios/impossible_code/slopes`.
        second_seed: The contrasts of the same arms with the dials of an SAE of another seed.
    """
    candidates = _add_dials(candidates, _rows(dials))
    rows = candidates.to_pylist()
    controls = measure_controls(rows, profiles)
    matches = _count_matches(rows, links)
    turned = {(dial["sae"], dial["feature_idx"], dial["emotion"]): dial for dial in _rows(dials)}
    behaviour = read_behaviour(_rows(summary), _rows(contrasts), _rows(slopes), _rows(second_seed))
    for row, control in zip(rows, controls, strict=True):
        row["auroc_control"] = control
        row.update(matches.get((row["sae"], row["feature_idx"]), {}))
        dial = turned.get((row["sae"], row["feature_idx"], row["emotion"]))
        if dial is not None:
            row.update({name: dial.get(name) for name in (*_SCORE, "dial_size")})
            if dial.get("choice", "first") == "first":
                row.update(behaviour.get(row["emotion"], {}))
        verdict = judge(row)
        row |= {"verdict": verdict.name, "earned_by": verdict.earned_by, "held_back_by": verdict.held_back_by}
    return _tabulate(rows, candidates)


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_pylist()


def _add_dials(candidates: pa.Table, dials: Sequence[Row]) -> pa.Table:
    """The candidates, and below them the dials that are none, with nulls where only the ranking could say."""
    import pyarrow as pa

    rows = candidates.to_pylist()
    held = {(row["sae"], row["feature_idx"], row["emotion"]) for row in rows}
    hooks = {row["sae"]: row["hook_name"] for row in rows}
    missing = [
        {"hook_name": hooks.get(dial["sae"]), **{name: dial[name] for name in ("sae", "feature_idx", "emotion")}}
        for dial in dials
        if (dial["sae"], dial["feature_idx"], dial["emotion"]) not in held
    ]
    if not missing:
        return candidates
    return pa.concat_tables([candidates, pa.Table.from_pylist(missing, schema=candidates.schema)])


def _count_matches(rows: Sequence[Row], links: pa.Table | None) -> dict[tuple[str, int], dict[str, int]]:
    """For each candidate the other SAEs that hold a match of it, at the same hook and at others."""
    if links is None:
        return {}
    hooks = {row["sae"]: row["hook_name"] for row in rows}
    partners: dict[tuple[str, int], set[str]] = {}
    for link in links.to_pylist():
        if link["relation"] == "match":
            partners.setdefault((link["sae_a"], link["feature_a"]), set()).add(link["sae_b"])
            partners.setdefault((link["sae_b"], link["feature_b"]), set()).add(link["sae_a"])
    counts = {}
    for feature in {(row["sae"], row["feature_idx"]) for row in rows}:
        same = Counter(hooks.get(sae) == hooks[feature[0]] for sae in partners.get(feature, ()))
        counts[feature] = {"seed_matches": same[True], "layer_matches": same[False]}
    return counts


def _tabulate(rows: Sequence[Row], candidates: pa.Table) -> pa.Table:
    """The candidates' own columns as they were, and ours with types that do not depend on what is null."""
    import pyarrow as pa

    table = candidates
    for names, kind in ((TEXTS, pa.string()), (COUNTS, pa.int64()), (NUMBERS, pa.float64())):
        for name in names:
            column = pa.array([row.get(name) for row in rows], kind)
            table = table.drop_columns([name]) if name in table.column_names else table
            table = table.append_column(name, column)
    order = ["sae", "feature_idx", "emotion", "verdict", "earned_by", "held_back_by"]
    return table.select([*order, *(name for name in table.column_names if name not in order)])
