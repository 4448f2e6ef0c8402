"""Texts that are nearly the same, found by MinHash and confirmed by counting."""

from __future__ import annotations

import re
from collections.abc import Iterable

from emosae.stories.banned import fold_text

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SHINGLE = 3
_HASHES = 256
_FOUND = 0.9


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(fold_text(text))


class DuplicateIndex:
    """Texts by name; a text is a near-duplicate of another if they share more than a given part.

    Similarity is the Jaccard index of the sets of three-word sequences: 1 for the same words in the same order,
    about 0.4 if every eighth word differs. Candidates come from MinHash (nine of ten pairs that lie just above the
    limit are among them, and nearly all that lie well above it); each is then counted exactly.
    """

    def __init__(self, max_similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._limit = max_similarity
        self._empty = MinHash(num_perm=_HASHES)
        self._lsh = MinHashLSH(num_perm=_HASHES, params=_bands(max_similarity))
        self._shingles: dict[str, frozenset[str]] = {}

    def add(self, name: str, text: str) -> None:
        """Take a text in under a name that is not in use."""
        shingles = _shingle(text)
        self._lsh.insert(name, self._hash(shingles))
        self._shingles[name] = shingles

    def find(self, text: str) -> list[tuple[str, float]]:
        """Names and similarities of the texts that this one is too much like, most alike first."""
        shingles = _shingle(text)
        names = [str(name) for name in self._lsh.query(self._hash(shingles))]
        near = [(name, _jaccard(shingles, self._shingles[name])) for name in names]
        return sorted((pair for pair in near if pair[1] > self._limit), key=lambda pair: (-pair[1], pair[0]))

    def _hash(self, shingles: Iterable[str]):
        minhash = self._empty.copy()
        minhash.update_batch([shingle.encode() for shingle in sorted(shingles)])
        return minhash


def _bands(similarity: float) -> tuple[int, int]:
    """How many bands of how many hashes: the longest bands that still find nine of ten pairs so similar."""
    sizes = [size for size in range(2, 33) if 1 - (1 - similarity**size) ** (_HASHES // size) >= _FOUND]
    return _HASHES // max(sizes, default=2), max(sizes, default=2)


def _shingle(text: str) -> frozenset[str]:
    words = words_of(text)
    return frozenset(" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1)))


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)
