"""Scenarios: what the features do while the model acts, against controls that are run beside them."""

from emosae.scenarios.answers import find_doubtful, grade_answers, load_answers
from emosae.scenarios.arms import contrast_arms, slope_arms, summarize_arms
from emosae.scenarios.conditions import (
    Condition,
    FeatureSet,
    Vector,
    build_conditions,
    draw_direction,
    draw_matched_direction,
    draw_matched_features,
    hide_naming,
)
from emosae.scenarios.conversations import ConversationReads, Voices, load_voices, read_conversations
from emosae.scenarios.dials import Dial, find_candidates
from emosae.scenarios.formats import Answer, CodeFormat, GenericCodeFormat
from emosae.scenarios.grading import CHEATS, GRADES, grade_attempt, grade_episode
from emosae.scenarios.impossible_code import Protocol, run_episodes, run_impossible_code
from emosae.scenarios.rollouts import trace_by_attempt
from emosae.scenarios.sandbox import Job, Outcome, Sandbox, SandboxMissing, TestResult, run_programs, sandbox_available
from emosae.scenarios.tasks import Task, check_references, find_tasks, load_tasks
from emosae.scenarios.text_gain import measure_text_gains
from emosae.scenarios.wording import emotional_wording

__all__ = [
    "CHEATS",
    "GRADES",
    "Answer",
    "CodeFormat",
    "Condition",
    "ConversationReads",
    "Dial",
    "FeatureSet",
    "GenericCodeFormat",
    "Job",
    "Outcome",
    "Protocol",
    "Sandbox",
    "SandboxMissing",
    "Task",
    "TestResult",
    "Vector",
    "Voices",
    "build_conditions",
    "check_references",
    "contrast_arms",
    "draw_direction",
    "draw_matched_direction",
    "draw_matched_features",
    "emotional_wording",
    "find_candidates",
    "find_doubtful",
    "find_tasks",
    "grade_answers",
    "grade_attempt",
    "grade_episode",
    "hide_naming",
    "load_answers",
    "load_tasks",
    "load_voices",
    "measure_text_gains",
    "read_conversations",
    "run_episodes",
    "run_impossible_code",
    "run_programs",
    "sandbox_available",
    "slope_arms",
    "summarize_arms",
    "trace_by_attempt",
]
