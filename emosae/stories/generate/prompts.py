"""What the model is told. A change of wording is a new PROMPT_VERSION, which stands on every line it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from emosae.stories.generate.cells import Cell
from emosae.stories.limits import Lengths
from emosae.stories.taxonomy import banned_forms, load_taxonomy

PROMPT_VERSION = "1"

SYSTEM = """You are an accomplished writer of very short fiction. Each of your stories follows one main character
through one moment, and one emotion governs it from the first line to the last. You never name an emotion. You let the
reader infer it from what happens, what the character does with the things at hand, what the body does, what is
noticed, said, left unsaid, thought and decided. You distrust stock gestures and write particulars that could belong
to this situation only."""

_TASK = """Write {count}, each about a main character whose dominant emotion is: {emotion}.

Rules for every story:
- {low} to {high} words; aim for the middle of that range.
- The emotion must be unmistakable to a careful reader and carried by the situation: events, actions, the body,
perception, speech and thought.{contrast}
- Never use the word itself, any inflection of it, or a synonym. Forbidden in every form: {banned}. Name no other
emotion either, and do not explain the feeling in an abstract noun or a closing moral.
- No stock cues: no pounding hearts, trembling hands, tears, lumps in throats, clenched fists, held breaths, sighs,
smiles, butterflies, blushes or weights lifting. Use no telling gesture, image, object or turn of phrase in more than
one story.
- The given topic is the setting of the story, not decoration.
- First person: the character tells it as "I". Third person: no "I" or "my" outside of quoted speech.
- Names, ages, cultures and occupations differ from story to story. Plain prose without title or heading.

The stories:
{slots}
{refused}
Answer with one JSON object and nothing else, in this form, one entry per story:
{{"stories": [{{"slot": 1, "text": "..."}}]}}"""

_WHO = ("a child", "a teenager", "someone in their twenties", "someone in middle age", "an old person")
_TENSE = ("past tense", "past tense", "present tense")
_OPENING = (
    "opens in the middle of an action",
    "opens with a line of speech",
    "opens on an object",
    "opens with a sound or a smell",
    "opens with something a second person does",
    "opens with a plain statement of fact",
)


def write_messages(
    batch: Sequence[Cell], emotions: Sequence[str], lengths: Lengths, refusals: Mapping[str, str]
) -> list[dict[str, str]]:
    """The chat that asks for a batch; slots count its cells from 1.

    `refusals` says by cell id why the last story was turned down. Who a story is about, its tense and its opening
    depend on topic and copy only, so that they are the same for every emotion and tell none from another.
    """
    emotion = batch[0].emotion
    task = _TASK.format(
        count="one story" if len(batch) == 1 else f"{len(batch)} different stories",
        emotion=emotion,
        low=lengths.min_words,
        high=lengths.max_words,
        contrast=_contrast(emotion, emotions),
        banned=", ".join(_heads(emotion)),
        slots="\n".join(f"{slot}. {_describe(cell)}" for slot, cell in enumerate(batch, start=1)),
        refused=_refused(batch, refusals),
    )
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": task}]


def _describe(cell: Cell) -> str:
    digest = hashlib.sha256(f"{cell.topic}\0{cell.copy}".encode()).digest()
    who, tense, opening = (names[digest[place] % len(names)] for place, names in enumerate((_WHO, _TENSE, _OPENING)))
    return f"Topic: {cell.topic}. {cell.perspective.capitalize()} person, {tense}, about {who}; {opening}."


def _contrast(emotion: str, emotions: Sequence[str]) -> str:
    """The other emotions of the same family, which a reader must be able to rule out."""
    taxonomy = load_taxonomy()
    family = taxonomy[emotion].family if emotion in taxonomy else None
    near = [name for name in emotions if name != emotion and name in taxonomy and taxonomy[name].family == family]
    return f" It must not be mistaken for: {', '.join(near[:8])}." if near else ""


def _heads(emotion: str) -> list[str]:
    """The banned forms without those that only lengthen another one."""
    forms = sorted(banned_forms(emotion))
    heads = {form for form in forms if not any(form != head and form.startswith(head) for head in forms)}
    return [form for form in forms if form in heads]


def _refused(batch: Sequence[Cell], refusals: Mapping[str, str]) -> str:
    told = [f"- Story {slot}: {refusals[cell.id]}." for slot, cell in enumerate(batch, start=1) if cell.id in refusals]
    return "\nYour last answer was turned down. Write new stories that avoid this:\n" + "\n".join(told) if told else ""
