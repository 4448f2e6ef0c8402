"""Calibrate the dials of a run: every dial at every dose, one by one, and the dose that is fixed for each."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from emosae.config import RunConfig
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.hooks import NO_EDITS
from emosae.interventions import edit_fns, norm_for_kl, token_kl
from emosae.pipeline.dial_stage import BEGINNING, Dials, find_dials, tune_documents
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.runner import run_until
from emosae.prompts import Prompt
from emosae.scenarios.calibration import NUMBERS, TuneText, choose_primary, measure_dose, write_on
from emosae.scenarios.conditions import FeatureSet
from emosae.scenarios.tables import make_table
from emosae.store import Stage, Store

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

JOURNAL = "calibration"
DIALS, CHOSEN = "dials", "chosen"
CONTINUATIONS = 64
NEUTRAL_TEXTS = 32
NEUTRAL_TOKENS = 64


@dataclass(frozen=True, slots=True)
class DoseGrid:
    """Where each dial is measured.

    Attributes:
        doses: Added norms over the mean residual norm.
        kls: And the doses, up to the largest of those, at which neutral text is moved by so many nats per token.
    """

    doses: tuple[float, ...]
    kls: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.doses or min(*self.doses, *self.kls, 1.0) <= 0:
            raise UserError("doses and KLs must be above 0, and there must be a dose")


def calibrate_dials(cfg: RunConfig, store: Store, grid: DoseGrid) -> pa.Table:
    """Measure every dial of a run at every dose on tune stories, and write `dials/calibration.parquet` and its page.

    Stages that are missing up to the ranking are run first. What was measured before from the same inputs is kept.

    Returns:
        A row per dial and dose; `primary` marks the dose that is fixed for a dial.
    """
    run_until(cfg, store, "selectivity")
    inputs, stage = Inputs(cfg, store), store.stage(DIALS)
    rows = _measure_all(inputs, _choose_dials(inputs, stage), grid, stage)
    table = _tabulate(rows)
    stage.write_table("calibration", table)
    _write_page(inputs, table, stage)
    return table


def calibrate_turned(inputs: Inputs, dials: Dials, stage: Stage) -> tuple[Dials, list[str]]:
    """The dials with the doses that tune stories fix for them if the config wants that, and what has to be said of it.

    Measured are those that scenarios turn and to which the config gives no dose of their own; what was measured of them
    for `dials/calibration.parquet` is not measured again. The table is written as `calibration`.
    """
    section = inputs.cfg.scenarios
    sets = dials.sets(inputs, [name for name in section.turned if name not in section.doses_by_dial])
    if section.dose != "calibrated" or not sets:
        return dials, []
    rows = _measure_all(inputs, sets, DoseGrid(section.calibration_doses), inputs.store.stage(DIALS))
    stage.write_table("calibration", _tabulate(rows))
    found = {row["emotion"]: row["dose"] for row in rows if row["primary"]}
    broken = [features.name for features in sets if features.name not in found]
    lowest = min(section.calibration_doses)
    notes = [f"No dose of {name} leaves text in one piece; it is turned at the lowest, {lowest:g}." for name in broken]
    return replace(dials, doses={**dials.doses, **dict.fromkeys(broken, lowest), **found}), notes


def _choose_dials(inputs: Inputs, stage: Stage) -> list[FeatureSet]:
    """The dials that the scenarios turn, by emotion; those of an earlier call if nothing they depend on changed."""
    ranked = inputs.store.read_manifest()["stages"]["selectivity"]["input_hash"]
    recipe = content_hash(ranked, inputs.cfg.scenarios.model_dump(mode="json"), _hash_code())
    if not (stage.has(f"{CHOSEN}.json") and (kept := stage.read_json(CHOSEN))["inputs"] == recipe):
        dials = find_dials(inputs)
        if not dials.chosen:
            raise UserError("no emotion has a feature that is fit to be a dial, so there is nothing to calibrate")
        chosen = [_as_record(features) for features in dials.sets(inputs, sorted(dials.chosen))]
        kept = {"inputs": recipe, "dials": chosen}
        stage.write_json(CHOSEN, kept)
    return [
        FeatureSet(
            name=one["name"],
            dictionary=inputs.dictionaries[one["sae"]],
            feature_idx=tuple(one["feature_idx"]),
            resid_norm=one["resid_norm"],
            max_act=tuple(one["max_act"]),
        )
        for one in kept["dials"]
    ]


def _as_record(features: FeatureSet) -> dict[str, Any]:
    return {
        "name": features.name,
        "sae": features.dictionary.name,
        "feature_idx": features.feature_idx,
        "resid_norm": features.resid_norm,
        "max_act": features.max_act,
    }


def _gather_text(inputs: Inputs, emotions: Sequence[str]) -> TuneText:
    """Tune stories, in the shares in which the corpus has them."""
    tune = [story for story in inputs.stories if story.split == "tune"]
    if not tune:
        raise UserError("the corpus has no tune stories: doses cannot be chosen without looking at what is kept back")
    neutral = [story for story in tune if story.is_neutral] or tune
    spread = tune[:: max(1, len(tune) // CONTINUATIONS)][:CONTINUATIONS]
    pairs = {emotion: tune_documents(inputs, emotion) for emotion in emotions}
    return TuneText(
        beginnings=[inputs.lm.document(story.text)[:BEGINNING] for story in spread],
        neutral=[inputs.lm.document(story.text)[:NEUTRAL_TOKENS] for story in neutral[:NEUTRAL_TEXTS]],
        own={emotion: own for emotion, (own, _) in pairs.items()},
        others={emotion: others for emotion, (_, others) in pairs.items()},
        seed=inputs.cfg.seed,
    )


def _measure_all(inputs: Inputs, sets: Sequence[FeatureSet], grid: DoseGrid, stage: Stage) -> list[dict[str, Any]]:
    text = _gather_text(inputs, [features.name for features in sets])
    ordinary = write_on(inputs.lm, text, NO_EDITS)
    common = (text.beginnings, text.neutral, text.n_tokens, text.seed)
    shared = content_hash(inputs.lm.weight_hash, *common, _hash_code())
    kept = {line["inputs"]: line["row"] for line in stage.read_lines(JOURNAL)}
    rows = []
    with tqdm(total=len(sets) * (len(grid.doses) + len(grid.kls)), unit="dose") as bar:
        for features in sets:
            bar.set_description(features.name)
            facts = _describe(features)
            weights = inputs.dictionaries[features.dictionary.name].weight_hash
            stories = (text.own[features.name], text.others[features.name])
            for dose in _find_doses(inputs, features, grid, text):
                recipe = content_hash(shared, weights, facts, features.resid_norm, *stories, dose)
                if recipe not in kept:
                    kept[recipe] = measure_dose(inputs.lm, features, dose, text, ordinary)
                    stage.append_line(JOURNAL, {"inputs": recipe, "row": kept[recipe]})
                rows.append(facts | kept[recipe] | {"primary": False})
                bar.update()
    for features in sets:
        mine = [row for row in rows if row["emotion"] == features.name]
        primary = choose_primary(mine)
        if primary is not None:
            mine[primary]["primary"] = True
    return rows


def _describe(features: FeatureSet) -> dict[str, Any]:
    return {
        "emotion": features.name,
        "sae": features.dictionary.name,
        "hook_name": features.dictionary.hook_name,
        "feature_idx": list(features.feature_idx),
    }


def _find_doses(inputs: Inputs, features: FeatureSet, grid: DoseGrid, text: TuneText) -> list[float]:
    """The grid's doses and those of its KLs, lowest first; a KL that the largest dose does not reach is left out."""
    marked = [Prompt(tuple(ids), (True,) * len(ids)) for ids in text.neutral]

    @cache
    def kl_at(dose: float) -> float:
        return token_kl(inputs.lm, marked, edit_fns((features.up(dose),)))

    found = [norm_for_kl(kl_at, kl, max(grid.doses), steps=8) for kl in grid.kls]
    missed = [f"{kl:g}" for kl, dose in zip(grid.kls, found, strict=True) if math.isnan(dose)]
    if missed:
        _log.warning("%s: no dose up to %g has a KL of %s", features.name, max(grid.doses), ", ".join(missed))
    return sorted({*grid.doses, *(dose for dose in found if not math.isnan(dose))})


@cache
def _hash_code() -> str:
    package = Path(str(files("emosae")))
    names = ("calibration.py", "conditions.py", "dials.py", "text_gain.py")
    scenarios = [package / "scenarios" / name for name in names]
    return content_hash(*sorted((package / "interventions").glob("*.py")), *scenarios)


def _tabulate(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return make_table(
        rows,
        texts=("emotion", "sae", "hook_name"),
        numbers=NUMBERS,
        counts=("feature_idx[]",),
        flags=("coherent", "primary"),
    )


def _write_page(inputs: Inputs, table: pa.Table, stage: Stage) -> None:
    from emosae.report.calibration_page import build_page
    from emosae.report.page import draw_plates, render_html

    page = build_page(table, model=inputs.model_title, synthetic=inputs.is_organism)
    stage.write_text("index.html", render_html(page, draw_plates(page)))
