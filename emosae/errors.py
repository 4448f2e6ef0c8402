"""Mistakes that a user can make and mend. The command line prints them as one line."""


class UserError(Exception):
    """Something the user gave cannot be used; the message names the culprit and the mend. Exit code 1."""


class UsageError(UserError):
    """The command or the config itself is wrong (unknown key, bad flag). Exit code 2."""
