"""Emotion words: which forms a story must not use, where each word stands, and the user's own human norms."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from emosae.errors import UserError


@dataclass(frozen=True, slots=True)
class EmotionWord:
    """One emotion word and what is known about it; all text is lower case.

    `forms` (the word with its inflections and derivatives, itself first) and `synonyms` (near words that a story
    about it must not use either, every inflection written out) hold whole words and phrases, spelled with spaces
    or hyphens as they occur in text. `opponent` is another word of the taxonomy whose own opponent is this one,
    or None.

    `valence` (unpleasant -1, pleasant 1) and `arousal` (still -1, stirred 1) are this project's own estimates by
    judgement, not measured and not taken from any published norms: use them to draw and to order, not as data.
    `source` says where the word (not the numbers) comes from: the 171 words of "arXiv 2604.07729", or "emosae".
    """

    word: str
    family: str
    forms: tuple[str, ...]
    synonyms: tuple[str, ...]
    opponent: str | None
    valence: float
    arousal: float
    source: str


@dataclass(frozen=True, slots=True)
class Norm:
    """Mean human rating of one word: valence and arousal in [-1, 1], 0 the middle of the published scale."""

    valence: float
    arousal: float
    source: str


@dataclass(frozen=True, slots=True)
class _NormFormat:
    """A kind of file, known by its columns (word, valence, arousal, any more), and the ends of its scale."""

    source: str
    delimiter: str
    columns: tuple[str, ...]
    low: float
    high: float

    def fits(self, header: str) -> bool:
        """Whether a file's first line has all the columns."""
        return set(self.columns) <= {name.strip('"') for name in header.split(self.delimiter)}

    def rescale(self, where: str, column: str, text: str | None) -> float:
        """The number mapped linearly from the published scale to [-1, 1]; what is off the scale is refused."""
        try:
            value = float(text or "")
        except ValueError as error:
            raise UserError(f"{where}: {column} is {text!r}, not a number") from error
        if not self.low <= value <= self.high:
            raise UserError(f"{where}: {column} is {text}, off the scale {self.low:g}..{self.high:g} of {self.source}")
        return (2 * value - self.low - self.high) / (self.high - self.low)


_NORM_FORMATS = (
    _NormFormat("Warriner et al. 2013", ",", ("Word", "V.Mean.Sum", "A.Mean.Sum", "D.Mean.Sum"), 1.0, 9.0),
    _NormFormat("NRC-VAD v1", "\t", ("Word", "Valence", "Arousal", "Dominance"), 0.0, 1.0),
    _NormFormat("NRC-VAD v2", "\t", ("term", "valence", "arousal", "dominance"), -1.0, 1.0),
    _NormFormat("own ratings", ",", ("emotion", "valence", "arousal"), -1.0, 1.0),
)


@cache
def load_taxonomy() -> Mapping[str, EmotionWord]:
    """Every emotion word of the package by its word: the paper's 171 in its order, then emosae's own."""
    lines = (files("emosae.stories") / "data" / "taxonomy.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    words = [EmotionWord(**{**row, "forms": tuple(row["forms"]), "synonyms": tuple(row["synonyms"])}) for row in rows]
    return MappingProxyType({word.word: word for word in words})


def banned_forms(emotion: str) -> frozenset[str]:
    """Lower-case words and phrases that a story about `emotion` must not contain: its forms and synonyms.

    They are meant as whole words: "still" bans "still", not "distillery". An emotion that the taxonomy lacks bans
    only itself.
    """
    entry = load_taxonomy().get(emotion.lower())
    return frozenset((emotion.lower(),)) if entry is None else frozenset((*entry.forms, *entry.synonyms))


def load_norms(path: Path | str) -> Mapping[str, Norm]:
    """Read human ratings of words from a file that the user has, known by its columns.

    Three are read: the CSV of Warriner, Kuperman and Brysbaert (2013; 1..9), the tab-separated NRC-VAD lexicon
    (Mohammad; version 1 is 0..1, version 2 is -1..1), and a CSV of one's own (emotion,valence,arousal; -1..1). The
    licences of the first two forbid passing them on, so emosae ships neither: get them from their authors. Words are
    kept as the file writes them.

    Returns:
        Ratings by word, mapped linearly to [-1, 1].

    Raises:
        UserError: A file that cannot be read or has other columns; or, by line, an empty word, two ratings of one
            word, or a number that is none or off the scale.
    """
    path = Path(path)
    lines = _read_text(path).splitlines()
    norm_format = next((known for known in _NORM_FORMATS if known.fits(lines[0] if lines else "")), None)
    if norm_format is None:
        known = "; ".join(f"{', '.join(known.columns)} ({known.source})" for known in _NORM_FORMATS)
        raise UserError(f"{path}: has none of the sets of columns that emosae knows: {known}")
    norms: dict[str, Norm] = {}
    for where, word, norm in _parse_norms(path, lines, norm_format):
        if not word or norms.setdefault(word, norm) != norm:
            raise UserError(f"{where}: the word {word!r} is empty, or it stands above with other ratings")
    return MappingProxyType(norms)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): give a file of word norms") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _parse_norms(path: Path, lines: list[str], norm_format: _NormFormat) -> Iterator[tuple[str, str, Norm]]:
    """Where each row stands, its word and its ratings."""
    quoting = csv.QUOTE_NONE if norm_format.delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.DictReader(lines, delimiter=norm_format.delimiter, quoting=quoting)
    word, valence, arousal = norm_format.columns[:3]
    try:
        for row in rows:
            where = f"{path} line {rows.line_num}"
            scaled = [norm_format.rescale(where, column, row.get(column)) for column in (valence, arousal)]
            yield where, (row.get(word) or "").strip(), Norm(*scaled, source=norm_format.source)
    except csv.Error as error:
        raise UserError(f"{path} after line {rows.line_num}: is not a table ({error})") from error
