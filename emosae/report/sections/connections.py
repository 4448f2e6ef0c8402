"""What turns the emotion features on: tokens, and features of earlier layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emosae.report.content import Section, TextTable
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.wording import say_count, say_number, say_rate, say_share

NAME, TITLE = "connections", "How features are connected"
SHOWN_ABSENT = "–"


def write_connections(data: ReportData) -> Section | None:
    """The connections that were confirmed, and all that were tried; None in a run that traced nothing."""
    rows = read_rows(data.connections)
    if not rows:
        return None
    confirmed = [row for row in rows if row["is_confirmed"]]
    return Section(
        NAME,
        TITLE,
        _say_finding(rows),
        paragraphs=(
            "Each emotion's best features are traced back from the tokens where they are strongest. Gradient times "
            "activation proposes sources on half of the stories; on the other half each source is cut: a token is "
            "replaced by the mean token, a feature of an earlier layer is ablated. A source is confirmed if the share "
            "of the activation that is lost, and its lead over matched controls, both have intervals above 0. Each is "
            "a test of its own.",
        ),
        tables=(("Confirmed sources", _tabulate(confirmed)),) if confirmed else (),
        folded=((f"All {say_count(len(rows), 'source')} that were tried", _tabulate(rows)),),
    )


def _say_finding(rows: Sequence[Row]) -> str:
    said = []
    for kind, name in (("token", "token"), ("feature", "feature of an earlier layer")):
        own = [row for row in rows if row["kind"] == kind]
        tried = {(row["sae"], row["feature_idx"]) for row in own}
        held = {(row["sae"], row["feature_idx"]) for row in own if row["is_confirmed"]}
        if tried:
            said.append(f"{len(held)} of {len(tried)} traced features have at least one confirmed {name} as a source")
    return f"{'; '.join(said)}."


def _tabulate(rows: Sequence[Row]) -> TextTable:
    return TextTable(
        ("emotion", "feature", "kind", "source", "by gradient", "lost when cut", "controls", "stories", "confirmed"),
        tuple(
            (
                str(row["emotion"]),
                f"{row['sae']}/{row['feature_idx']}",
                str(row["kind"]),
                repr(str(row["source"])) if row["kind"] == "token" else str(row["source"]),
                say_number(read_number(row, "attribution")),
                say_rate(read_estimate(row, "drop")),
                _say_control(read_number(row, "control_drop")),
                str(row["n_stories"]),
                "yes" if row["is_confirmed"] else "no",
            )
            for row in rows
        ),
        frozenset({4, 5, 6, 7}),
    )


def _say_control(share: float) -> str:
    if math.isnan(share):
        return SHOWN_ABSENT
    return "0%" if abs(share) < 0.005 else say_share(share).replace("-", "\N{MINUS SIGN}")
