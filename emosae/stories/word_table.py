"""The taxonomy as text for people, beside human norms where the user has some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emosae.stories.taxonomy import EmotionWord, Norm
from emosae.stories.text_table import align_columns

FEWEST_SHARED = 3


def format_words(words: Sequence[EmotionWord], norms: Mapping[str, Norm] | None = None) -> str:
    """One row per word: family, opponent, banned forms, and valence and arousal in [-1, 1].

    `valence` and `arousal` are this project's own estimates. With `norms` the human ratings stand beside them, and a
    line says how the two go together: Spearman's correlation over the words that both rate (-1 to 1, 0 by chance).
    """
    head = ("word", "family", "opponent", "banned", "valence*", "arousal*")
    rated = ("norm valence", "norm arousal") if norms is not None else ()
    rows: list[tuple[str, ...]] = [(*head, *rated)]
    for word in words:
        facts = (word.word, word.family, word.opponent or "-", str(len(word.forms) + len(word.synonyms)))
        rows.append((*facts, f"{word.valence:+.2f}", f"{word.arousal:+.2f}", *_rating(word, norms)))
    notes = ["", "* estimates of this project by judgement; not data"]
    return "\n".join([*align_columns(rows), *notes, *_agreement(words, norms)])


def _rating(word: EmotionWord, norms: Mapping[str, Norm] | None) -> tuple[str, ...]:
    if norms is None:
        return ()
    norm = norms.get(word.word)
    return (f"{norm.valence:+.2f}", f"{norm.arousal:+.2f}") if norm else ("-", "-")


def _agreement(words: Sequence[EmotionWord], norms: Mapping[str, Norm] | None) -> list[str]:
    if norms is None:
        return []
    pairs = [(word, norms[word.word]) for word in words if word.word in norms]
    if len(pairs) < FEWEST_SHARED:
        return [f"{len(pairs)} of {len(words)} words have norms: too few to compare"]
    from scipy.stats import spearmanr

    found = []
    for axis in ("valence", "arousal"):
        ours, theirs = zip(*((getattr(word, axis), getattr(norm, axis)) for word, norm in pairs), strict=True)
        rho, _ = spearmanr(ours, theirs)
        found.append(f"{axis} {rho:.2f}")
    return [f"{len(pairs)} of {len(words)} words have norms ({pairs[0][1].source}); Spearman: {', '.join(found)}"]
