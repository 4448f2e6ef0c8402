"""Conversations with the model, sentence by sentence, and what turned dials do to its replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.site.cells import list_rows, spread_evenly, tidy_cell
from emosae.site.page_tables import PageTables

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 240
"""Conversations that are kept, evenly spread over all; those that were read sentence by sentence come first."""
IN_FILE = 20
OPENING = 90
OUTCOMES = {"afraid": "warned"}
"""What a reply is judged by when a dial is turned; for emotions that are not named it is the tone."""

Row = Mapping[str, Any]
Grouped = Mapping[str, Sequence[Row]]


def list_talk_files(tables: PageTables) -> Iterator[tuple[str, Any]]:
    """`talks`, a row per conversation, and `talk-N`, some conversations each."""
    replies = list_rows(tables.replies)
    reads, messages, turned = (_by_id(table) for table in (tables.reads, tables.messages, tables.turned))
    told = [row for row in replies if row["conversation_id"] in messages]
    others = [row for row in replies if row["conversation_id"] not in messages]
    shown = [*told[:SHOWN], *spread_evenly(others, max(0, SHOWN - len(told)))]
    names = ("conversation_id", "kind", "expected", "dose")
    listed = {name: [tidy_cell(row.get(name)) for row in shown] for name in names}
    listed |= {
        "opening": [row["text"][:OPENING] for row in shown],
        "n_sentences": [len({line["number"] for line in messages.get(row["conversation_id"], ())}) for row in shown],
        "n_turned": [len(turned.get(row["conversation_id"], ())) for row in shown],
    }
    yield "talks", {"in_file": IN_FILE, "n": len(replies), "talks": listed}
    for number, start in enumerate(range(0, len(shown), IN_FILE)):
        yield f"talk-{number}", [_pack_talk(row, reads, messages, turned) for row in shown[start : start + IN_FILE]]


def _by_id(table: pa.Table | None) -> Grouped:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in list_rows(table):
        found[row["conversation_id"]].append(row)
    return found


def _pack_talk(row: Row, reads: Grouped, messages: Grouped, turned: Grouped) -> dict[str, Any]:
    key = row["conversation_id"]
    return {
        "text": row["text"],
        "reply": row["reply"],
        "reads": {
            read["emotion"]: [tidy_cell(read["at_open_token"]), tidy_cell(read["over_reply"])]
            for read in reads.get(key, ())
        },
        "sentences": _pack_sentences(messages.get(key, ())),
        "turned": [
            {
                name: tidy_cell(line.get(name))
                for name in ("condition", "dial", "role", "turned", "reply", "warned", "tone")
            }
            for line in turned.get(key, ())
            if line["condition"] != "none"
        ],
    }


def _pack_sentences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Sentences in their order, with the mean activation of every dial over each."""
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        sentence = found.setdefault(row["number"], {"part": row["part"], "text": row["text"], "acts": {}})
        sentence["acts"][row["emotion"]] = tidy_cell(row["activation"])
    return [found[number] for number in sorted(found)]


def tabulate_talk_arms(summary: pa.Table | None) -> dict[str, pa.Table]:
    """Scenario tables from the summary of turned replies: for every target the share of replies with its outcome.

    The outcome is a warning where the target is fear, else the tone of the target. Foils, messages that look alike but
    do not call for the emotion, are a scenario of their own.
    """
    import pyarrow as pa

    arms: dict[str, list[Row]] = defaultdict(list)
    for row in list_rows(summary):
        if row["outcome"] == OUTCOMES.get(row["target"], "toned"):
            name = f"conversation_{row['target']}" + ("" if row["group"] == "expected" else f"_{row['group']}")
            spans = {"rate": row["value"], "lo": row["value_lo"], "hi": row["value_hi"], "dose": row["turned"]}
            arms[name].append(row | spans | {"method": "sae", "primary": True, "hides_naming": False})
    return {name: pa.Table.from_pylist(rows) for name, rows in arms.items()}
