"""Rates with their Monte-Carlo errors, and whether each bar holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emosae.validation.experiments import Counts
from emosae.validation.plan import TOLERANCE, Bar

OK, FAILED = "ok", "FAILED"


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio of sums over simulations, in [0, 1], and its Monte-Carlo standard error; NaN if nothing was counted."""

    value: float
    error: float
    simulations: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A bar, what was measured, and the verdict: `ok` or `FAILED`."""

    bar: Bar
    rate: Rate
    verdict: str


def measure_rate(counts: Sequence[Counts], measure: str, sd: float = 0.0) -> Rate:
    """Numerators over denominators, each summed over the simulations, which are independent.

    Args:
        counts: One per simulation.
        measure: Which; a simulation without it counts nothing.
        sd: Deviation of one simulation below which the error must not be taken.
    """
    part, whole = np.array([one.get(measure, (0.0, 0.0)) for one in counts], dtype=float).reshape(-1, 2).T
    total = whole.sum()
    if total == 0:
        return Rate(math.nan, math.nan, len(counts))
    value = part.sum() / total
    error = np.sqrt(((part - value * whole) ** 2).sum()) / total
    return Rate(float(value), float(max(error, sd / np.sqrt(len(counts)))), len(counts))


def judge_bar(bar: Bar, counts: Sequence[Counts]) -> Finding:
    """Whether the rate lies within the bar, give or take TOLERANCE errors; what was not measured has failed."""
    rate = measure_rate(counts, bar.measure, bar.sd)
    slack = TOLERANCE * rate.error
    return Finding(bar, rate, OK if bar.lo - slack <= rate.value <= bar.hi + slack else FAILED)


def format_findings(findings: Sequence[Finding]) -> str:
    """The table that the console prints."""
    heads = ("claim", "bar", "measured", "error", "simulations", "verdict")
    rows = [heads, *(write_row(one) for one in findings)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def write_row(finding: Finding) -> tuple[str, ...]:
    """A finding as texts."""
    bar, rate = finding.bar, finding.rate
    measured = (f"{rate.value:.4f}", f"{rate.error:.4f}", f"{rate.simulations}")
    return (bar.claim, _write_range(bar.lo, bar.hi), *measured, finding.verdict)


def as_records(rates: Mapping[str, Rate]) -> dict[str, dict[str, float | None]]:
    """Rates for JSON; null where nothing was counted."""
    return {
        name: {key: None if math.isnan(x) else x for key, x in (("value", one.value), ("error", one.error))}
        for name, one in rates.items()
    }


def _write_range(lo: float, hi: float) -> str:
    if lo == hi:
        return f"= {lo:g}"
    if lo <= 0:
        return f"<= {hi:g}"
    return f">= {lo:g}" if hi >= 1 else f"{lo:g} to {hi:g}"
