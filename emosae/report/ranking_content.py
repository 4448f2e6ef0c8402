"""What the page on a ranking says: its findings, its warnings, its tables, and the meaning of its numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from emosae.report.figures import Estimate
from emosae.report.ranking_controls import CONTROL_MEANINGS, say_outcomes, warn_of_confounds
from emosae.report.ranking_data import RankingData, name_feature, name_hooks
from emosae.report.ranking_search import SEARCH_MEANINGS, make_search_columns, say_limits, say_replication
from emosae.report.records import Row, read_estimate, read_number, read_rows
from emosae.report.script_page import Cell, SortableTable
from emosae.report.script_page import Row as Line
from emosae.report.sections.features import beats_rival
from emosae.report.wording import join_words, say_count, say_estimate, say_p

MEANINGS = (
    (
        "AUROC",
        "Probability that a story of the emotion has a higher activation than a story of another emotion; ties "
        "count one half. 0.5 is chance, 1 is always, 0 is never.",
    ),
    (
        "discover, tune, confirm",
        "Topics are cut into three parts. Features are chosen on discover, rivals and layers are fixed on discover and "
        "tune, and confirm is read once, after every choice.",
    ),
    (
        "[interval]",
        "95%, from leaving out one confirm topic at a time, on the logit, with t at one degree of freedom fewer "
        "than there are topics. None is given under 6 topics.",
    ),
    (
        "against rival",
        "AUROC against the stories of one other emotion alone: the one that the feature told worst on discover and "
        "tune.",
    ),
    *CONTROL_MEANINGS,
    *SEARCH_MEANINGS,
    (
        "found, of tests",
        "Features with q below the false discovery rate (Benjamini-Hochberg over all SAEs, features and emotions), "
        "of those that fire often enough to be tested.",
    ),
    (
        "layer",
        "Residuals are brought to length 1 before layers are compared. Vectors are fitted on discover, features "
        "chosen there; the layer with the highest AUROC on tune is chosen. AUROC on confirm is shown beside it and "
        "chooses nothing.",
    ),
)


def describe_ranking(data: RankingData) -> str:
    """What was ranked, in a sentence."""
    profiles = data.ranking.profiles
    n_saes = len(set(profiles["sae"].to_pylist()))
    splits = Counter(row["split"] for row in read_rows(data.ranking.stories))
    return (
        f"{say_count(len(data.emotions), 'emotion')} in {data.model}: {say_count(profiles.num_rows, 'feature')} of "
        f"{say_count(n_saes, 'SAE')}, chosen on {splits['discover']:,} texts and judged on {splits['confirm']:,} "
        "texts of other topics, which were read once."
    )


def say_findings(data: RankingData) -> list[str]:
    """The page in a few sentences."""
    judged = [row for row in data.emotions if math.isfinite(read_number(row, "auroc_confirm"))]
    if not judged:
        return ["No emotion has a feature that could be tested on unseen topics."]
    beaten = [row for row in judged if beats_rival(row)]
    opening = f"For {len(beaten)} of {say_count(len(data.emotions), 'emotion')} one feature beats the hardest rival"
    return [f"{opening} emotion on topics it was not chosen on.", *say_outcomes(data), *say_replication(data)]


def list_warnings(data: RankingData) -> list[str]:
    """What would mislead a reader who looks at the numbers alone."""
    found = [f"{note[:1].upper()}{note[1:]}." for note in data.ranking.notes]
    if lost := [row["emotion"] for row in data.emotions if not row["n_discovered"]]:
        limits = "".join(f" {line}." for line in say_limits(data.ranking.summary, data.detection))
        found.append(f"No feature was discovered at q below {data.alpha:g} for {join_words(lost)}.{limits}")
    if capped := [row["emotion"] for row in data.emotions if row["verdict_cap"]]:
        found.append(f"Too few topics for a verdict beyond “detected”: {join_words(capped)}.")
    if spelled := _find_spelled(data):
        found.append(
            f"Words alone tell {join_words(spelled)} from the rest (interval above 0.5): a feature may follow the "
            "vocabulary."
        )
    return found + warn_of_confounds(data)


def _find_spelled(data: RankingData) -> list[str]:
    rows = [row for row in read_rows(data.baselines) if row["baseline"] == "bag_of_words"]
    return sorted(row["emotion"] for row in rows if read_number(row, "auroc_confirm_lo") > 0.5)


def tabulate_verdicts(data: RankingData) -> SortableTable:
    """One line per emotion: its best feature, and how well it tells the emotion from all others and from its rival."""
    search, lines = make_search_columns(data), []
    for row in data.emotions:
        cells = (
            _show(read_estimate(row, "auroc_confirm")),
            _show(read_estimate(row, "auroc_rival_confirm")),
            _probability(read_number(row, "q_bh")),
            _count(read_number(row, "n_discovered")) if row["n_discovered"] else Cell("nothing found", 0.0),
            _count(read_number(row, "n_tested")),
            *(show(row) for show in search.values()),
        )
        lines.append(Line(row["emotion"], (name_feature(row), row["rival"] or "–"), cells))
    heads = ("AUROC on confirm", "against rival", "q", "found", "of tests", *search)
    return SortableTable("emotion", ("best feature", "rival"), heads, tuple(lines))


def say_masked(data: RankingData) -> str:
    """How much of the text the lexical ban took away; nothing if there was none."""
    if not math.isfinite(data.masked_share):
        return ""
    return f"Masking took {100 * data.masked_share:.0f}% of the words of the confirm stories."


def tabulate_layers(data: RankingData) -> SortableTable:
    """The layer that was chosen for each emotion, by the vectors and by the features."""
    names = name_hooks(data.hooks)
    chosen = {(row["emotion"], row["method"]): row for row in read_rows(data.layers) if row["chosen"]}
    has_features = any(method == "sae_feature" for _, method in chosen)
    methods = ("difference_of_means", "sae_feature") if has_features else ("difference_of_means",)
    lines = []
    for emotion in (None, *(row["emotion"] for row in data.emotions)):
        rows = [chosen.get((emotion, method)) for method in methods]
        cells = [cell for row in rows for cell in _place(row, names)]
        features = tuple(name_feature(row) if row else "–" for row in rows[1:])
        lines.append(Line(emotion or "mean over emotions", features, tuple(cells)))
    heads = ("layer of the vector", "on tune", "on confirm", "layer of the feature", "on tune", "on confirm")
    return SortableTable("emotion", ("feature",) * has_features, heads[: 3 * len(methods)], tuple(lines))


def _place(row: Row | None, names: dict[str, str]) -> Sequence[Cell]:
    if row is None:
        return (Cell("–", math.nan),) * 3
    where = Cell(names[row["hook_name"]], float(row["depth"]))
    return where, _show(Estimate(read_number(row, "auroc_tune"))), _show(read_estimate(row, "auroc_confirm"))


def _show(estimate: Estimate) -> Cell:
    return Cell(say_estimate(estimate, 3) if estimate.known else "–", estimate.value)


def _probability(value: float) -> Cell:
    return Cell(say_p(value) if math.isfinite(value) else "–", value)


def _count(value: float) -> Cell:
    return Cell(f"{value:,.0f}" if math.isfinite(value) else "–", value)
