"""The tone of replies: which emotion of the story corpus a classifier that was trained on its stories hears in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from emosae.activations import find_real_tokens
from emosae.lm import LanguageModel, read_resid
from emosae.scenarios.conversations.ranks import EVERY_KIND, SHUFFLES, exceed
from emosae.scenarios.statistics import Interval, clustered_mean
from emosae.scenarios.tables import make_table
from emosae.stories import Story

if TYPE_CHECKING:
    import pyarrow as pa

WORDS = "words"
Inputs = Shaped[np.ndarray, "text *input"]
_WORD = r"\b\w[\w'-]*\b"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often a grader names the emotion of stories on topics that it was not fitted on.

    Attributes:
        grader: `words`, or the hook whose mean residual is read.
        tune: Of tune stories, fitted on discover; what the choice is made by.
        confirm: Of confirm stories, fitted on discover + tune, with an interval clustered by topic.
        chance: One over the number of emotions.
        n_confirm: Confirm stories.
    """

    grader: str
    tune: float
    confirm: Interval
    chance: float
    n_confirm: int


@dataclass(frozen=True, eq=False, slots=True)
class ToneGrader:
    """Names an emotion for a text.

    Attributes:
        accuracy: Of every candidate; the first is the one that grades.
        emotions: What it can say.
        grade: Texts to the emotion of each; empty for a text without a word.
    """

    accuracy: tuple[Accuracy, ...]
    emotions: tuple[str, ...]
    grade: Callable[[Sequence[str]], list[str]]

    def tabulate(self) -> pa.Table:
        """A row per candidate, the chosen one first."""
        rows = [
            {
                "grader": one.grader,
                "chosen": at == 0,
                "accuracy_tune": one.tune,
                "accuracy_confirm": one.confirm.estimate,
                "accuracy_confirm_lo": max(0.0, one.confirm.lo),
                "accuracy_confirm_hi": one.confirm.hi,
                "chance": one.chance,
                "n_confirm": one.n_confirm,
            }
            for at, one in enumerate(self.accuracy)
        ]
        numbers = ("accuracy_tune", "accuracy_confirm", "accuracy_confirm_lo", "accuracy_confirm_hi", "chance")
        return make_table(rows, texts=("grader",), numbers=numbers, counts=("n_confirm",), flags=("chosen",))


def fit_tone(
    lm: LanguageModel, stories: Sequence[Story], resid_means: Mapping[str, Float[torch.Tensor, "story d_in"]]
) -> ToneGrader:
    """Fit a grader on the story corpus at every hook and take the one that does best on tune.

    Linear discriminants, with Ledoit and Wolf's shrinkage, of the average residual of a text that is read by itself, so
    that what the model read before a reply has no part in how it is graded. Logistic regression on tf-idf of single
    words stands beside them and never grades: tune stories may share phrasings with discover that replies do not have.
    Neutral text is left out.

    Args:
        lm: The model that reads replies.
        stories: With their splits.
        resid_means: Average residual of every story, by hook.
    """
    felt = np.array([at for at, story in enumerate(stories) if not story.is_neutral])
    corpus = _Corpus.of([stories[at] for at in felt])
    texts = np.array([stories[at].text for at in felt], dtype=object)
    candidates: dict[str, tuple[Inputs, Callable[[], Any]]] = {WORDS: (texts, _make_word_model)}
    for hook_name, resid in resid_means.items():
        candidates[hook_name] = (resid.detach().cpu().double().numpy()[felt], _make_resid_model)
    tune = {name: corpus.measure_tune(*one) for name, one in candidates.items()}
    order = sorted(candidates, key=lambda name: (name == WORDS, -tune[name]))
    models = {name: corpus.fit(*candidates[name], ("discover", "tune")) for name in order}
    accuracy = tuple(corpus.judge(name, models[name], candidates[name][0], tune[name]) for name in order)
    grade = _make_grade(lm, order[0], models[order[0]], corpus.emotions)
    return ToneGrader(accuracy, corpus.emotions, grade)


def _make_word_model() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(token_pattern=_WORD, sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10.0, max_iter=500))


def _make_resid_model() -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


