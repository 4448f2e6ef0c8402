"""How much of the emotions a bag of words can tell on topics that it has not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from emosae.errors import UserError
from emosae.stories.banned import fold_text
from emosae.stories.findings import Leakage, LeaningWord
from emosae.stories.records import Story

_WORD = r"\b\w[\w'-]*\b"


@dataclass(frozen=True, eq=False, slots=True)
class _Fold:
    """Predictions for the stories that were held out, and what each word of theirs added to the right answer."""

    rows: Int[np.ndarray, " held"]
    predicted: Int[np.ndarray, " held"]
    added: dict[int, dict[str, float]]


def measure_leakage(stories: Sequence[Story], folds: int = 12, n_words: int = 10) -> Leakage:
    """Accuracy of logistic regression on tf-idf of single words, by cross-validation that holds out whole topics.

    Neutral stories and stories without a topic are left out. The model is fixed (sublinear tf-idf, C = 10, as the
    baseline of the ranking has it): nothing is chosen on what is held out. Words that occur in one topic only
    cannot help, whatever they say.

    Raises:
        UserError: Fewer than two emotions or fewer than two topics.
    """
    from sklearn.model_selection import GroupKFold

    used = [story for story in stories if not story.is_neutral and story.topic is not None]
    emotions, label = np.unique([story.emotion for story in used], return_inverse=True)
    topics, topic = np.unique([story.topic or "" for story in used], return_inverse=True)
    if min(len(emotions), len(topics)) < 2:
        raise UserError(f"leakage: {len(emotions)} emotions on {len(topics)} topics: needs two of each")
    texts = np.array([fold_text(story.text) for story in used], dtype=object)
    cut = GroupKFold(min(folds, len(topics)))
    results = [_hold_out(texts, label, train, held) for train, held in cut.split(texts, label, topic)]
    hit = np.zeros(len(used), dtype=bool)
    for fold in results:
        hit[fold.rows] = fold.predicted == label[fold.rows]
    return Leakage(
        accuracy=float(hit.mean()),
        chance=1 / len(emotions),
        error=_clustered_error(hit, topic),
        n_stories=len(used),
        folds=len(results),
        recall={str(name): float(hit[label == place].mean()) for place, name in enumerate(emotions)},
        leaning={str(name): _lean(results, place, label, n_words) for place, name in enumerate(emotions)},
    )


def _hold_out(
    texts: np.ndarray, label: Int[np.ndarray, " story"], train: Int[np.ndarray, " fit"], held: Int[np.ndarray, " held"]
) -> _Fold:
    """Fit on `train` and predict `held`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    known = np.unique(label[train])
    if len(known) == 1:
        return _Fold(held, np.full(len(held), known[0]), {})
    vectorizer = TfidfVectorizer(token_pattern=_WORD, sublinear_tf=True)
    table = vectorizer.fit_transform(texts[train])
    model = LogisticRegression(C=10.0, max_iter=500).fit(table, label[train])
    unseen: Any = vectorizer.transform(texts[held])
    weights = model.coef_ if len(known) > 2 else np.concatenate([-model.coef_, model.coef_]) / 2
    names = vectorizer.get_feature_names_out()
    relative = weights - weights.mean(axis=0)
    added = {}
    for place, emotion in enumerate(known):
        own = np.asarray(unseen[label[held] == emotion].sum(axis=0)).ravel()
        added[int(emotion)] = {str(names[i]): float(own[i] * relative[place, i]) for i in own.nonzero()[0]}
    return _Fold(held, model.predict(unseen), added)


def _lean(
    results: Sequence[_Fold], emotion: int, label: Int[np.ndarray, " story"], n_words: int
) -> tuple[LeaningWord, ...]:
    total: dict[str, float] = defaultdict(float)
    for fold in results:
        for word, added in fold.added.get(emotion, {}).items():
            total[word] += added
    n_stories = int((label == emotion).sum())
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:n_words]
    return tuple(LeaningWord(word, round(added / n_stories, 4)) for word, added in best if added > 0)


def _clustered_error(hit: Bool[np.ndarray, " story"], topic: Int[np.ndarray, " story"]) -> float:
    """Standard error of the mean of `hit` over stories whose topics are drawn."""
    excess: dict[int, float] = defaultdict(float)
    for place, right in zip(topic.tolist(), (hit - hit.mean()).tolist(), strict=True):
        excess[place] += right
    n_topics = len(excess)
    return float(np.sqrt(n_topics / (n_topics - 1) * sum(value**2 for value in excess.values())) / len(hit))
