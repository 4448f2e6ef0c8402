"""What the About page says of the run: the short, plain entries of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 120
HIDDEN = ("config", "stages", "timings")
"""Sections that would fill a page; the report lists them."""


def list_facts(manifest: Mapping[str, Any]) -> list[list[str]]:
    """Names and values of the manifest's plain entries, at most two levels deep."""
    facts: list[list[str]] = []
    for name, value in manifest.items():
        if name in HIDDEN:
            continue
        entries = value.items() if isinstance(value, Mapping) else [("", value)]
        facts += [[f"{name} {key}".replace("_", " ").strip(), _cut(item)] for key, item in entries if _is_plain(item)]
    return facts


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
