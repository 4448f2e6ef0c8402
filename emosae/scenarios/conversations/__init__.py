"""Conversations: what the model holds when it is about to answer, whose emotion that is, and what it says."""

from emosae.scenarios.conversations.facts import dose_of, item_of, kind_of
from emosae.scenarios.conversations.foils import contrast_variants
from emosae.scenarios.conversations.ladders import correlate_doses, measure_trends
from emosae.scenarios.conversations.ranks import compare_with_shuffled, rank_emotions
from emosae.scenarios.conversations.reading import ConversationReads, read_conversations
from emosae.scenarios.conversations.tone import ToneGrader, fit_tone, share_tones
from emosae.scenarios.conversations.turned import summarize_turned, take_said, turn_dials
from emosae.scenarios.conversations.whose import Voices, load_voices, read_whose

__all__ = [
    "ConversationReads",
    "ToneGrader",
    "Voices",
    "compare_with_shuffled",
    "contrast_variants",
    "correlate_doses",
    "dose_of",
    "fit_tone",
    "item_of",
    "kind_of",
    "load_voices",
    "measure_trends",
    "rank_emotions",
    "read_conversations",
    "read_whose",
    "share_tones",
    "summarize_turned",
    "take_said",
    "turn_dials",
]
