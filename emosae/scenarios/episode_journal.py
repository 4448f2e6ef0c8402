"""Episodes that ended, line by line, so that a kill costs those alone that were open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from emosae.prompts import Flags, Prompt
from emosae.scenarios.episodes import Episode, Turn
from emosae.scenarios.grading import Attempt
from emosae.store import Stage


class EpisodeJournal:
    """The file `<name>.jsonl` of a stage: a line for each episode that ended, with the hash of what it depends on.

    Lines with another hash are passed over.
    """

    def __init__(self, stage: Stage, name: str, inputs_hash: str) -> None:
        self._stage, self._name, self._hash = stage, name, inputs_hash

    def note(self, episode: Episode) -> None:
        """Add an episode that ended."""
        prompt = episode.prompt
        record = {
            "inputs": self._hash,
            "task": episode.task.id,
            "episode": episode.number,
            "ids": prompt.ids,
            "generated": _pack(prompt.generated),
            "assistant": _pack(prompt.assistant),
            "label": prompt.label,
            "turns": [asdict(turn) for turn in episode.turns],
        }
        self._stage.append_line(self._name, record)

    def restore(self, episodes: Sequence[Episode]) -> int:
        """Put those of some fresh episodes that are noted to their end; how many they are."""
        found = {
            (line["task"], line["episode"]): line
            for line in self._stage.read_lines(self._name)
            if line["inputs"] == self._hash
        }
        noted = [(one, found[key]) for one in episodes if (key := (one.task.id, one.number)) in found]
        for episode, line in noted:
            flags = _unpack(line["generated"]), _unpack(line["assistant"])
            episode.prompt = Prompt(tuple(line["ids"]), *flags, line["label"])
            episode.turns = [_read_turn(turn) for turn in line["turns"]]
            episode.is_over = True
        return len(noted)

    def remove(self) -> None:
        """Delete the file, once a table holds what it says."""
        self._stage.remove(f"{self._name}.jsonl")


def _pack(flags: Flags | None) -> str | None:
    return None if flags is None else "".join("01"[flag] for flag in flags)


def _unpack(packed: str | None) -> Flags | None:
    return None if packed is None else tuple(flag == "1" for flag in packed)


def _read_turn(turn: dict[str, Any]) -> Turn:
    said = turn["attempt"]
    passed = {name: tuple(said[name]) for name in ("visible", "hidden")}
    start, stop = turn["thought_span"]
    return Turn(**turn | {"attempt": Attempt(**said | passed), "thought_span": (start, stop)})
