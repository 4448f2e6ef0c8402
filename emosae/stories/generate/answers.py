"""Read what a model answered: JSON, perhaps fenced, perhaps cut off, perhaps something else altogether."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json


def read_stories(answer: str) -> dict[int, str]:
    """Texts by slot; of a slot that is answered twice the first text counts, and what is no story is passed over.

    Of an answer that was cut off, the stories before the cut are read.
    """
    start = answer.find("{")
    if start < 0:
        return {}
    body = answer[start:]
    entries = _entries(body[: body.rfind("}") + 1]) or _entries(body, is_cut=True)
    found: dict[int, str] = {}
    for entry in entries:
        slot, text = (entry.get("slot"), entry.get("text")) if isinstance(entry, dict) else (None, None)
        if type(slot) is int and isinstance(text, str) and text.strip():
            found.setdefault(slot, text.strip())
    return found


def _entries(body: str, is_cut: bool = False) -> list[Any]:
    try:
        value = from_json(body, allow_partial=is_cut)
    except ValueError:
        return []
    entries = value.get("stories") if isinstance(value, dict) else None
    return entries if isinstance(entries, list) else []
