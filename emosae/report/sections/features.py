"""Which feature tells each emotion from the others, on topics that it was not chosen on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from emosae.report.content import Plate, Section, TextTable
from emosae.report.figures import Estimate, Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.records import ReportData, Row, read_estimate, read_number, read_rows
from emosae.report.wording import join_words, say_count, say_estimate, say_p

NAME, TITLE = "features", "Which features stand for which emotions"
FEATURE = MarkStyle("o", "accent")
BASELINES = {
    "bag_of_words": (MarkStyle("D", "other", hollow=True), "words alone"),
    "difference_of_means": (MarkStyle("s", "other", hollow=True), "difference-of-means vector"),
}


def write_features(data: ReportData) -> Section:
    """The best feature of every emotion beside its baselines."""
    found = [row for row in read_rows(data.emotions) if math.isfinite(read_number(row, "auroc_confirm"))]
    if not found:
        return Section(NAME, TITLE, "No emotion has a feature that could be tested on unseen topics.")
    rows = sorted(found, key=lambda row: (-read_number(row, "auroc_confirm"), row["emotion"]))
    baselines = _pick_baselines(data)
    return Section(
        NAME,
        TITLE,
        _say_found(rows, len(read_rows(data.emotions))),
        paragraphs=(
            "AUROC is the probability that a story of the emotion activates its feature more than a story of any "
            "other emotion; 0.5 is chance. Features were chosen on discover topics and their hardest rival was fixed "
            "on discover and tune topics. The numbers here come from confirm topics, which were read once.",
            *_say_untested(data),
        ),
        plates=(_draw_auroc(rows, baselines),),
    )


def beats_rival(row: Row) -> bool:
    """Whether the interval against the rival that was fixed before lies above chance."""
    return read_number(row, "auroc_rival_confirm_lo") > 0.5 and row.get("verdict_cap") is None


def _say_found(rows: Sequence[Row], n_emotions: int) -> str:
    beaten = [row for row in rows if beats_rival(row)]
    weakest = min(rows, key=lambda row: read_number(row, "auroc_confirm"))
    clause = f"the weakest is {weakest['emotion']}, {_say_auroc(read_estimate(weakest, 'auroc_confirm'))}"
    if not beaten:
        capped = all(row.get("verdict_cap") is not None for row in rows)
        why = " because the stories have too few topics" if capped else ""
        return f"No emotion's best feature could be shown to beat its hardest rival on unseen topics{why}."
    return (
        f"For {len(beaten)} of {say_count(n_emotions, 'emotion')}, one feature beats the hardest rival emotion on "
        f"topics it was not chosen on; {clause}."
    )


def _say_untested(data: ReportData) -> tuple[str, ...]:
    names = [
        str(row["emotion"]) for row in read_rows(data.emotions) if not math.isfinite(read_number(row, "auroc_confirm"))
    ]
    return (f"No feature could be tested on confirm topics for {join_words(names)}.",) if names else ()


def _pick_baselines(data: ReportData) -> dict[tuple[str, str], Estimate]:
    """Per baseline and emotion the estimate at the best feature's own hook, or without a hook."""
    hooks = {row["name"]: row.get("hook_name") for row in read_rows(data.saes)}
    own = {row["emotion"]: hooks.get(row.get("sae")) for row in read_rows(data.emotions)}
    return {
        (row["baseline"], row["emotion"]): read_estimate(row, "auroc_confirm")
        for row in read_rows(data.baselines)
        if row.get("hook_name") in (None, own.get(row["emotion"]))
    }


def _draw_auroc(rows: Sequence[Row], baselines: Mapping[tuple[str, str], Estimate]) -> Plate:
    lines = tuple(_line(row, baselines) for row in rows)
    known = [e.lo if e.bounded else e.value for line in lines for _, e in line.marks if e.known]
    present = {name for name, _ in baselines}
    legend = ((FEATURE, "best feature"), *(BASELINES[name] for name in BASELINES if name in present))
    forest = Forest(
        groups=(("", lines),),
        axis="AUROC on confirm topics",
        limits=(min(0.45, *known) - 0.02, 1.005),
        heads=("AUROC [95% interval]", "against its rival"),
        line=0.5,
        legend=legend,
    )
    return Plate(
        "auroc",
        "The best feature of every emotion, beside simpler methods",
        "Dots are features with 95% intervals (delete one topic at a time). Hollow marks are baselines on the same "
        "splits: a classifier on words alone, and the denoised difference-of-means vector of the same layer. "
        "The dashed line is chance.",
        "AUROC of the best feature of every emotion with interval, and of two baselines.",
        partial(draw_forest, forest),
        _tabulate(rows, baselines),
    )


def _line(row: Row, baselines: Mapping[tuple[str, str], Estimate]) -> ForestRow:
    others = tuple(
        (style, Estimate(baselines[name, row["emotion"]].value))
        for name, (style, _) in BASELINES.items()
        if (name, row["emotion"]) in baselines
    )
    return ForestRow(
        str(row["emotion"]),
        ((FEATURE, read_estimate(row, "auroc_confirm")), *others),
        (_say_auroc(read_estimate(row, "auroc_confirm")), _say_rival(row)),
    )


def _say_rival(row: Row) -> str:
    if row.get("rival") is None:
        return "–"
    estimate = read_estimate(row, "auroc_rival_confirm")
    return f"{row['rival']} {_say_auroc(estimate)}"


def _say_auroc(estimate: Estimate) -> str:
    return say_estimate(estimate, 3)


def _say_feature(row: Row) -> str:
    return f"{row['sae']} #{row['feature_idx']}"


def _tabulate(rows: Sequence[Row], baselines: Mapping[tuple[str, str], Estimate]) -> TextTable:
    heads = ["emotion", "feature", "AUROC", "rival", "against rival", "q on discover"]
    heads += [meaning for _, meaning in BASELINES.values()]
    unknown = Estimate(math.nan)
    return TextTable(
        tuple(heads),
        tuple(
            (
                str(row["emotion"]),
                _say_feature(row),
                _say_auroc(read_estimate(row, "auroc_confirm")),
                str(row.get("rival") or "–"),
                _say_auroc(read_estimate(row, "auroc_rival_confirm")),
                say_p(read_number(row, "q_bh")),
                *(_say_auroc(baselines.get((name, row["emotion"]), unknown)) for name in BASELINES),
            )
            for row in rows
        ),
        frozenset({2, 4, 5, 6, 7}),
    )
