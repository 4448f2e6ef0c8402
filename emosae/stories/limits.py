"""What a corpus may do before `stories check` objects; every limit is a flag of the console."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

CheckName = Literal["schema", "words", "banned", "duplicates", "phrases", "lengths", "cells", "perspectives", "leakage"]
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
"""The checks, in the order in which they are reported."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Lengths(BaseModel):
    """How many words a story may have, and how alike two may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_words: Count = Field(default=60, description="Fewest words of a story, separated by white space.")
    max_words: Count = Field(default=110, description="Most words of a story.")
    max_similarity: Share = Field(
        default=0.3,
        description="Highest Jaccard similarity of the three-word sequences of two texts; 0.05 is rare by chance.",
    )

    @model_validator(mode="after")
    def _refuse_empty_range(self) -> Lengths:
        if self.min_words > self.max_words:
            raise ValueError(f"min-words {self.min_words} is above max-words {self.max_words}")
        return self


class Limits(Lengths):
    """The limits of every check; neutral text is held to the schema and to `max_similarity` only."""

    ngram: Annotated[int, Field(ge=2)] = Field(default=5, description="Words in a row that make a phrase.")
    max_phrase_share: Share = Field(
        default=0.02,
        description="Share of an emotion's stories that may hold the same phrase; one story always may.",
    )
    max_length_deviation: Share = Field(
        default=0.1, description="How far an emotion's mean length may lie from the corpus' mean, as a share of it."
    )
    max_cell_deviation: Share = Field(
        default=0.25,
        description="How far the stories of a topic and emotion may lie from the median of such cells, as a share.",
    )
    min_perspective_share: Share = Field(
        default=0.4, description="Least share of each perspective within an emotion, where perspectives are given."
    )
    max_perspective_share: Share = Field(default=0.6, description="Greatest share of each perspective.")
    max_leakage: Share = Field(
        default=0.2,
        description="Highest accuracy of a bag of words on topics that it was not fitted on; chance is 1/emotions.",
    )
    folds: Annotated[int, Field(ge=2)] = Field(
        default=12, description="Groups of topics that are held out in turn; at most one per topic."
    )
