"""The validation as a page: its bars, and the curves of power and false discoveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from emosae.report.content import Page, Plate, Section, TextTable
from emosae.report.figures import Estimate, Line, MarkStyle, Panel, Panels, draw_panels
from emosae.validation.experiments import ALPHA, BANDS, Counts, name_band
from emosae.validation.plan import CURVES, LAYOUTS, TOLERANCE, gather_counts
from emosae.validation.verdicts import FAILED, Finding, Rate, measure_rate, write_row

_LINES = (
    ("power", "true features found by q", MarkStyle("o", "accent")),
    ("power_maxt", "by max-T", MarkStyle("s", "other", True)),
    ("fdp", "false share of discoveries", MarkStyle("^", "up")),
)
_HEADS = ("claim", "bar", "measured", "error", "simulations", "verdict")


def build_page(findings: Sequence[Finding], counts: Mapping[str, Sequence[Counts]], command: str) -> Page:
    """What was claimed, what was measured, and how both change with the world."""
    failed = [one.bar.claim for one in findings if one.verdict == FAILED]
    bars = Section(
        name="bars",
        title="Bars",
        finding=f"Failed: {'; '.join(failed)}." if failed else f"All {len(findings)} bars hold.",
        paragraphs=(f"Command: {command}", f"A bar may be missed by {TOLERANCE:g} Monte-Carlo standard errors."),
        tables=(("Measured", TextTable(_HEADS, tuple(map(write_row, findings)), frozenset({2, 3, 4}))),),
    )
    return Page(
        title="Error control of the selectivity protocol on planted truth",
        deck="Synthetic dictionaries whose emotion features are known go through the package's own ranking.",
        badge="synthetic",
        cautions=("These worlds hold six emotions and about a hundred features; a real family is far larger.",),
        notes=(),
        sections=(bars, _show_curves(counts), _show_coverage(counts)),
    )


def _show_curves(counts: Mapping[str, Sequence[Counts]]) -> Section:
    return Section(
        name="curves",
        title="Power and false discoveries",
        finding=f"Discoveries at q < {ALPHA:g} and max-T at p <= {ALPHA:g}, over six properties of the world.",
        paragraphs=(
            "A feature lifted in stories of its emotion is true for it, the shared feature for both of its emotions. "
            "One absorbed so often that it falls below chance is no longer true, and counts as false if it is found.",
            "Where an emotion has several stories on a topic they are one observation: what else they share would pass "
            "for the emotion. More of them make it steadier, but only topics make more observations.",
        ),
        plates=tuple(_draw_curve(at, title, counts) for at, title in enumerate(CURVES)),
    )


def _draw_curve(at: int, x_axis: str, counts: Mapping[str, Sequence[Counts]]) -> Plate:
    points = CURVES[x_axis]
    rates = [[measure_rate(counts[name], measure) for _, name in points] for measure, _, _ in _LINES]
    x = tuple(float(value) for value, _ in points)
    lines = tuple(
        Line(name, x, tuple(map(_estimate, column)), style)
        for (_, name, style), column in zip(_LINES, rates, strict=True)
    )
    panels = Panels((Panel(x_axis, lines),), x_axis, "share", legend=tuple((style, name) for _, name, style in _LINES))
    rows = tuple(
        (f"{value:g}", *(f"{column[row].value:.3f} ± {column[row].error:.3f}" for column in rates))
        for row, value in enumerate(x)
    )
    return Plate(
        name=f"curve-{at}",
        title=x_axis[0].upper() + x_axis[1:],
        caption="Bars are two Monte-Carlo errors to each side; the table gives one.",
        alt=f"Power and false discoveries over {x_axis}",
        draw=partial(draw_panels, panels),
        table=TextTable((x_axis, *(name for _, name, _ in _LINES)), rows, frozenset(range(4))),
    )


def _show_coverage(counts: Mapping[str, Sequence[Counts]]) -> Section:
    measures = ["noise", *map(name_band, BANDS[:-1]), "rival", "difference"]
    rows = tuple((name.split(", ")[1], *_write_coverage(gather_counts(counts, name), measures)) for name in LAYOUTS)
    heads = ("layout", "know nothing", *measures[1:-2], "against the fixed rival", "less the shared feature")
    return Section(
        name="coverage",
        title="Confirm intervals",
        finding="Share of 95% intervals that hold the truth, by confirm topics x stories of each emotion on each.",
        paragraphs=("The truth is the AUROC of stories on two different topics, drawn from infinitely many.",),
        tables=(("Coverage", TextTable(heads, rows, frozenset(range(1, len(heads))))),),
    )


def _write_coverage(counts: Sequence[Counts], measures: Sequence[str]) -> list[str]:
    rates = [measure_rate(counts, measure) for measure in measures]
    return ["-" if rate.value != rate.value else f"{rate.value:.3f} ± {rate.error:.3f}" for rate in rates]


def _estimate(rate: Rate) -> Estimate:
    return Estimate(rate.value, rate.value - 2 * rate.error, rate.value + 2 * rate.error)
