"""Mistakes that a user can make and mend. The command line prints them as one line."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Something the user gave cannot be used; the message names the culprit and the mend. Exit code 1."""


class UsageError(UserError):
    """The command or the config itself is wrong (unknown key, bad flag). Exit code 2."""


def name_some(names: Sequence[str], most: int = 10) -> str:
    """Names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
