"""The strongest tokens of every feature, with the words around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from scipy.sparse import csr_array

from emosae.activations import find_real_tokens
from emosae.features.records import CONTEXT_TOKENS, TOP_STORIES
from emosae.lm import LanguageModel
from emosae.stories import Story


@dataclass(frozen=True, eq=False, slots=True)
class StoryTexts:
    """The stories as the model's tokens.

    Attributes:
        story_ids: The stories, in their order.
        tokens: Ids of each story's real tokens.
        skip_tokens: How many of these are not pooled.
        lm: Whose tokens they are.
    """

    story_ids: tuple[str, ...]
    tokens: tuple[Int[np.ndarray, " _"], ...]
    skip_tokens: int
    lm: LanguageModel

    @classmethod
    def of(
        cls, lm: LanguageModel, stories: Sequence[Story], documents: Sequence[Sequence[int]], skip_tokens: int
    ) -> StoryTexts:
        """From the documents that the model read."""
        real = (np.array(document)[find_real_tokens(lm, document)] for document in documents)
        return cls(tuple(story.id for story in stories), tuple(real), skip_tokens, lm)

    @property
    def n_tokens(self) -> Int[np.ndarray, " story"]:
        """Real tokens of each story."""
        return np.array([len(tokens) for tokens in self.tokens])

    def around(self, story: int, pos: int) -> tuple[str, str, str]:
        """A token, and up to 12 before and after it, as text."""
        tokens = self.tokens[story]
        spans = (tokens[max(0, pos - CONTEXT_TOKENS) : pos], tokens[pos : pos + 1], tokens[pos + 1 :][:CONTEXT_TOKENS])
        before, token, after = (self.lm.decode(span.tolist()) for span in spans)
        return before, token, after


def tabulate_top(peaks: csr_array, peak_pos: Int[np.ndarray, " entry"], texts: StoryTexts) -> pa.Table:
    """The rows of `StoryFeatures.top`, from the strongest activation of each feature in each story and its token.

    Words are stored once for each token at which anything peaks, however many features do.
    """
    order, rank = _rank_stories(peaks)
    story = (np.searchsorted(peaks.indptr, order, side="right") - 1).astype(np.int32)
    token_pos = peak_pos[order].astype(np.int64)
    longest = int(texts.n_tokens.max())
    places, place = np.unique(story * np.int64(longest) + token_pos, return_inverse=True)
    words = [texts.around(*divmod(int(one), longest)) for one in places]

    def words_of(part: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(
            place.astype(np.int32), pa.array([one[part] for one in words], pa.string())
        )

    return pa.table(
        {
            "feature_idx": pa.array(peaks.indices[order], pa.int64()),
            "rank": pa.array(rank, pa.int64()),
            "story_id": pa.array(texts.story_ids, pa.string()).take(pa.array(story)),
            "token_pos": pa.array(token_pos, pa.int64()),
            "value": pa.array(peaks.data[order], pa.float32()),
            "before": words_of(0),
            "token": words_of(1),
            "after": words_of(2),
        }
    )


def _rank_stories(peaks: csr_array) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Entries by feature, the strongest first and equal ones in the order of stories, with their ranks from 1."""
    falling = 0xFFFFFFFF - peaks.data.view(np.uint32).astype(np.uint64)  # positive floats rise as their bits do
    order = np.argsort(peaks.indices.astype(np.uint64) << np.uint64(32) | falling, kind="stable")
    feature_idx = peaks.indices[order]
    rank = np.arange(len(order)) - np.searchsorted(feature_idx, feature_idx) + 1
    is_kept = rank <= TOP_STORIES
    return order[is_kept], rank[is_kept]
