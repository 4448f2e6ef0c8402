"""What words alone tell: a bag-of-words model fitted on discover, its predictive words, and their mask."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from emosae.errors import UserError
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.stories import Story

_WORD = re.compile(r"\b\w[\w'-]*\b")


@dataclass(frozen=True, eq=False, slots=True)
class WordModel:
    """Logistic regression on tf-idf of single words, lower case.

    Attributes:
        words: The vocabulary of the discover stories.
        emotion: The emotions that it knows, in the order of the rows of `weights`.
        weights: Log odds per unit of tf-idf.
        intercept: Log odds of an empty text.
        vectorizer: scikit-learn's tf-idf of that vocabulary.
    """

    words: tuple[str, ...]
    emotion: Int[np.ndarray, " known"]
    weights: Float[np.ndarray, "known word"]
    intercept: Float[np.ndarray, " known"]
    vectorizer: Any

    def score(self, texts: Sequence[str], n_emotions: int) -> Float[np.ndarray, "story emotion"]:
        """Log odds of every emotion; NaN for one that the model does not know."""
        scores = np.full((len(texts), n_emotions), np.nan)
        scores[:, self.emotion] = self.vectorizer.transform(texts) @ self.weights.T + self.intercept
        return scores


def fit_words(layout: Layout, part: Part) -> WordModel:
    """Fit on the stories of `part`, neutral text not among them.

    Raises:
        UserError: Fewer than two emotions there, or stories without a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(part.label)) < 2:
        raise UserError("bag of words: discover stories hold fewer than two emotions: add topics")
    vectorizer = TfidfVectorizer(token_pattern=_WORD.pattern, sublinear_tf=True)
    try:
        table = vectorizer.fit_transform([layout.stories[row].text for row in part.rows])
    except ValueError as error:
        raise UserError(f"bag of words: discover stories hold no words ({error})") from error
    model = LogisticRegression(C=10.0, max_iter=500).fit(table, part.label)
    weights, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        weights, intercept = np.concatenate([-weights, weights]), np.concatenate([-intercept, intercept])
    words = tuple(str(word) for word in vectorizer.get_feature_names_out())
    return WordModel(words, model.classes_, weights, intercept, vectorizer)


def find_predictive_words(stories: Sequence[Story], count: int = 20) -> dict[str, tuple[str, ...]]:
    """The words most predictive of each emotion by a bag of words fitted on discover, best first."""
    layout = lay_out(stories)
    model = fit_words(layout, layout.part("discover"))
    found = {}
    for emotion, weights in zip(model.emotion, model.weights, strict=True):
        best = np.argsort(-weights, kind="stable")[:count]
        found[layout.emotions[emotion]] = tuple(model.words[i] for i in best if weights[i] > 0)
    return found


def mask_words(text: str, words: Collection[str]) -> str:
    """The text without these words, whatever their case, and without the spaces that they leave."""
    hidden = {word.lower() for word in words}
    kept = _WORD.sub(lambda match: "" if match.group().lower() in hidden else match.group(), text)
    return re.sub(r"[^\S\n]+(?=[,.;:!?])", "", re.sub(r"[^\S\n]+", " ", kept)).strip()
