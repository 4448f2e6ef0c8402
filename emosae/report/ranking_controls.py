"""What a ranking is held against, as tables: simpler methods, and what else might explain an emotion's best feature."""

from __future__ import annotations

import math
from collections import Counter

from emosae.report.figures import Estimate
from emosae.report.ranking_data import RankingData, name_baseline, name_feature, shorten_baseline
from emosae.report.records import Row, read_estimate, read_number, read_rows
from emosae.report.script_page import Cell, SortableTable
from emosae.report.script_page import Row as Line
from emosae.report.wording import join_words, say_number

OUTCOMES = ("beats", "ties", "loses")
_TONES = {"beats": "good", "loses": "bad"}
LOST_SHARE = 0.5
LENGTH_LIMIT = 0.3
POSITION_LIMIT = 0.5
TOKEN_LIMIT = 0.5

FLAGS = {
    "words": "masking telling words takes more than half of the lead over chance",
    "valence": "among emotions that are as pleasant or unpleasant, more than half of the lead over chance is gone",
    "perspective": "within one grammatical person, more than half of the lead over chance is gone",
    "length": f"activation goes with the length of the text (rank correlation beyond {LENGTH_LIMIT:g})",
    "position": f"it fires mostly early or mostly late in a text (rank-biserial correlation beyond {POSITION_LIMIT:g})",
    "one token": "more than half of its activation falls on one and the same token",
}
_COLUMNS = (
    ("words masked", "lexical_drop"),
    ("same valence", "auroc_same_valence"),
    ("same person", "auroc_same_perspective"),
    ("length", "length_corr"),
    ("position", "position_corr"),
    ("top token’s share", "top_token_share"),
)

CONTROL_MEANINGS = (
    (
        "beats, ties, loses",
        "AUROC of the feature less that of the baseline on the same stories, and whether the paired interval "
        "(clustered by topic) lies above 0, holds it, or lies below; point at a cell for the interval. A tie does not "
        "show that the two are equal. Intervals are not corrected for their number: of 20 true ties about one reads "
        "otherwise. Baselines are chosen and fitted on discover and tune, and read at the feature’s own hook and SAE.",
    ),
    ("words", "Logistic regression on tf-idf of single words, fitted on discover: what the vocabulary gives away."),
    (
        "mean vector",
        "The difference-of-means vector: mean residual of the emotion’s stories less the mean over emotions, without "
        "the directions in which neutral text varies most; a story’s score is its projection.",
    ),
    ("linear probe", "Multinomial logistic regression on the mean residual: what can be read there at all, linearly."),
    (
        "8 features",
        "Logistic regression on the 8 features of the same SAE whose means differ most (Gurnee et al. 2023).",
    ),
    ("one dimension, one PC", "The best single coordinate of the residual, and its best principal component."),
    (
        "random features",
        "The best of 20 features drawn from the same SAE among those that fire in about as many stories. The feature "
        "was the best of the whole SAE, so it should beat them; a tie says that it stands out from nothing.",
    ),
    (
        "random model, its vector",
        "The same model with random weights: its best feature, by the same rule, of an untrained dictionary with as "
        "many features as the SAEs at the hook, and its difference-of-means vector. What they tell, tokens alone tell.",
    ),
    (
        "words masked",
        "AUROC on confirm that is lost when the words that tell emotions best on discover, and the taxonomy’s forms "
        "and synonyms of every emotion, are taken out of all confirm stories alike.",
    ),
    (
        "same valence, same person",
        "AUROC on confirm against only those stories whose emotion is as pleasant or unpleasant (by this project’s own "
        "estimates), or that are told in the same grammatical person.",
    ),
    (
        "length, position, top token",
        "Rank correlation of activation with the number of tokens; whether it fires late (1) or early (-1) in a text; "
        "and the share of its activation that falls on its most frequent token. Length is read on discover and tune, "
        "the others on some of these stories.",
    ),
)


def tabulate_baselines(data: RankingData) -> SortableTable | None:
    """One line per emotion: whether its best feature beats, ties or loses to each baseline; counts come first."""
    compared = {(row["emotion"], row["baseline"]): row for row in read_rows(data.comparisons)}
    baselines = list(dict.fromkeys(name for _, name in compared))
    if not baselines:
        return None
    counts = Line("beats / ties / loses", ("–",), tuple(_count_outcomes(data, name) for name in baselines))
    lines = [
        Line(row["emotion"], (name_feature(row),), tuple(_judge(compared.get((row["emotion"], n))) for n in baselines))
        for row in data.emotions
    ]
    return SortableTable("emotion", ("best feature",), tuple(map(shorten_baseline, baselines)), (counts, *lines))


