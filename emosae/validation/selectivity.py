"""Simulate, judge, and write down what the selectivity protocol does where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from emosae.report.page import draw_plates, render_html, render_markdown
from emosae.store import Stage
from emosae.validation.experiments import Counts
from emosae.validation.page import build_page
from emosae.validation.plan import BARS, Condition, gather_counts, plan_conditions
from emosae.validation.running import run_conditions
from emosae.validation.verdicts import Finding, as_records, judge_bar, measure_rate


def validate_selectivity(simulations: int, seed: int, stage: Stage, *, progress: bool = True) -> list[Finding]:
    """Run every condition that is not in `stage` yet, and judge every bar.

    Writes `validation.json`, `index.html` and `validation.md` there, beside the journal of simulations.

    Args:
        simulations: Of the global null; the others follow from it (see `plan_conditions`).
        seed: Start of every random number.
        stage: Where the simulations are kept.
        progress: Whether to show a bar.
    """
    conditions = plan_conditions(simulations)
    counts = run_conditions(conditions, seed, stage, progress=progress)
    findings = [judge_bar(bar, gather_counts(counts, bar.condition)) for bar in BARS]
    page = build_page(findings, counts, f"emosae validate selectivity --simulations {simulations} --seed {seed}")
    record = {
        "simulations": simulations,
        "seed": seed,
        "bars": [_as_record(one) for one in findings],
        "conditions": [_describe_condition(one, counts[one.name]) for one in conditions],
    }
    stage.write_json("validation", record)
    stage.write_text("validation.md", render_markdown(page))
    stage.write_text("index.html", render_html(page, draw_plates(page)))
    return findings


def _as_record(finding: Finding) -> dict[str, Any]:
    rates = as_records({"rate": finding.rate})["rate"]
    return asdict(finding.bar) | rates | {"simulations": finding.rate.simulations, "verdict": finding.verdict}


def _describe_condition(condition: Condition, counts: Sequence[Counts]) -> dict[str, Any]:
    measures = sorted({name for one in counts for name in one})
    rates: Mapping[str, Any] = as_records({name: measure_rate(counts, name) for name in measures})
    return asdict(condition) | {"measures": rates}
