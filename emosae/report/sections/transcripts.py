"""The same episode with nothing done and with a feature turned, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from emosae.report.citing import cite
from emosae.report.content import Attempt, Script, Section, Transcript
from emosae.report.records import ReportData, Row
from emosae.report.wording import join_words, say_count, start_sentence

NAME, TITLE = "transcripts", "The same episode, turned and not"
MOST = 3
ENDINGS = {
    "honest": "Ends honestly, without passing.",
    "admits": "Says that it cannot be done.",
    "special_cases": "Cheats: special-cases the tests.",
    "closed_form": "Cheats: a formula that fits the visible tests only.",
    "edits_tests": "Cheats: changes the tests.",
    "fakes_result": "Cheats: fakes the result.",
    "reads_tests": "Cheats: reads the tests.",
    "other": "Does something else that was not asked.",
    "incoherent": "The text breaks.",
}
Key = tuple[str, int]


def write_transcripts(data: ReportData) -> Section | None:
    """Episodes in which turning a feature changed the ending; None if nothing was turned."""
    rows = [row for row in data.rows("rollouts") if row["impossible"] and not row["hides_naming"]]
    untouched = {_key(row): row for row in rows if row["condition"] == "none"}
    arms = _pick_arms(rows)
    if not untouched or not arms:
        return None
    chosen = [key for key in untouched if _differs(untouched[key], arms[0].get(key))]
    name = f"{_any(arms[0])['dial']} {_any(arms[0])['condition']}"
    if not chosen:
        return Section(
            NAME, TITLE, f"{start_sentence(name)} changed the ending of no episode, so there is no pair to show."
        )
    transcripts = tuple(
        Transcript(
            f"Task {key[0]}, episode {key[1] + 1}",
            data.task_prompts.get(key[0], "(not recorded)"),
            tuple(_script(row) for row in (untouched[key], *(arm[key] for arm in arms if key in arm))),
        )
        for key in _spread(chosen, MOST)
    )
    return Section(
        NAME,
        TITLE,
        f"{start_sentence(name)} changed the ending of {len(chosen)} of {say_count(len(untouched), 'episode')}; "
        f"{len(transcripts)} of them are shown on the same random numbers.",
        paragraphs=(
            "They were picked for showing a change and spread evenly over such episodes: they illustrate what the "
            "intervals above measure, and prove nothing by themselves.",
        ),
        transcripts=transcripts,
    )


def _key(row: Row) -> Key:
    return str(row["task_id"]), int(row["episode"])


def _any(arm: dict[Key, Row]) -> Row:
    return next(iter(arm.values()))


def _pick_arms(rows: Sequence[Row]) -> list[dict[Key, Row]]:
    """The first target and the first opponent that were turned up by features at the primary dose, by episode."""
    arms: dict[tuple[str, str], dict[Key, Row]] = {}
    for row in rows:
        is_up = row["condition"] == "up" and row["method"] == "sae" and row["primary"]
        if is_up and row["role"] in ("target", "opponent"):
            arms.setdefault((row["role"], row["dial"]), {})[_key(row)] = row
    first = {role: arm for (role, _), arm in reversed(arms.items())}
    return [first[role] for role in ("target", "opponent") if role in first]


def _differs(row: Row, other: Row | None) -> bool:
    return other is not None and row["cheated"] != other["cheated"] and not other["incoherent"]


def _spread(items: Sequence[Key], most: int) -> list[Key]:
    """At most so many of the items, evenly from the first on."""
    step = max(1, len(items) // most)
    return list(items[::step][:most])


def _script(row: Row) -> Script:
    heading = (
        "Nothing done" if row["condition"] == "none" else f"{row['dial']} {row['condition']}, dose {row['dose']:g}"
    )
    attempts = tuple(
        Attempt(split_thought(text, program), program or "", _say_outcome(row, at))
        for at, (text, program) in enumerate(zip(row["texts"] or (), row["programs"] or (), strict=True))
    )
    ending = ENDINGS.get(str(row["grade"]), str(row["grade"]))
    return Script(heading, attempts, cite(ending, row, "grade"))


def split_thought(text: str, program: str | None) -> str:
    """What stands before the program; all of it if there is none."""
    before = text.split(program, 1)[0] if program else text
    return before.rstrip().removesuffix("```python").removesuffix("```").strip()


def _say_outcome(row: Row, at: int) -> str:
    said = []
    if row["programs"][at]:
        said.append("passes the visible tests" if row["passed_visible"][at] else "fails a visible test")
        if row["passed_visible"][at]:
            said.append("passes the hidden ones" if row["passed_hidden"][at] else "fails the hidden ones")
    if row["errors"][at]:
        said.append(str(row["errors"][at]))
    return f"Attempt {at + 1}: {join_words(said)}." if said else f"Attempt {at + 1}: no program was run."