@dataclass(frozen=True, eq=False, slots=True)
class _Corpus:
    """Stories with an emotion: number of the emotion, split and topic of each."""

    emotions: tuple[str, ...]
    label: Int[np.ndarray, " text"]
    split: Shaped[np.ndarray, " text"]
    topic: Shaped[np.ndarray, " text"]

    @classmethod
    def of(cls, stories: Sequence[Story]) -> _Corpus:
        names, label = np.unique([story.emotion for story in stories], return_inverse=True)
        split = np.array([story.split for story in stories])
        topic = np.array([story.topic or story.id for story in stories])
        return cls(tuple(map(str, names)), label.astype(np.int64), split, topic)

    def fit(self, inputs: Inputs, make: Callable[[], Any], splits: Sequence[str]) -> Any:
        chosen = np.isin(self.split, list(splits))
        return make().fit(inputs[chosen], self.label[chosen])

    def measure_tune(self, inputs: Inputs, make: Callable[[], Any]) -> float:
        """0 where there are no tune stories, so that the first candidate is taken."""
        chosen = self.split == "tune"
        if not chosen.any():
            return 0.0
        model = self.fit(inputs, make, ("discover",))
        return float((model.predict(inputs[chosen]) == self.label[chosen]).mean())

    def judge(self, name: str, model: Any, inputs: Inputs, tune: float) -> Accuracy:
        chosen = self.split == "confirm"
        hit = (model.predict(inputs[chosen]) == self.label[chosen]).astype(np.float64) if chosen.any() else np.zeros(1)
        topics = self.topic[chosen] if chosen.any() else np.zeros(1)
        return Accuracy(name, tune, clustered_mean(hit, topics), 1 / len(self.emotions), int(chosen.sum()))


def _make_grade(
    lm: LanguageModel, hook_name: str, model: Any, emotions: Sequence[str]
) -> Callable[[Sequence[str]], list[str]]:
    def grade(texts: Sequence[str]) -> list[str]:
        said = [at for at, text in enumerate(texts) if any(char.isalnum() for char in text)]
        found = [""] * len(texts)
        if said:
            spoken = [texts[at] for at in said]
            for at, label in zip(said, model.predict(_average_resid(lm, spoken, hook_name)), strict=True):
                found[at] = emotions[int(label)]
        return found

    return grade


def _average_resid(lm: LanguageModel, texts: Sequence[str], hook_name: str) -> Float[np.ndarray, "text d_in"]:
    """Average residual of each text, read by itself; equal texts are read once."""
    unique = list(dict.fromkeys(texts))
    documents = [lm.document(text)[: lm.context] for text in unique]
    means: dict[str, np.ndarray] = {}
    for index, resid in read_resid(lm, documents, [hook_name]):
        real = find_real_tokens(lm, documents[index])
        means[unique[index]] = resid[hook_name][real].double().mean(dim=0).cpu().numpy()
    return np.array([means[text] for text in texts])


def share_tones(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator, n_shuffles: int = SHUFFLES) -> pa.Table:
    """Per kind the share of replies that are graded with the expected tone, against exchanged labels.

    The null hypothesis is that a reply's tone does not depend on the emotion that its conversation expects. Labels are
    exchanged among all conversations that the grader has a word for; those on ladders too, whose replies are their own
    draws, so that p is for this set of texts.

    Args:
        rows: A row per reply: conversation_id, kind, item, expected, part (`whole` or `spoken`) and tone.
        rng: Draws the exchanges.
        n_shuffles: How many; the least p is 1 / (1 + n_shuffles).

    Returns:
        A row per part for all kinds (`all`) and for each: share in [0, 1] with an interval clustered by item, the
        share under shuffled labels, p one-sided, and the commonest tone.
    """
    found: list[dict[str, Any]] = []
    for part in sorted({row["part"] for row in rows}):
        found += [
            {"part": part, **row} for row in _share_part([row for row in rows if row["part"] == part], rng, n_shuffles)
        ]
    numbers = ("share", "lo", "hi", "share_null", "p")
    return make_table(
        found, texts=("part", "kind", "commonest"), numbers=numbers, counts=("n", "n_items", "n_shuffles")
    )


def _share_part(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator, n_shuffles: int) -> list[dict[str, Any]]:
    tones, expected = (np.array([row[name] for row in rows]) for name in ("tone", "expected"))
    kinds, items = (np.array([row[name] for row in rows]) for name in ("kind", "item"))
    hits = tones == expected
    shuffled = np.array([tones == rng.permutation(expected) for _ in range(n_shuffles)])
    found = []
    for kind in (EVERY_KIND, *sorted(set(kinds.tolist()))):
        mine = np.ones(len(rows), dtype=bool) if kind == EVERY_KIND else kinds == kind
        share = clustered_mean(hits[mine].astype(np.float64), items[mine])
        null = shuffled[:, mine].mean(axis=1)
        names, counts = np.unique(tones[mine], return_counts=True)
        found.append(
            {
                "kind": kind,
                "n": int(mine.sum()),
                "n_items": len(set(items[mine].tolist())),
                "n_shuffles": n_shuffles,
                "share": share.estimate,
                "lo": max(0.0, share.lo),
                "hi": share.hi,
                "share_null": float(null.mean()),
                "p": exceed(null >= share.estimate - 1e-9),
                "commonest": str(names[counts.argmax()]),
            }
        )
    return found
