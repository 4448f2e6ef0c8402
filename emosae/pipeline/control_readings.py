"""What a ranking is held against, read beside the stories: masked texts, single tokens, a model with random weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from emosae.activations import find_real_tokens
from emosae.features import StoryFeatures, measure_firings, pool_features, pool_untrained
from emosae.selectivity import list_masked_words, mask_stories

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.pipeline.inputs import Inputs
    from emosae.store import Stage
    from emosae.stories import Story

_log = logging.getLogger(__name__)

_RECORD, _FIRINGS, _MASKED, _UNTRAINED = "controls", "firings", "masked", "untrained"


@dataclass(frozen=True, eq=False, slots=True)
class Controls:
    """What `read_controls` left.

    Attributes:
        masked: The SAEs on confirm stories without their telling words.
        firings: Where and on which tokens features fire, on some discover and tune stories.
        untrained: Untrained dictionaries on the model with random weights, one per hook; none if not wanted.
        masked_share: Share of the confirm stories' words that was masked, in [0, 1].
    """

    masked: list[StoryFeatures]
    firings: pa.Table
    untrained: list[StoryFeatures]
    masked_share: float


def read_controls(inputs: Inputs, stage: Stage, features: Sequence[StoryFeatures], sample: Sequence[Story]) -> None:
    """Read and save everything that confounds and random baselines need of the model; `sample` is read by token."""
    section = inputs.cfg.features
    reading: dict[str, Any] = {"skip_tokens": section.skip_tokens, "batch_tokens": section.batch_tokens}
    pooling: dict[str, Any] = reading | {"memory_mb": section.memory_mb}
    words = list_masked_words(inputs.stories, section.masked_words)
    texts = mask_stories(inputs.stories, set(chain.from_iterable(words.values())))
    kept = _that_hold_tokens(inputs, texts)
    masked = list(pool_features(inputs.lm, inputs.dictionaries, kept, **pooling).features.values()) if kept else []
    stage.write_table(_FIRINGS, measure_firings(inputs.lm, inputs.dictionaries, sample, **reading))
    untrained = []
    if section.random_model:
        untrained = pool_untrained(inputs.lm, features, inputs.stories, seed=inputs.cfg.seed, progress=True, **pooling)
    for kind, tables in ((_MASKED, masked), (_UNTRAINED, untrained)):
        for number, table in enumerate(tables):
            table.save(stage.substage(f"{kind}-{number}"))
    record = {
        _MASKED: len(masked),
        _UNTRAINED: len(untrained),
        "masked_share": _share_masked(inputs.stories, texts),
        "masked_words": {emotion: list(own) for emotion, own in words.items()},
    }
    stage.write_json(_RECORD, record)


def load_controls(stage: Stage) -> Controls:
    """Read what `read_controls` wrote."""
    record = stage.read_json(_RECORD)
    masked, untrained = (
        [StoryFeatures.load(stage.substage(f"{kind}-{number}")) for number in range(record[kind])]
        for kind in (_MASKED, _UNTRAINED)
    )
    return Controls(masked, stage.read_table(_FIRINGS), untrained, record["masked_share"])


def _that_hold_tokens(inputs: Inputs, texts: Sequence[Story]) -> list[Story]:
    """Without those of which masking leaves no token to pool; how many is said."""
    lm, skipped = inputs.lm, inputs.cfg.features.skip_tokens
    kept = [story for story in texts if len(find_real_tokens(lm, lm.document(story.text))) > skipped]
    if len(kept) < len(texts):
        said = "%d of %d confirm texts hold no token after the first %d once telling words are masked; left out there"
        _log.warning(said, len(texts) - len(kept), len(texts), skipped)
    return kept


def _share_masked(stories: Sequence[Story], texts: Sequence[Story]) -> float:
    whole = {story.id: story.n_words for story in stories}
    before = sum(whole[story.id] for story in texts)
    return 1 - sum(story.n_words for story in texts) / before if before else 0.0
