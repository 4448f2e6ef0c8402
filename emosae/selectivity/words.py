"""What words alone tell: a bag-of-words model fitted on discover, its predictive words, and their mask."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from emosae.errors import UserError
from emosae.selectivity.layout import Layout, Part, lay_out
from emosae.stories import Story, banned_forms

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


def list_masked_words(stories: Sequence[Story], count: int = 20) -> dict[str, tuple[str, ...]]:
    """Per emotion what a lexical ban takes away: its most predictive words on discover, its forms and its synonyms.

    Forms and synonyms are the taxonomy's; an emotion that it lacks has only its own name.
    """
    predictive = find_predictive_words(stories, count)
    emotions = lay_out(stories).emotions
    return {name: (*predictive.get(name, ()), *sorted(banned_forms(name))) for name in emotions}


def mask_stories(stories: Sequence[Story], words: Collection[str]) -> list[Story]:
    """The confirm stories with an emotion, without these words.

    All stories lose the same words, those of every emotion: if each lost only its own emotion's, what is left would
    give the emotion away.
    """
    hide = _Mask(words)
    felt = [story for story in stories if story.split == "confirm" and not story.is_neutral]
    return [replace(story, text=hide(story.text)) for story in felt]


def mask_words(text: str, words: Collection[str]) -> str:
    """The text without these words and phrases, whatever their case, and without the spaces that they leave.

    A hyphenated word goes if a part of it is to go: "fear-filled" holds "fear".
    """
    return _Mask(words)(text)


class _Mask:
    """Single words are looked up, since there may be thousands; the few phrases are searched for."""

    def __init__(self, words: Collection[str]) -> None:
        lowered = {_straighten(word.lower()) for word in words}
        self._words = {word for word in lowered if len(word.split()) == 1}
        phrases = sorted(lowered - self._words, key=lambda phrase: (-len(phrase), phrase))
        spelled = "|".join(r"[\s-]+".join(map(re.escape, phrase.split())) for phrase in phrases if phrase.strip())
        self._phrases = re.compile(rf"\b(?:{spelled})\b", re.IGNORECASE) if spelled else None

    def __call__(self, text: str) -> str:
        text = _straighten(text)
        kept = self._phrases.sub("", text) if self._phrases else text
        kept = _WORD.sub(lambda match: "" if self._hides(match.group().lower()) else match.group(), kept)
        return re.sub(r"[^\S\n]+(?=[,.;:!?])", "", re.sub(r"[^\S\n]+", " ", kept)).strip()

    def _hides(self, word: str) -> bool:
        return word in self._words or not self._words.isdisjoint(re.split("[-']", word))


def _straighten(text: str) -> str:
    return text.replace("\u2019", "'")
