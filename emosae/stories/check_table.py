"""A CheckReport as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from emosae.stories.findings import Check, CheckReport
from emosae.stories.text_table import align_columns

_WIDTH = 120


def format_report(report: CheckReport, show: int | None = 5) -> str:
    """Counts, one row per check, up to `show` violations of each (None: all), and one row per emotion."""
    counts = f"{report.n_stories} stories, {report.n_emotions} emotions, {report.n_topics} topics"
    neutral = f", {report.n_neutral} neutral texts" if report.n_neutral else ""
    return "\n".join(
        [counts + neutral, "", *_checks(report), *_violations(report.checks, show), "", *_emotions(report)]
    )


def _checks(report: CheckReport) -> list[str]:
    rows = [("check", "verdict", "violations", "measured", "limit", "what is measured")]
    for check in report.checks:
        measured = "-" if check.measured is None else f"{check.measured:.3g}"
        unit = f"{check.unit} ({check.note})" if check.note else check.unit
        rows.append((check.name, check.verdict, str(len(check.violations)), measured, check.limit, unit))
    return align_columns(rows)


def _violations(checks: Sequence[Check], show: int | None) -> list[str]:
    lines = []
    for check in checks:
        if not check.violations:
            continue
        lines += ["", f"{check.name}: {len(check.violations)}"]
        for violation in check.violations[:show]:
            text = f"{violation.where}: {violation.problem}"
            lines += wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        if show is not None and len(check.violations) > show:
            lines.append(f"  and {len(check.violations) - show} more")
    return lines


def _emotions(report: CheckReport) -> list[str]:
    leakage = report.leakage
    rows = [("emotion", "stories", "words", "first person", "found by words", "words leaned on (log odds added)")]
    for row in report.emotions:
        share = "-" if row.first_share is None else f"{row.first_share:.2f}"
        recall = f"{leakage.recall[row.emotion]:.2f}" if leakage and row.emotion in leakage.recall else "-"
        leaning = leakage.leaning.get(row.emotion, ()) if leakage else ()
        words = " ".join(f"{lean.word} {lean.weight:.2f}" for lean in leaning[:6])
        rows.append((row.emotion, str(row.stories), f"{row.mean_words:.1f}", share, recall, words))
    return align_columns(rows)
