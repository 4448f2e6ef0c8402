"""How well bags of words of several kinds tell the emotions of a corpus on topics, and by writers, that they never saw.

`python scripts/corpus_leakage.py [FILE.jsonl]`; without a file it is the shipped corpus. Nothing is chosen on what is
held out.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from emosae.stories import SHIPPED, load_stories

WORDS: Any = {"token_pattern": r"\b\w[\w'-]*\b"}
TFIDF: Any = {"sublinear_tf": True, **WORDS}
CLASSIFIERS = {
    "logistic regression on tf-idf, C = 10": (TfidfVectorizer(**TFIDF), LogisticRegression(C=10, max_iter=500)),
    "the same, C = 1": (TfidfVectorizer(**TFIDF), LogisticRegression(C=1, max_iter=500)),
    "naive Bayes on counts": (CountVectorizer(**WORDS), MultinomialNB(alpha=0.1)),
    "complement naive Bayes, words and pairs": (CountVectorizer(ngram_range=(1, 2), **WORDS), ComplementNB(alpha=0.3)),
    "linear SVM, words and pairs": (TfidfVectorizer(ngram_range=(1, 2), **TFIDF), LinearSVC(C=0.5)),
    "linear SVM, first four or five letters": (
        TfidfVectorizer(token_pattern=r"\b\w{4,5}", sublinear_tf=True),
        LinearSVC(C=0.5),
    ),
    "linear SVM, 2 to 5 characters": (
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=60_000),
        LinearSVC(C=0.5),
    ),
}


def main() -> None:
    """Print a row per classifier: accuracy by held-out topics and by held-out writers."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    stories = [story for story in load_stories(source) if not story.is_neutral and story.topic and story.writer]
    texts = [story.text.casefold() for story in stories]
    emotions = np.array([story.emotion for story in stories])
    print(f"{len(stories)} stories, chance {1 / len(set(emotions)):.3f}")
    for name, steps in CLASSIFIERS.items():
        found = [
            np.mean(
                cross_val_predict(make_pipeline(*steps), texts, emotions, groups=groups, cv=GroupKFold(n)) == emotions
            )
            for n, groups in ((12, [story.topic for story in stories]), (8, [story.writer for story in stories]))
        ]
        print(f"{name:42s} topics held out {found[0]:.3f}  writers held out {found[1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
