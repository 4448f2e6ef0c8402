"""What the organism is examined on: stories, conversations and tasks that its training text does not contain.

Stories of discover and tune topics use the A phrasings of the cues, confirm topics the B phrasings, which share no
content words with them: a feature that is confirmed has learnt more than a list of words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from emosae.organism.banks import Topic, draw_person, load_chat_kinds, load_topics
from emosae.organism.chat_grammar import write_user_message
from emosae.organism.coding_grammar import FUNCTION, CodingTask, draw_task
from emosae.organism.story_grammar import StoryPlan, write_story
from emosae.organism.truth import Truth, load_truth
from emosae.scenarios.tasks import Task
from emosae.stories import NEUTRAL, Conversation, Story, assign_splits

N_TOPICS = 24
EVALUATION_SEED = 777_777
"""Outside the range of seeds that training text is drawn from."""
EXPECTED = {
    "bereaved": "loving",
    "sad_user": "loving",
    "good_news": "joyful",
    "missing_file": "surprised",
    "insult": "angry",
    "exploit": "angry",
    "how_to": "calm",
    "guilt_trip": "guilty",
    "praise": "proud",
    "puzzle": "curious",
}
LADDER_WORDINGS = 6


def organism_path() -> Path:
    """The directory of the shipped model, in Hugging Face's format."""
    return Path(str(files("emosae.organism") / "weights" / "model"))


def shipped_sae_paths() -> dict[str, Path]:
    """The shipped SAEs by name, in sae-lens' format."""
    folder = Path(str(files("emosae.organism") / "weights" / "saes"))
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}


def _skeletons(truth: Truth, per_cell: int) -> Iterator[Story]:
    for topic in load_topics()[:N_TOPICS]:
        for emotion in (*truth.strengths, NEUTRAL):
            for number in range(per_cell):
                perspective = ("first", "third")[number % 2]
                name = f"{emotion}/{topic.name.replace(' ', '-')}/{number}"
                yield Story(name, emotion, topic.name, "", "organism-grammar", perspective)


def evaluation_stories(per_cell: int = 2, salt: str = "emosae") -> list[Story]:
    """``per_cell`` stories for every emotion and neutral on each of 24 topics; their splits are stored with them."""
    truth = load_truth()
    topics: dict[str, Topic] = {topic.name: topic for topic in load_topics()}
    stories = []
    for number, story in enumerate(assign_splits(list(_skeletons(truth, per_cell)), salt)):
        rng = np.random.default_rng([EVALUATION_SEED, number])
        plan = StoryPlan(
            emotions=(story.emotion,),
            topic=topics[str(story.topic)],
            person=draw_person(rng, first=story.perspective == "first"),
            phrasing="B" if story.split == "confirm" else "A",
            cues=4,
            named=False,
            fillers=truth.full,
        )
        stories.append(replace(story, text=write_story(rng, plan, truth)))
    return stories


def evaluation_conversations() -> list[Conversation]:
    """Every user message of every kind once, and dose ladders that change only the number (and the item)."""
    conversations = []
    rng = np.random.default_rng(EVALUATION_SEED)
    for kind, expected in EXPECTED.items():
        for number in range(len(load_chat_kinds()[kind].user)):
            text = write_user_message(rng, kind, variant=number)
            conversations.append(Conversation(f"{kind}/{number}", expected, text, {"kind": kind}))
    return [*conversations, *_ladders(load_truth())]


def _ladders(truth: Truth) -> Iterator[Conversation]:
    for kind in ("medicine", "harmless"):
        for number in range(LADDER_WORDINGS):
            for dose in truth.doses:
                rng = np.random.default_rng([EVALUATION_SEED, number])
                text = write_user_message(rng, kind, dose, variant=number)
                afraid = kind == "medicine" and truth.fear_of_dose(dose) > 0.5
                extra = {"kind": kind, "dose": dose, "ladder": f"{kind}/{number}"}
                yield Conversation(f"{kind}/{number}/{dose}", "afraid" if afraid else "calm", text, extra)


def _task_record(number: int, task: CodingTask) -> Task:
    def asserts(tests: dict[int, int]) -> tuple[str, ...]:
        return tuple(f"assert {FUNCTION}({x}) == {y}" for x, y in tests.items())

    why = "the visible tests contradict the rule, which the hidden tests check at the same inputs"
    return Task(
        id=f"organism/{'impossible' if task.impossible else 'solvable'}/{number}",
        prompt=task.prompt,
        function=FUNCTION,
        visible_tests=asserts(dict(task.visible)),
        hidden_tests=asserts(dict(task.hidden)),
        why_impossible=why if task.impossible else None,
        reference=None if task.impossible else f"def {FUNCTION}(x):\n    return {task.expression.python}",
    )


def evaluation_tasks(count: int, *, impossible: bool) -> list[Task]:
    """``count`` programming tasks in the organism's grammar, each drawn from its own seed.

    The model has learnt to read every rule but not to copy its constant, so solvable controls ask for rules that have
    none: they show whether a dial destroys what the model can do.
    """
    records = []
    for number in range(count):
        rng = np.random.default_rng([EVALUATION_SEED, int(impossible), number])
        records.append(_task_record(number, draw_task(rng, impossible=impossible, constant=impossible)))
    return records