def say_outcomes(data: RankingData) -> list[str]:
    """How often the best feature beats, ties with or loses to each baseline, in one sentence."""
    told = []
    for baseline in dict.fromkeys(row["baseline"] for row in read_rows(data.comparisons)):
        counts = _count(data, baseline)
        if counts.total():
            told.append(f"{name_baseline(baseline)} {_write_counts(counts)}")
    if not told:
        return []
    return [f"Emotions whose best feature beats / ties with / loses to a simpler method: {join_words(told)}."]


def tabulate_confounds(data: RankingData) -> SortableTable | None:
    """One line per emotion: what else might explain its best feature, and what of that is worrying."""
    rows = [(row, found) for row in data.emotions if (found := data.find_best(row)) is not None]
    if not rows:
        return None
    lines = []
    for row, found in rows:
        flags = ", ".join(flag_confounds(found)) or "–"
        cells = tuple(_show(read_estimate(found, column)) for _, column in _COLUMNS)
        lines.append(Line(row["emotion"], (name_feature(row), flags, _quote(found.get("top_token"))), cells))
    heads = tuple(head for head, _ in _COLUMNS)
    return SortableTable("emotion", ("best feature", "what to mind", "top token"), heads, tuple(lines))


def flag_confounds(row: Row) -> list[str]:
    """Which of FLAGS hold for a candidate; what was not measured raises none, nor does a lead that is not shown."""
    shown = read_estimate(row, "auroc_confirm")
    lead = math.nan if shown.lo <= 0.5 else shown.value - 0.5
    drop = read_estimate(row, "lexical_drop")
    tests = {
        "words": drop.value > LOST_SHARE * lead > 0 and not drop.lo <= 0,
        "valence": lead > 0 and read_number(row, "auroc_same_valence") - 0.5 < (1 - LOST_SHARE) * lead,
        "perspective": lead > 0 and read_number(row, "auroc_same_perspective") - 0.5 < (1 - LOST_SHARE) * lead,
        "length": abs(read_number(row, "length_corr")) > LENGTH_LIMIT,
        "position": abs(read_number(row, "position_corr")) > POSITION_LIMIT,
        "one token": read_number(row, "top_token_share") > TOKEN_LIMIT,
    }
    return [name for name, holds in tests.items() if holds]


def warn_of_confounds(data: RankingData) -> list[str]:
    """A sentence per flag that some emotion's best feature raises."""
    raised: dict[str, list[str]] = {name: [] for name in FLAGS}
    for row in data.emotions:
        for name in flag_confounds(found) if (found := data.find_best(row)) is not None else ():
            raised[name].append(row["emotion"])
    return [f"Flag “{name}” ({FLAGS[name]}): {join_words(own)}." for name, own in raised.items() if own]


def _count(data: RankingData, baseline: str) -> Counter[str]:
    rows = read_rows(data.comparisons)
    return Counter(row["outcome"] for row in rows if row["baseline"] == baseline and row["outcome"])


def _count_outcomes(data: RankingData, baseline: str) -> Cell:
    return Cell(_write_counts(_count(data, baseline)), math.nan)


def _write_counts(counts: Counter[str]) -> str:
    return " / ".join(str(counts[word]) for word in OUTCOMES)


def _judge(row: Row | None) -> Cell:
    if row is None or not math.isfinite(read_number(row, "difference")):
        return Cell("–", math.nan)
    gap, outcome = read_estimate(row, "difference"), row["outcome"] or ""
    said = f"{outcome or 'no interval'}: {name_baseline(row['baseline'])}, {_sign(gap.value, 3)}"
    title = f"{said} [{say_number(gap.lo, 3)}, {say_number(gap.hi, 3)}]" if gap.bounded else said
    return Cell(f"{outcome} {_sign(gap.value, 2)}".strip(), gap.value, _TONES.get(outcome, ""), title)


def _sign(value: float, digits: int) -> str:
    """With a plus sign where it belongs."""
    rounded = round(value, digits) + 0.0
    return f"{'+' if rounded > 0 else ''}{say_number(rounded, digits)}"


def _show(estimate: Estimate) -> Cell:
    if not estimate.known:
        return Cell("–", math.nan)
    ends = f"[{say_number(estimate.lo, 3)}, {say_number(estimate.hi, 3)}]" if estimate.bounded else ""
    return Cell(say_number(round(estimate.value, 2) + 0.0, 2), estimate.value, "", ends)


def _quote(token: str | None) -> str:
    if token is None:
        return "–"
    return f"“{token.strip()}”" if token.strip() else repr(token)
