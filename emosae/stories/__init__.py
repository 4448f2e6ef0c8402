"""Stories: short texts with one dominant emotion each, and the conversations read beside them."""

from emosae.stories.loader import format_stories, load_conversations, load_stories
from emosae.stories.records import NEUTRAL, SPLITS, Conversation, Message, Story
from emosae.stories.splits import QUOTA, assign_splits

__all__ = [
    "NEUTRAL",
    "QUOTA",
    "SPLITS",
    "Conversation",
    "Message",
    "Story",
    "assign_splits",
    "format_stories",
    "load_conversations",
    "load_stories",
]
