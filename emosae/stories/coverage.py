"""Whether every emotion has enough text to be told from the others at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from emosae.errors import UserError, name_some
from emosae.stories.records import Story

MIN_STORIES = 5
"""With fewer, discover cannot have two stories of the emotion and tune and confirm one each, with one to spare."""


def refuse_thin_emotions(stories: Sequence[Story]) -> None:
    """Refuse a corpus with an emotion on which nothing could be found and confirmed.

    Stories without a topic are allowed; those with one must be about two topics at least, since a topic is never in two
    splits.

    Raises:
        UserError: Emotions with fewer than five stories, or whose stories are all about one topic; they are named.
    """
    topics: dict[str, list[str | None]] = defaultdict(list)
    for story in stories:
        if not story.is_neutral:
            topics[story.emotion].append(story.topic)
    thin = [f"{emotion} ({len(own)})" for emotion, own in sorted(topics.items()) if len(own) < MIN_STORIES]
    if thin:
        mend = "add stories or leave the emotion out"
        raise UserError(f"emotions with fewer than {MIN_STORIES} stories that can be read: {name_some(thin)}: {mend}")
    narrow = [f"{emotion} ({own[0]})" for emotion, own in sorted(topics.items()) if len(set(own)) == 1 and own[0]]
    if narrow:
        mend = "give them other topics, or none"
        raise UserError(f"emotions whose stories are all about one topic: {name_some(narrow)}: {mend}")
    if len(topics) < 2:
        raise UserError(f"emotions with stories that can be read: {', '.join(topics) or 'none'}: two are needed")
