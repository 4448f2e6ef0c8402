"""Stories: short texts with one dominant emotion each, and the conversations read beside them."""

from emosae.stories.coverage import refuse_thin_emotions
from emosae.stories.loader import SHIPPED, find_corpus, format_stories, load_conversations, load_stories
from emosae.stories.records import NEUTRAL, SPLITS, Conversation, Message, Story
from emosae.stories.splits import QUOTA, assign_splits
from emosae.stories.taxonomy import EmotionWord, Norm, banned_forms, load_norms, load_taxonomy

__all__ = [
    "NEUTRAL",
    "QUOTA",
    "SHIPPED",
    "SPLITS",
    "Conversation",
    "EmotionWord",
    "Message",
    "Norm",
    "Story",
    "assign_splits",
    "banned_forms",
    "find_corpus",
    "format_stories",
    "load_conversations",
    "load_norms",
    "load_stories",
    "load_taxonomy",
    "refuse_thin_emotions",
]
